"""Learning curves of an experiment: validation nll from the training logs, BLEU of the checkpoints that were kept."""

import statistics
from dataclasses import dataclass

from ..errors import UserError
from ..figures import translation
from ..records.tables import TextTable, shown
from ..records.train_log import read_train_log


@dataclass(frozen=True)
class Point:
    """A method after so many updates, over its seeds."""

    method: str
    updates: int
    nll: tuple  #: of each seed that was validated then, bits per token
    bleu: tuple  #: of each seed of which a checkpoint was kept then


def points(experiment, groups, out):
    """[Point] of all methods, by method and updates. groups: {method: [(Part, its scores in the status)]}."""
    found = []
    for method, group in groups.items():
        nll, scores = {}, {}
        for part, status in group:
            for valid in _validations(out / part.cell.name / "train.log"):
                nll.setdefault(valid.update, []).append(valid.nll_loss)
            for updates, score in status.get("curve") or []:
                scores.setdefault(updates, []).append(score)
        for updates in sorted({*nll, *scores}):
            found.append(Point(method.name, updates, tuple(nll.get(updates, ())), tuple(scores.get(updates, ()))))
    return found


def table(experiment, direction, points):
    """TextTable of the points that `decode.curve` asks for, with a note about those without a checkpoint."""
    wanted = experiment.decode.curve
    rows = [["method", "updates", "valid nll", "std", "BLEU valid", "std", "seeds"]]
    missing = []
    for method in dict.fromkeys(point.method for point in points):
        mine = {point.updates: point for point in points if point.method == method}
        for updates in wanted:
            point = mine.get(updates, Point(method, updates, (), ()))
            numbers = [*_mean_and_std(point.nll, ".3f"), *_mean_and_std(point.bleu, ".2f")]
            rows.append([method, str(updates), *numbers, str(max(len(point.nll), len(point.bleu)))])
            if not point.bleu:
                missing.append(f"{method}: no checkpoint after {updates} updates: see `save-interval-updates`")
    note = "nll in bits per target token; BLEU with length penalty 1, uncalibrated, of the checkpoint of that update"
    title = f"{experiment.name}: {direction[0]} → {direction[1]}, valid, learning curves"
    return TextTable(title, rows, [note, *missing])


def figure(experiment, direction, points):
    """The curves: means over the seeds, of updates at which every seed was measured. Raises UserError."""
    series = []
    for name in ("nll", "bleu"):
        curves = {}
        for method in dict.fromkeys(point.method for point in points):
            mine = [(p.updates, getattr(p, name)) for p in points if p.method == method and getattr(p, name)]
            seeds = max((len(values) for _, values in mine), default=0)
            whole = [(updates, values) for updates, values in mine if len(values) == seeds]
            if whole:
                curves[method] = [(u, statistics.fmean(values), _std(values)) for u, values in whole]
        series.append(curves)
    return translation.learning_curves(*series, f"{experiment.name}: {'-'.join(direction)}, valid")


def _validations(log):
    try:
        return [valid for valid in read_train_log(log).valid if valid.nll_loss is not None]
    except UserError:  # not begun
        return []


def _std(values):
    return statistics.stdev(values) if len(values) > 1 else None


def _mean_and_std(values, layout):
    return [shown(statistics.fmean(values) if values else None, layout), shown(_std(values), layout)]
