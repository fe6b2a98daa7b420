"""The distillation study of Müller et al. (2019), Figure 5, and Wagner et al. (2023), Figures 7 and 8."""

import json
import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..measures import significance
from ..measures.classification import log_probabilities
from ..progress import progress
from ..records import predictions
from ..records.run_folder import read_settings
from ..records.tables import TextTable, shown
from ..vision.stored_predictions import ensure_predictions
from .penultimate import half_width


def smoothness(logits, labels, temperature=1.0):
    """γ = mean over images of Σ_{k wrong} p_k · K/(K−1), p = softmax(logits / T) (Wagner et al. 2023, equation 3).

    logits: (N, K); labels: (N,). 0 for certain and right outputs, α for labels smoothed with α/K, above 1 where the
    true class has less than 1/K.
    """
    p = np.exp(log_probabilities(logits, temperature))
    right = p[np.arange(len(labels)), labels]
    return float((1 - right).mean() * logits.shape[1] / (logits.shape[1] - 1))


@dataclass(frozen=True)
class Point:
    """A method of the study: the name of its curve, where it is on it, and the test accuracy of each seed in percent.

    teacher: folder of its teachers, "–" without; temperature: of the teacher, None without or where logits are matched
    gamma: its smoothness index; of a student of a teacher that teacher's, at the temperature, mean over the seeds
    """

    curve: str
    method: str
    teacher: str
    temperature: float | None
    gamma: float
    accuracies: tuple


def curve_of(settings, teacher):
    """Name of the curve that a run belongs to.

    settings: flags of the run; teacher: flags of the run that teaches it, None without one, "itself" where it teaches
    others
    """
    if teacher is None or teacher == "itself":
        who = "teacher" if teacher else "student alone"
        if _is_labo(settings) or _drops(settings):
            return f"{who}, {_kind(settings)}"
        return f"{'M1' if teacher else 'M2'}: {who}, by α"
    if settings.get("distill_match") == "logits":
        return f"logits matched, {_kind(teacher)} teacher"
    if _is_labo(teacher) or _drops(teacher):
        return f"student of the {_kind(teacher)} teacher, by T"
    return "M3: student of the hard teacher, by T" if not alpha(teacher) else "M4: student of smoothed teachers, by α"


def alpha(settings):
    """Mass of uniform label smoothing of a run, 0 for plain cross entropy; None for another criterion."""
    criterion = settings.get("criterion")
    if criterion == "cross_entropy":
        return 0.0
    return float(settings.get("label_smoothing", 0.1)) if criterion == "label_smoothing" else None


def _is_labo(settings):
    return settings.get("criterion") == "labo"


def _drops(settings):
    return float(settings.get("dropout", 0)) > 0


def _kind(settings):
    if _is_labo(settings):
        return f"LABO {settings.get('smoothing_mass', 'adaptive')}"
    return ("smoothed" if alpha(settings) else "hard") + " dropout" * _drops(settings)


def gamma_of(settings, teacher, outputs):
    """γ of a run. outputs: Predictions on the training set, the teacher's where there is one, else its own."""
    if teacher in (None, "itself") and alpha(settings) is not None:
        return alpha(settings)
    temperature = 1.0
    if teacher not in (None, "itself") and settings.get("distill_match") != "logits":
        temperature = float(settings.get("teacher_temperature", 1))
    return smoothness(outputs.logits, outputs.labels, temperature)


def accuracy(folder):
    """Test accuracy in percent of a run folder of `labo experiment`; None where it is not measured."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    try:
        (seeds,) = json.loads(path.read_text(encoding="utf-8"))["systems"].values()
        return 100 * float(seeds[0]["accuracy"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ArithmeticError) as error:
        raise UserError(f"{path}: no measures of `labo experiment` ({error!r:.80}): run the experiment again") from None


def table(points):
    """TextTable of [Point]; differences and Welch's test are from the student alone with hard labels."""
    plain = next((p for p in points if p.curve.startswith("M2") and p.gamma == 0), None)
    heading = ["curve", "method", "teacher", "T", "γ", "seeds", "accuracy", "95% ±", "min", "max", "difference", "p"]
    rows = [heading]
    for p in points:
        compared = significance.across_seeds([plain.accuracies, p.accuracies])[1] if plain and p is not plain else None
        numbers = [shown(p.temperature, "g"), f"{p.gamma:.4f}", str(len(p.accuracies))]
        numbers += [f"{statistics.fmean(p.accuracies):.2f}", shown(half_width(p.accuracies), ".2f")]
        numbers += [f"{min(p.accuracies):.2f}", f"{max(p.accuracies):.2f}"]
        numbers += [shown(compared and compared.difference, "+.2f"), shown(compared and compared.p_welch, ".4f")]
        rows.append([p.curve, p.method, p.teacher, *numbers])
    notes = ["accuracy on the test images in percent; 95%: Student's interval of the mean over the seeds"]
    if plain:
        notes.append(f"difference and p (Welch): from {plain.method}")
    return TextTable("distillation: test accuracy by smoothness γ", rows, notes)


def series(points):
    """{curve: [(γ, mean accuracy, half-width of the 95% interval or None)]}, for figures.lines."""
    curves = {}
    for p in points:
        if not math.isnan(p.gamma):
            point = (p.gamma, statistics.fmean(p.accuracies), half_width(p.accuracies))
            curves.setdefault(p.curve, []).append(point)
    return dict(sorted(curves.items(), key=lambda pair: (not pair[0].startswith("M"), pair[0])))


def points(folder, data=None, cpu=False):
    """[Point], a method each, by curve; γ is measured where it is missing.

    folder: of the methods of an experiment, METHOD/seedN below it; data: folder of the images, None for the
    experiment's. Raises UserError.
    """
    root = Path(folder)
    runs = {path.parent: read_settings(path.parent) for path in sorted(root.glob("*/seed*/command.json"))}
    # paths in the commands are relative to the experiment's folder; a teacher is one before its students have ended
    teachers = {path: _teacher(root, settings) for path, settings in runs.items()}
    runs = {path: settings for path, settings in runs.items() if accuracy(path) is not None}
    if not runs:
        raise UserError(f"{root}: no finished METHOD/seedN of image classifiers: give OUT/DATASET of an experiment")
    by_method = {}
    for path in progress(runs, "smoothness", "run"):
        if teachers[path] and teachers[path] not in runs:
            raise UserError(
                f"{path}: its teacher, {teachers[path]}, is missing or unfinished: run the experiment again"
            )
        by_method.setdefault(path.parent.name, []).append(_seed(path, runs, teachers, data, cpu))
    joined = [_joined(seeds) for seeds in by_method.values()]
    return sorted(joined, key=lambda p: (not p.curve.startswith("M"), p.curve, p.gamma))


def _teacher(root, settings):
    """Folder of the run that teaches one, None without."""
    path = settings.get("teacher_path")
    return root.parent / Path(path).parents[1] if path else None


def _seed(path, runs, teachers, data, cpu):
    """A Point of one seed."""
    settings, own = runs[path], teachers[path]
    role = runs[own] if own else "itself" if path in teachers.values() else None
    outputs = None
    if own or alpha(settings) is None:
        outputs = _outputs(own or path, data, cpu)
    temperature = float(settings.get("teacher_temperature", 1)) if own else None
    return Point(
        curve_of(settings, role),
        path.parent.name,
        own.parent.name if own else "–",
        None if settings.get("distill_match") == "logits" else temperature,
        gamma_of(settings, role, outputs),
        (accuracy(path),),
    )


def _outputs(path, data, cpu):
    """Predictions of a run's checkpoint on its training images, not augmented; made where they are missing."""
    checkpoint = predictions.checkpoint_of(path)
    ensure_predictions(checkpoint, ["train"], data, cpu)
    return predictions.read(predictions.path_beside(checkpoint, "train"))


def _joined(seeds):
    """The Points of the seeds of a method as one."""
    gamma = sum(seed.gamma for seed in seeds) / len(seeds)
    return replace(seeds[0], gamma=gamma, accuracies=tuple(a for seed in seeds for a in seed.accuracies))
