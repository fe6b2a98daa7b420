"""`labo noise compare`: the theory of label smoothing beside trained models; see noise.py."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .analysis import figures, noise_figures, predictions
from .analysis.tables import TextTable, shown
from .errors import UserError
from .files import write_aside
from .noise import predictions_of


@dataclass(frozen=True)
class Comparison:
    """One run beside the theory; losses in nats, shares in [0, 1]."""

    run: str
    type: str
    clean_rate: float
    p: float
    classes: int
    predicted: float  #: of the theory, infinite without smoothing
    drawn: float  #: of a perfect fit of the training labels as they were drawn, whose share of wrong ones is random
    fitted: float  #: on the training images
    held_out: float
    averaging: float
    excess: float  #: training loss above the entropy of the targets
    memorised: float
    accuracy: float  #: held out
    best_accuracy: float | None  #: of the best epoch, on validation images

    def deviation(self, measured, predicted=None):
        """(measured − predicted)/predicted in percent, of the theory by default; None where that is 0 or infinite."""
        predicted = self.predicted if predicted is None else predicted
        return 100 * (measured / predicted - 1) if 0 < predicted < np.inf else None


def run(args):
    """Measure, print and draw; returns 0. Raises UserError on bad input."""
    found = [_comparison(folder, args) for folder in tqdm(args.runs, desc="runs", unit="run", leave=False, delay=2)]
    found.sort(key=lambda one: (one.type, one.clean_rate, one.p))
    table = _comparison_table(found)
    print(json.dumps([_finite(vars(one)) for one in found], indent=1) if args.json else table.as_tsv())
    if args.out:
        out = Path(args.out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            with write_aside(out / "comparison.tsv") as stream:
                stream.write(table.as_tsv() + "\n")
        except OSError as error:
            raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
        _draw(found, out)
    return 0


def _comparison(folder, args):
    import torch

    from .functional import label_noise
    from .functional.transition import noise_matrix

    flags = _flags(folder)
    train, test = predictions_of(folder, ["train", args.subset], args)
    classes = len(train.classes)
    p = _mass_on_label(folder, flags, classes)
    kind = "beta" if "valid-label-noise" in flags else "alpha"
    transition = noise_matrix(flags.get("label-noise", "symmetric:0"), classes)
    smoothing = label_noise.uniform_smoothing(classes, p)
    posterior = smoothing @ transition  # what a model predicts that averages over the noise
    # column k: the labels that an image of class k is tested with
    tested = torch.eye(classes, dtype=torch.float64) if kind == "alpha" else transition
    target = smoothing.numpy()
    log_p = predictions.log_probabilities(train.logits)
    entropy = -float(torch.xlogy(smoothing[:, 0], smoothing[:, 0]).sum())
    return Comparison(
        str(folder),
        kind,
        float(transition.trace()) / classes,
        p,
        classes,
        float(label_noise.matrix_loss(kind, smoothing, transition)) + 0.0,
        -float(torch.xlogy(tested[:, _clean(train)], smoothing[:, train.labels]).sum(0).mean()) + 0.0,
        _loss(train, tested.numpy()),
        _loss(test, tested.numpy()),
        -float(torch.xlogy(tested, posterior).sum()) / classes + 0.0,
        float(-(target[:, train.labels].T * log_p).sum(1).mean() - entropy),
        float((log_p.argmax(1) == train.labels).mean()),
        float((test.logits.argmax(1) == _clean(test)).mean()),
        _best_accuracy(folder),
    )


def _flags(folder):
    """{flag: value} of the training command."""
    path = Path(folder) / "command.json"
    try:
        command = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: cannot be read: RUN must be a folder of `labo experiment`") from None
    pairs = zip(command, [*command[1:], "--"], strict=True)
    return {flag[2:]: value for flag, value in pairs if flag.startswith("--") and not value.startswith("--")}


def _mass_on_label(folder, flags, classes):
    from .functional import label_noise

    if flags.get("criterion") == "cross_entropy":
        return 1.0
    if flags.get("criterion") != "label_smoothing" or flags.get("smoothing-prior", "uniform") != "uniform":
        raise UserError(f"{folder}: was not trained with uniform label smoothing: the theory is of that alone")
    amount, form = float(flags.get("label-smoothing", 0.1)), flags.get("smoothing-form", "torch")
    return label_noise.conventions(amount, form, classes).target


def _clean(found):
    return found.labels if found.clean_labels is None else found.clean_labels


def _loss(found, tested):
    """Mean cross entropy against column k of `tested` for an image of the clean class k, in nats."""
    return float(-(tested[:, _clean(found)].T * predictions.log_probabilities(found.logits)).sum(1).mean())


def _best_accuracy(folder):
    """The highest accuracy of an epoch on validation images, by their true labels; None where none was logged."""
    try:
        text = (Path(folder) / "train.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for name in ("clean_accuracy", "accuracy"):
        values = [float(x) for x in re.findall(rf'"valid_{name}": "([\d.]+)"', text)]
        if values:
            return max(values) / 100
    return None


def _finite(row):
    """A row for JSON, which knows no infinity."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def _comparison_table(found):
    heading = ["run", "type", "clean rate", "p", "predicted", "fitted", "deviation %"]
    heading += ["as drawn", "fitted deviation %", "held out", "held-out deviation %"]
    heading += ["averaging", "excess", "memorised %", "accuracy %", "best epoch %"]
    rows = [heading]
    for one in found:
        row = [one.run, one.type, f"{one.clean_rate:.3f}", f"{one.p:.3f}", f"{one.predicted:.4f}", f"{one.fitted:.4f}"]
        row += [shown(one.deviation(one.fitted), "+.1f"), f"{one.drawn:.4f}"]
        row += [shown(one.deviation(one.fitted, one.drawn), "+.1f"), f"{one.held_out:.4f}"]
        row += [shown(one.deviation(one.held_out), "+.1f"), f"{one.averaging:.4f}", f"{one.excess:.4f}"]
        row += [f"{100 * one.memorised:.2f}", f"{100 * one.accuracy:.2f}"]
        rows.append([*row, shown(None if one.best_accuracy is None else 100 * one.best_accuracy, ".2f")])
    return TextTable("loss (nats) by theory and measured", rows)


def _draw(found, out):
    for kind in dict.fromkeys(one.type for one in found):
        mine = [one for one in found if one.type == kind]
        name = noise_figures.NAMES[kind]
        figures.save(noise_figures.slices(*_slices(mine, kind), f"{name} type"), out / f"slices_{kind}.png")
        rates, masses = (sorted({round(getattr(one, key), 6) for one in mine}) for key in ("clean_rate", "p"))
        if len(rates) < 2 or len(masses) < 2:
            print(f"labo noise: {name} type: one clean rate or p alone: no landscape", file=sys.stderr)
            continue
        for title, figure in _landscapes(mine, np.array(rates), np.array(masses), name).items():
            figures.save(figure, out / f"{title}_{kind}.png")


def _landscapes(mine, rates, masses, name):
    """{file name: figure} over the grid of clean rates and masses."""

    def field(key):
        return _field(mine, rates, masses, key)

    losses = {"predicted loss (nats)": "predicted", "on training images": "fitted", "held out": "held_out"}
    losses = {heading: (field(key), "lowest") for heading, key in losses.items()}
    shares = {"accuracy": "accuracy", "accuracy of the best epoch": "best_accuracy"}
    shares = {heading: (100 * field(key), "highest") for heading, key in shares.items()}
    shares = {heading: pair for heading, pair in shares.items() if np.isfinite(pair[0]).any()}
    best = {heading: _best(rates, masses, *pair) for heading, pair in {**losses, **shares}.items()}
    accuracy = shares["accuracy"][0]
    errors = {f"a = {rate:g}": _points(masses, 100 - accuracy[:, i]) for i, rate in enumerate(rates)}
    curves = {f"p = {p:g}": _points(rates, accuracy[i]) for i, p in enumerate(masses)}
    return {
        "landscape": noise_figures.heatmaps(rates, masses, losses),
        "accuracy": noise_figures.heatmaps(rates, masses, shares),
        "optima": figures.lines(best, "clean rate a", "p", f"Best p, {name} type"),
        "errors": figures.lines(errors, "p on the label", "error (%)", "Error by p"),
        "curves": figures.lines(curves, "clean rate a", "accuracy (%)", "Accuracy by clean rate"),
    }


def _slices(mine, kind):
    """(curves, points) of noise_figures.slices; of several seeds each has its mark."""
    import torch

    from .functional import label_noise

    masses = np.linspace(0.02, 0.995, 200)
    curves, points = {}, {}
    for rate in sorted({one.clean_rate for one in mine}):
        here = [one for one in mine if one.clean_rate == rate]
        loss = label_noise.uniform_loss(kind, torch.from_numpy(masses), rate, here[0].classes)
        curves[rate] = (masses, loss.numpy())
        points[rate] = {
            "training images": [(one.p, one.fitted) for one in here],
            "held-out images": [(one.p, one.held_out) for one in here],
            "averaging over the noise": [(one.p, one.averaging) for one in here],
        }
    return curves, points


def _field(mine, rates, masses, key):
    """(P, A) means over the runs of a cell; NaN without one."""
    field = np.full((len(masses), len(rates)), np.nan)
    for i, p in enumerate(masses):
        for j, rate in enumerate(rates):
            cell = [getattr(o, key) for o in mine if round(o.p, 6) == p and round(o.clean_rate, 6) == rate]
            cell = [value for value in cell if value is not None]
            if cell:
                field[i, j] = np.mean(cell)
    return field


def _best(rates, masses, values, which):
    """[(clean rate, best mass, None)] where anything was measured."""
    ranked = np.where(np.isfinite(values), values if which == "lowest" else -values, np.inf)
    columns = zip(rates, ranked.T, strict=True)
    return [(rate, masses[column.argmin()], None) for rate, column in columns if np.isfinite(column).any()]


def _points(x, y):
    return [(a, b, None) for a, b in zip(x, y, strict=True) if np.isfinite(b)]
