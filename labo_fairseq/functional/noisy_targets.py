"""Losses for noisy labels: forward correction, smoothing with any matrix, logit smoothing.

Matrices are laid out as in transition.py: column j belongs to the label j.
"""

from dataclasses import dataclass

import torch

from .contract import PassLoss, RowLoss
from .rows import Coefficients, RowPass, Rows, log_sum, others, shift_rows


@dataclass(frozen=True)
class ForwardCorrection(RowLoss):
    """−log((1−r)·p_k + r/(K−1)·(1−p_k)): the likelihood of a label under uniform noise (Patrini et al. 2017).

    rate: r, the probability that a label is wrong, in [0, 1]

    >>> from labo_fairseq.functional import ForwardCorrection, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), ForwardCorrection(0.2)).loss  # −log(0.8·½ + 0.1·½)
    tensor([0.7985])
    """

    rate: float

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        nll = rows.nll
        rate = torch.full_like(nll, self.rate) * (rows.types > 1)  # a single type cannot be mistaken for another
        keep, wrong = 1 - rate, rate / others(rows.types)
        # both terms in the log domain: p_k itself underflows, and 1 − p_k cancels
        likelihood = torch.stack([keep.log() - nll, wrong.log() + torch.log(-torch.expm1(-nll))])
        value = -torch.logsumexp(likelihood, 0)  # logaddexp would round a row otherwise in another batch
        weight = (keep - wrong) * torch.exp(value - nll)
        return value, Coefficients(a=weight, e=-weight)


@dataclass(frozen=True)
class TransitionCorrection(PassLoss):
    """−log (T p)_k for any T, (K, K) (Patrini et al. 2017; Chen et al. 2020, section 4.1).

    >>> from labo_fairseq.functional import TransitionCorrection, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = TransitionCorrection(torch.tensor([[0.9, 0.2, 0.0], [0.1, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # −log(0.9·½ + 0.2·¼)
    tensor([0.6931])
    """

    transition: torch.Tensor

    def row_pass(
        self,
        z: torch.Tensor,
        target: torch.Tensor,
        gradient: bool,
        prior_logit: torch.Tensor | None,
        masked: torch.Tensor | None,
        scratch: list[torch.Tensor] | None,
    ) -> RowPass:
        """See rows.row_pass."""
        _refuse_masks(masked)
        _, _, target_logit = shift_rows(z, target, masked)
        p = torch.softmax(z, 1)
        total = log_sum(p)
        # the smallest number keeps a label that T rules out at a finite loss, as clean ones in validation may be
        z += (self.transition.to(z)[target] + torch.finfo(z.dtype).tiny).log_()
        peak = z.amax(1)
        q = torch.softmax(z, 1)
        value = total - log_sum(q) - peak
        if gradient:
            torch.sub(p, q, out=z)
        return RowPass(value, total - target_logit, None, total)


@dataclass(frozen=True)
class MatrixSmoothing(PassLoss):
    """Cross entropy against S·onehot(k), column k of S, (K, K) (Chen et al. 2020, eq. 2).

    >>> from labo_fairseq.functional import MatrixSmoothing, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = MatrixSmoothing(torch.tensor([[0.9, 0.2, 0.0], [0.1, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # cross entropy against column 0, (0.9, 0.1, 0)
    tensor([0.7625])
    """

    smoothing: torch.Tensor

    def row_pass(
        self,
        z: torch.Tensor,
        target: torch.Tensor,
        gradient: bool,
        prior_logit: torch.Tensor | None,
        masked: torch.Tensor | None,
        scratch: list[torch.Tensor] | None,
    ) -> RowPass:
        """See rows.row_pass."""
        _refuse_masks(masked)
        _, _, target_logit = shift_rows(z, target, masked)
        p = torch.softmax(z, 1)
        total = log_sum(p)
        wanted = self.smoothing.to(z).T[target]
        value = total - (wanted * z).sum(1)
        if gradient:
            torch.sub(p, wanted, out=z)
        return RowPass(value, total - target_logit, None, total)


@dataclass(frozen=True)
class LogitSmoothing(RowLoss):
    """−log softmax(S z)_k for uniform S, which is −log softmax((1−α) z)_k: cross entropy at temperature 1/(1−α).

    Chen et al. 2020, eq. 19: S z = (1−α) z + (α/K) Σ z, and the softmax does not see what all logits have in common.

    mass: α in [0, 1)

    >>> from labo_fairseq.functional import LogitSmoothing, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), LogitSmoothing(0.4)).loss  # −log softmax(0.6·z)
    tensor([0.8414])
    """

    mass: float

    @property
    def temperature(self) -> float:
        return 1 / (1 - self.mass)

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        share = 1 - self.mass
        return rows.log_sum_tau - share * rows.target, Coefficients(a=0.0, b=share, e=-share)


@dataclass(frozen=True)
class MatrixLogitSmoothing(PassLoss):
    """−log softmax(S z)_k for any S, (K, K) (Chen et al. 2020, eq. 19).

    Unlike other losses it changes when a constant is added to a row of logits, unless the rows of S have equal sums.

    >>> from labo_fairseq.functional import MatrixLogitSmoothing, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = MatrixLogitSmoothing(torch.tensor([[0.9, 0.2, 0.0], [0.1, 0.8, 0.0], [0.0, 0.0, 1.0]]))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # −log softmax(S z)
    tensor([0.8643])
    """

    smoothing: torch.Tensor

    def row_pass(
        self,
        z: torch.Tensor,
        target: torch.Tensor,
        gradient: bool,
        prior_logit: torch.Tensor | None,
        masked: torch.Tensor | None,
        scratch: list[torch.Tensor] | None,
    ) -> RowPass:
        """See rows.row_pass."""
        _refuse_masks(masked)
        smoothing = self.smoothing.to(z)
        smoothed = z @ smoothing.T
        _, _, target_logit = shift_rows(z, target, masked)
        total = log_sum(torch.softmax(z, 1))
        _, _, smoothed_target = shift_rows(smoothed, target, masked)
        q = torch.softmax(smoothed, 1)
        value = log_sum(q) - smoothed_target
        if gradient:
            q.scatter_add_(1, target.unsqueeze(1), q.new_full((1, 1), -1.0).expand(len(q), 1))
            torch.matmul(q, smoothing, out=z)
        return RowPass(value, total - target_logit, None, total)


def _refuse_masks(masked):
    if masked is not None:
        raise ValueError("a matrix over all classes: no logit may be -inf")
