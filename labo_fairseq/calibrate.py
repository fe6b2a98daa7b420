"""Calibration of any classifier's logits: its error, its reliability bins, the temperature that mends it.

logits: a torch tensor or numpy array, (N, C) or (N, C, …) with the target (N,) or (N, …); (…, C) with class_dim=-1;
    log-probabilities are logits too. (N,) are logits of the second of two classes, as a sigmoid's: there the confidence
    is that class's probability and "correct" whether it is the target, as torchmetrics has it for task="binary".
target: indices of classes; those that are `ignore_index` (padding) do not count. EOS is a token like the others.
probabilities: True where probabilities stand in place of the logits

The conventions are those of the whole package (measures/calibration.py): `bins` of equal width, left-closed, with 1.0
in the last one. torchmetrics gives 1.0, and only that number, a bin of its own.
"""

import warnings
from typing import Any

import torch

from .errors import UserError
from .functional import class_rows
from .functional.calibration import bin_sums, objective_sums
from .functional.calibrators import Temperature
from .measures import calibration as measures
from .measures.temperature import search

__all__ = ["expected_calibration_error", "fit_temperature", "reliability_bins"]

_NORMS = {"l1": measures.ece, "l2": measures.rmsce, "max": measures.mce}
# logits are worked on in pieces of about this many, so that their probabilities take little memory
_PIECE = 1 << 22


def expected_calibration_error(
    logits: Any,
    target: Any,
    bins: int = measures.BINS,
    norm: str = "l1",
    ignore_index: int | None = -100,
    class_dim: int = 1,
    probabilities: bool = False,
) -> float:
    """Calibration error in [0, 1], NaN where no target counts.

    norm: "l1", the expected calibration error (Guo et al. 2017, eq. 3); "l2", its root mean square; "max", the largest
        gap of a bin. The other arguments: see the module.

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> error = expected_calibration_error(p.log(), torch.tensor([0, 0, 1]))  # gaps 0.1, 0.2 and 0.6
    >>> round(error, 3)
    0.3
    """
    if norm not in _NORMS:
        raise UserError(f"norm: {norm!r} is unknown: give one of {', '.join(_NORMS)}")
    return float(_NORMS[norm](_bins(logits, target, bins, ignore_index, class_dim, probabilities)))


def reliability_bins(
    logits: Any,
    target: Any,
    bins: int = measures.BINS,
    ignore_index: int | None = -100,
    class_dim: int = 1,
    probabilities: bool = False,
) -> list[dict]:
    """Rows of a reliability diagram, one for each bin.

    Each is a dict: bin_low, bin_high, count, confidence and accuracy (means of the bin), accuracy_low and accuracy_high
    (95 % Wilson interval); NaN where the bin is empty. The arguments: see the module.

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> last = reliability_bins(p.log(), torch.tensor([0, 0, 1]), bins=2)[1]
    >>> last["count"], round(last["confidence"], 3), round(last["accuracy"], 3)
    (3, 0.767, 0.667)
    """
    return measures.reliability(_bins(logits, target, bins, ignore_index, class_dim, probabilities))


def fit_temperature(
    logits: Any,
    target: Any,
    objective: str = "nll",
    ignore_index: int | None = -100,
    class_dim: int = 1,
) -> float:
    """The temperature T in [0.001, 1000] that makes softmax(logits / T) fit best; to a ratio of 0.0005.

    objective: "nll", the negative log-likelihood (Guo et al. 2017), or "ece"; fit on validation data, never on the test
        set. Warns (UserWarning) where no temperature is the best one, as where every prediction is right. The other
        arguments: see the module.

    >>> z = torch.tensor([[9.0, 1.0], [9.0, 1.0], [9.0, 1.0], [1.0, 9.0]]).log()
    >>> round(fit_temperature(z, torch.tensor([0, 0, 1, 1])), 2)  # 3 of 4 are right: 9^(1/T) = 3
    2.0
    """
    if objective not in ("nll", "ece"):
        raise UserError(f'objective: {objective!r} is unknown: give "nll" or "ece"')
    rows, target = _rows(logits, target, ignore_index, class_dim)
    if rows.dim() == 1:
        rows = torch.stack([torch.zeros_like(rows), rows], 1)
    if not len(target):
        raise UserError("target: none counts: give some that are not ignore_index")

    def values(temperatures):
        sums = [torch.zeros(()).double().to(rows.device)] * len(temperatures)
        for z, k in _pieces(rows, target):
            parts = [objective_sums(Temperature(t).log_probs(z), k, objective) for t in temperatures]
            sums = [total + part for total, part in zip(sums, parts, strict=True)]
        return [float(total if objective == "nll" else measures.ece(total.cpu().numpy())) for total in sums]

    temperature, problem = search(values)
    if problem:
        warnings.warn(f"fit_temperature: {problem}", stacklevel=2)
    return temperature


def _bins(logits, target, bins, ignore_index, class_dim, probabilities):
    """Bin sums (3, bins), a numpy array."""
    if bins < 1:
        raise UserError(f"bins: {bins}: give at least 1")
    rows, target = _rows(logits, target, ignore_index, class_dim)
    if probabilities and rows.numel() and not (float(rows.min()) >= 0 and float(rows.max()) <= 1):
        raise UserError("probabilities: some lie outside [0, 1]: leave probabilities=True out for logits")
    sums = torch.zeros(3, bins, dtype=torch.float64, device=rows.device)
    for z, k in _pieces(rows, target):
        sums += bin_sums(*_confidence(z, k, probabilities), bins)
    return sums.cpu().numpy()


def _confidence(z, target, probabilities):
    """(confidence, correct), each (n,)."""
    if z.dim() == 1:
        return (z if probabilities else z.sigmoid()), target.eq(1)
    confidence, predicted = (z if probabilities else z.softmax(1)).max(1)
    return confidence, predicted.eq(target)


def _rows(logits, target, ignore_index, class_dim):
    """Logits (n, C), or (n,) of two classes, in at least float32, and targets (n,): those that count."""
    logits, target = torch.as_tensor(logits).detach(), torch.as_tensor(target)
    if target.is_floating_point() or not logits.is_floating_point():
        raise UserError(f"logits of {logits.dtype}, target of {target.dtype}: give real numbers and indices of classes")
    binary = logits.shape == target.shape
    rows = logits.reshape(-1) if binary else class_rows(logits, target, class_dim)
    target = target.reshape(-1).long().to(rows.device)
    if ignore_index is not None:
        kept = target.ne(ignore_index)
        rows, target = rows[kept], target[kept]
    types = 2 if binary else rows.size(1)
    if len(target) and not (int(target.min()) >= 0 and int(target.max()) < types):
        raise UserError(f"target: {int(target.min())} to {int(target.max())}: give indices of the {types} classes")
    return rows.to(torch.promote_types(rows.dtype, torch.float32)), target


def _pieces(rows, target):
    size = max(1, _PIECE // max(1, rows[:1].numel()))
    return zip(rows.split(size), target.split(size), strict=True)
