"""Statistics of predicted tokens on any device: what calibration measures need, a few numbers per token or per bin.

Both add up over batches and workers: `TokenStatistics` concatenate, bin sums add with `+`. What follows from them (ECE,
intervals, risk and coverage) is in measures/calibration.py.
"""

from typing import NamedTuple

import torch


class TokenStatistics(NamedTuple):
    """Per token, each (N,): confidence in [0, 1], predicted type, whether it is the target, nll in nats, and the
    Brier score Σ_j (p_j − [j is the target])², in [0, 2]."""

    confidence: torch.Tensor
    predicted: torch.Tensor
    correct: torch.Tensor
    nll: torch.Tensor
    brier: torch.Tensor

    @classmethod
    def of(cls, log_probs: torch.Tensor, target: torch.Tensor) -> "TokenStatistics":
        """Statistics of log-probabilities (N, K) in nats and targets (N,); a masked target has an infinite nll."""
        p = log_probs.exp()
        confidence, predicted = p.max(dim=1)
        log_p = log_probs.gather(1, target.unsqueeze(1)).squeeze(1)
        brier = p.square_().sum(1) - 2 * log_p.exp() + 1
        return cls(confidence, predicted, predicted.eq(target), -log_p, brier)

    @classmethod
    def concatenate(cls, parts: "list[TokenStatistics]") -> "TokenStatistics":
        """The tokens of all parts, in order."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def select(self, index: torch.Tensor) -> "TokenStatistics":
        """The tokens that a mask or index picks."""
        return TokenStatistics(*(x[index] for x in self))


def bin_sums(confidence: torch.Tensor, correct: torch.Tensor, bins: int = 15) -> torch.Tensor:
    """Bin sums (3, bins), float64: number of tokens, sum of confidences, number of correct ones, in each bin.

    confidence: (N,) in [0, 1]; correct: (N,), bool or 0/1. measures.calibration.bin_sums does the same for arrays.
    """
    index = bin_index(confidence, bins)
    columns = (torch.ones_like(confidence, dtype=torch.float64), confidence.double(), correct.double())
    return torch.stack([x.new_zeros(bins).index_add_(0, index, x) for x in columns])


def objective_sums(log_probs: torch.Tensor, target: torch.Tensor, objective: str) -> torch.Tensor:
    """What a calibrator's objective is computed from, float64; it adds over batches.

    log_probs: (N, K) in nats; target: (N,)
    objective: "nll": their summed negative log-likelihood, a scalar; "ece": bin sums (3, 15)
    """
    if objective == "nll":
        return -log_probs.gather(1, target.unsqueeze(1)).double().sum()
    log_confidence, predicted = log_probs.max(1)
    return bin_sums(log_confidence.exp(), predicted.eq(target))


def bin_index(confidence: torch.Tensor, bins: int) -> torch.Tensor:
    """The bin of each confidence in [0, 1], int64 in 0..bins−1; NaN falls into the last one and turns its sums to NaN.

    The edges are those of linspace in the confidences' own precision, as torchmetrics has them.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    return torch.bucketize(confidence, edges[1:-1], right=True)
