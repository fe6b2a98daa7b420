"""The theory of label smoothing beside trained models (Chen et al. 2020)."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from ..measures.classification import log_probabilities
from ..records.tables import TextTable, shown
from . import theory
from .transition import noise_matrix


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


def comparison(folder, train, test):
    """The Comparison of a run folder of `labo experiment`, from its Predictions on training and on held-out images.

    Raises UserError where its command cannot be read, or it was not trained with uniform label smoothing.
    """
    flags = _flags(folder)
    classes = len(train.classes)
    p = _mass_on_label(folder, flags, classes)
    kind = "beta" if "valid-label-noise" in flags else "alpha"
    transition = noise_matrix(flags.get("label-noise", "symmetric:0"), classes)
    smoothing = theory.uniform_smoothing(classes, p)
    posterior = smoothing @ transition  # what a model predicts that averages over the noise
    # column k: the labels that an image of class k is tested with
    tested = torch.eye(classes, dtype=torch.float64) if kind == "alpha" else transition
    target = smoothing.numpy()
    log_p = log_probabilities(train.logits)
    entropy = -float(torch.xlogy(smoothing[:, 0], smoothing[:, 0]).sum())
    return Comparison(
        str(folder),
        kind,
        float(transition.trace()) / classes,
        p,
        classes,
        float(theory.matrix_loss(kind, smoothing, transition)) + 0.0,
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
    except (OSError, ValueError, RecursionError):
        command = None
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise UserError(f"{path}: cannot be read: RUN must be a folder of `labo experiment`")
    pairs = zip(command, [*command[1:], "--"], strict=True)
    return {flag[2:]: value for flag, value in pairs if flag.startswith("--") and not value.startswith("--")}


def _mass_on_label(folder, flags, classes):
    if flags.get("criterion") == "cross_entropy":
        return 1.0
    if flags.get("criterion") != "label_smoothing" or flags.get("smoothing-prior", "uniform") != "uniform":
        raise UserError(
            f"{folder}: was not trained with uniform label smoothing, which the theory is about: give another run"
        )
    amount, form = float(flags.get("label-smoothing", 0.1)), flags.get("smoothing-form", "torch")
    return theory.conventions(amount, form, classes).target


def _clean(images):
    return images.labels if images.clean_labels is None else images.clean_labels


def _loss(images, tested):
    """Mean cross entropy against column k of `tested` for an image of the clean class k, in nats."""
    return float(-(tested[:, _clean(images)].T * log_probabilities(images.logits)).sum(1).mean())


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


def as_json(comparisons):
    """Rows for JSON, which knows no infinity."""
    return [
        {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in vars(one).items()
        }
        for one in comparisons
    ]


def table(comparisons):
    """A TextTable with a row for each Comparison."""
    heading = ["run", "type", "clean rate", "p", "predicted", "fitted", "deviation %"]
    heading += ["as drawn", "fitted deviation %", "held out", "held-out deviation %"]
    heading += ["averaging", "excess", "memorised %", "accuracy %", "best epoch %"]
    rows = [heading]
    for one in comparisons:
        row = [one.run, one.type, f"{one.clean_rate:.3f}", f"{one.p:.3f}", f"{one.predicted:.4f}", f"{one.fitted:.4f}"]
        row += [shown(one.deviation(one.fitted), "+.1f"), f"{one.drawn:.4f}"]
        row += [shown(one.deviation(one.fitted, one.drawn), "+.1f"), f"{one.held_out:.4f}"]
        row += [shown(one.deviation(one.held_out), "+.1f"), f"{one.averaging:.4f}", f"{one.excess:.4f}"]
        row += [f"{100 * one.memorised:.2f}", f"{100 * one.accuracy:.2f}"]
        rows.append([*row, shown(None if one.best_accuracy is None else 100 * one.best_accuracy, ".2f")])
    return TextTable("loss (nats) by theory and measured", rows)
