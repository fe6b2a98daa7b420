"""How image classifiers were trained, from their logs: a section of the report with Figures 2, 3, 4, 6 of Guo (2020).

Curves are of the first seed of each system; the error against the weight is over all seeds.
"""

import statistics
from pathlib import Path

from ..records.run_folder import read_settings
from ..records.tables import TextTable, shown
from ..records.train_log import read_epochs
from . import images as class_figures
from .page import Section, write_figure, write_table

CRITERION, WEIGHT = "pairwise_label_smoothing", "smoothing_weight"
DEFAULT_WEIGHT = "0.5"
TRUE = ("target_true_1", "target_true_2")
OTHERS = tuple(f"target_other_{i}" for i in range(1, 6))


def training(folders, systems, out):
    """The Section; None where no run has a log of an epoch.

    folders: {name of a system: [run folder of each seed]}; systems: {name: [classification.Seed, …]}
    """
    logs = {name: read_epochs(Path(runs[0], "train.log")) for name, runs in folders.items() if _has_log(runs[0])}
    logs = {name: epochs for name, epochs in logs.items() if epochs}
    if not logs:
        return None
    write_table(_table_of_epochs(logs), out, "epochs")
    figures = [write_figure(class_figures.training(logs), out, "epochs", "training loss and validation error by epoch")]
    if any("ece" in one for epochs in logs.values() for one in epochs):
        figures.append(write_figure(class_figures.ece_by_epoch(logs), out, "ece_by_epoch", "validation ECE by epoch"))
    masses = {name: _target_mass(epochs) for name, epochs in logs.items()}
    masses = {name: mass for name, mass in masses.items() if mass}
    if masses:
        write_table(_table_of_mass(masses), out, "target_mass")
        figures.append(
            write_figure(class_figures.target_mass(masses), out, "target_mass", "mean targets of true classes")
        )
    errors = _errors_by_weight(folders, systems)
    if errors:
        write_table(_table_of_weights(errors), out, "weight_factor")
        figures.append(
            write_figure(class_figures.errors_by_weight(errors), out, "weight_factor", "test error by weight")
        )
    text = (
        "Training loss: of each criterion, so not comparable across criterions, in bits. ECE of the validation images, "
        "and at the temperature that fits these images best (--report-scaled-ece). Target mass: what pairwise label "
        "smoothing trained on in the last epoch (--report-target-mass)."
    )
    return Section("Training of the classifiers", text, figures)


def _has_log(folder):
    path = Path(folder, "train.log")
    return path.exists() and path.stat().st_size > 0


def _table_of_epochs(logs):
    columns = {
        "training loss": ("loss", "{:.4f}"), "validation error": ("error", "{:.2f}"), "ECE": ("ece", "{:.4f}"),
        "ECE scaled": ("ece_scaled", "{:.4f}"), "T": ("temperature", "{:.4f}"),
    }  # fmt: skip
    rows = [["system", "epoch", *columns]]
    for name, epochs in logs.items():
        for one in epochs:
            cells = (layout.format(one[key]) if key in one else "–" for key, layout in columns.values())
            rows.append([name, f"{one['epoch']:.0f}", *cells])
    return TextTable("epochs: training loss (bits), validation error (%) and ECE", rows)


def _target_mass(epochs):
    """{target: mean} of the last epoch that logged any."""
    with_mass = [one["targets"] for one in epochs if one.get("targets")]
    return with_mass[-1] if with_mass else {}


def _table_of_mass(masses):
    rows = [["system", "target", "mass"]]
    for name, mass in masses.items():
        rows += [[name, target, f"{value:.4f}"] for target, value in mass.items()]
    return TextTable("mean targets of pairs of two classes: both true classes, the largest others", rows)


def _errors_by_weight(folders, systems):
    """{weight: [test error in percent of each seed]} of runs that differ in the weight alone; {} of fewer than two."""
    families = {}
    for name, runs in folders.items():
        settings = read_settings(runs[0])
        if settings.get("criterion") == CRITERION and name in systems:
            weight = float(settings.get(WEIGHT, DEFAULT_WEIGHT))
            same = tuple(sorted((k, v) for k, v in settings.items() if k not in (WEIGHT, *_PLACES)))
            errors = [100 * (1 - (seed.test.logits.argmax(1) == seed.test.labels).mean()) for seed in systems[name]]
            families.setdefault(same, {})[weight] = errors
    largest = max(families.values(), key=len, default={})
    return dict(sorted(largest.items())) if len(largest) > 1 else {}


# what may differ between runs of one family beside the weight
_PLACES = ("seed", "save_dir", "log_file", "tensorboard_logdir", "restore_file", "user_dir", "report_target_mass")


def _table_of_weights(errors):
    rows = [["smoothing weight", "test error", "std", "seeds"]]
    for weight, values in errors.items():
        std = statistics.stdev(values) if len(values) > 1 else None
        rows.append([f"{weight:g}", f"{statistics.fmean(values):.2f}", shown(std, ".2f"), str(len(values))])
    return TextTable("test error (%) against the weight of the smoothing distribution", rows)
