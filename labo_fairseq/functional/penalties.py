"""Losses that weigh or penalize confidence: confidence penalty, focal and anti-focal loss, z-loss."""

from dataclasses import dataclass, replace

import torch

from .contract import PassLoss, RowLoss
from .rows import Coefficients, RowPass, Rows, log_sum, row_pass


@dataclass(frozen=True)
class ConfidencePenalty(RowLoss):
    """−log p_k − β·H(p) (Pereyra et al. 2017; Lu et al. 2023, eq. 2); β·KL(p‖U) up to the constant β·log K.

    weight: β, at least 0

    >>> from labo_fairseq.functional import ConfidencePenalty, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), ConfidencePenalty(1.0)).loss  # log 2 − H(p)
    tensor([-0.3466])
    """

    weight: float

    needs_mean = True

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        return rows.nll - self.weight * rows.entropy, Coefficients(a=1.0, c=self.weight)


@dataclass(frozen=True)
class Focal(RowLoss):
    """−(1−p_k)^γ·log p_k (Lin et al. 2017).

    gamma: γ, at least 0; 0 is cross entropy
    detach: treat the factor (1−p_k)^γ as a constant in the gradient, as the code of Raunak et al. (2020) does

    >>> from labo_fairseq.functional import Focal, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), Focal(2.0)).loss  # (1 − ½)²·log 2
    tensor([0.1733])
    """

    gamma: float
    detach: bool = False

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        nll = rows.nll
        miss = -torch.expm1(-nll)  # 1 − p without cancellation
        factor = miss**self.gamma
        weight = factor
        if not self.detach:
            # (1−p)^(γ−1)·(−log p) as (1−p)^γ·(−log p)/(1−p): for γ < 1 the first form is ∞·0 at p = 1
            slope = torch.where(miss > 0, nll / miss, 1.0)
            weight = factor * (1 + self.gamma * (1 - miss) * slope)
        return factor * nll, Coefficients(a=weight, e=-weight)


@dataclass(frozen=True)
class AntiFocal(RowLoss):
    """−(1+α·p_k)^γ·log p_k (Raunak et al. 2020).

    gamma, alpha: γ and α, at least 0; either at 0 is cross entropy
    detach: treat the factor as a constant in the gradient, as the authors' code does. That is another method: at
        γ = 1, α = 0.5, p = 0.3 the gradient is 1.15 times that of cross entropy, with the factor's own 0.97 times

    >>> from labo_fairseq.functional import AntiFocal, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), AntiFocal(1.0, 0.5)).loss  # (1 + ½·½)·log 2
    tensor([0.8664])
    """

    gamma: float
    alpha: float
    detach: bool = False

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        nll = rows.nll
        p = torch.exp(-nll)
        base = 1 + self.alpha * p
        factor = base**self.gamma
        weight = factor
        if not self.detach:
            weight = factor - self.gamma * self.alpha * base ** (self.gamma - 1) * p * nll
        return factor * nll, Coefficients(a=weight, e=-weight)


@dataclass(frozen=True)
class WithZLoss(RowLoss):
    """Another loss plus λ·LSE² (Chowdhery et al. 2022), which keeps the logits near log-probabilities.

    base: a loss object with `terms`; ZLossAround takes those with a row pass of their own
    weight: λ, at least 0

    >>> from labo_fairseq.functional import CrossEntropy, WithZLoss, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = WithZLoss(CrossEntropy(), 1.0)
    >>> token_loss(z, torch.tensor([0]), loss).loss  # LSE is 0 here: the logits are log-probabilities
    tensor([0.6931])
    """

    base: RowLoss
    weight: float

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss."""
        return replace(self, base=self.base.of_rows(rows, masked))

    @property
    def temperature(self) -> float | None:
        return self.base.temperature

    @property
    def prior(self) -> str | torch.Tensor | None:
        return self.base.prior

    @property
    def needs_mean(self) -> bool:
        return self.base.needs_mean

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        value, weights = self.base.terms(rows)
        lse = rows.log_sum + rows.peak
        return value + self.weight * lse**2, weights._replace(a=weights.a + 2 * self.weight * lse)


@dataclass(frozen=True)
class ZLossAround(WithZLoss, PassLoss):
    """WithZLoss for a base whose gradient needs more than the five terms, and which therefore has its own row pass.

    >>> from labo_fairseq.functional import GeneralizedEntropy, ZLossAround, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = ZLossAround(GeneralizedEntropy(1.0, 1.0), 1.0)
    >>> token_loss(z, torch.tensor([0]), loss).loss  # as without it: LSE is 0
    tensor([0.7498])
    """

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
        p, peak = torch.softmax(z, 1), z.amax(1)
        lse = log_sum(p) + peak
        out = row_pass(z, target, self.base, gradient, prior_logit, masked, scratch)
        if gradient:
            z.add_(p.mul_((2 * self.weight * lse).unsqueeze(1)))
        return out._replace(value=out.value + self.weight * lse**2)


def with_z_loss(base: RowLoss, weight: float) -> RowLoss:
    """The base loss plus λ·LSE², whatever kind of loss it is; weight: λ, at least 0."""
    return (ZLossAround if base.own_pass else WithZLoss)(base, weight)
