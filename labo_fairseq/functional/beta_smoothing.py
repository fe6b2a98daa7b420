"""Beta smoothing (Zhang and Sabuncu 2020): label smoothing by an amount of chance, in the order of a confidence."""

from dataclasses import dataclass

import torch

from .contract import RowLoss
from .smoothing import UNIFORM, LabelSmoothing


@dataclass(frozen=True)
class BetaSmoothing(RowLoss):
    """(1−α)·(−log p_k) + α·H(q, p), where q_k = b and each other type gets (1−b)/(K−1).

    It is label smoothing in fairseq's form with ε = α·(1−b). The released code adds 1e-8 to p before the logarithm.

    mass: α in [0, 1]
    kept: b of every token of the batch, (N,), in [0, 1]

    >>> from labo_fairseq.functional import BetaSmoothing, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = BetaSmoothing(1.0, torch.tensor([0.8]))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # cross entropy against (0.8, 0.1, 0.1)
    tensor([0.8318])
    """

    mass: float
    kept: torch.Tensor

    prior = UNIFORM

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss."""
        return LabelSmoothing(self.mass * (1 - self.kept[rows]), "fairseq")


def ranked_beta(confidence: torch.Tensor, uniform: torch.Tensor, shape: float) -> torch.Tensor:
    """One draw from Beta(a, 1) for each of n tokens, the larger the more confident: (n,), in [0, 1].

    confidence: (n,), of which only the order counts; equal ones are taken in the order of the batch
    uniform: (n,), independent draws from [0, 1)
    shape: a, above 0; the distribution function is x^a
    """
    draws = uniform.pow(1 / shape).sort().values
    return torch.empty_like(draws).scatter_(0, confidence.argsort(stable=True), draws)
