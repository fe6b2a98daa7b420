"""The distillation study of Müller et al. (2019), Figure 5, and Wagner et al. (2023), Figures 7 and 8."""

import json
import math
import statistics
from dataclasses import dataclass

import numpy as np

from . import predictions, significance
from .penultimate import half_width
from .tables import TextTable, shown


def smoothness(logits, labels, temperature=1.0):
    """γ = mean over images of Σ_{k wrong} p_k · K/(K−1), p = softmax(logits / T) (Wagner et al. 2023, equation 3).

    logits: (N, K); labels: (N,). 0 for certain and right outputs, α for labels smoothed with α/K, above 1 where the
    true class has less than 1/K.
    """
    p = np.exp(predictions.log_probabilities(logits, temperature))
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
    (seeds,) = json.loads(path.read_text(encoding="utf-8"))["systems"].values()
    return 100 * seeds[0]["accuracy"]


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
    found = {}
    for p in points:
        if not math.isnan(p.gamma):
            point = (p.gamma, statistics.fmean(p.accuracies), half_width(p.accuracies))
            found.setdefault(p.curve, []).append(point)
    return dict(sorted(found.items(), key=lambda pair: (not pair[0].startswith("M"), pair[0])))
