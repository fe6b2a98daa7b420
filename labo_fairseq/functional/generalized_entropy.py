"""Generalized entropy regularization (Meister et al. 2020): one family from confidence penalty to label smoothing."""

from dataclasses import dataclass

import torch

from .contract import PassLoss
from .rows import RowPass, buffer, log_sum, prior_row, shift_rows
from .smoothing import UNIFORM


@dataclass(frozen=True)
class GeneralizedEntropy(PassLoss):
    """−log p_k + β·J_α(u‖p), the skew Jensen divergence with m = (1−α)·u + α·p (Meister et al. 2020, eq. 8-10):

    J_α = KL(u‖m)/α + KL(p‖m)/(1−α)

    α → 0 is KL(p‖u), the confidence penalty plus log K; α → 1 is KL(u‖p), label smoothing up to a constant and scale.
    The authors' code leaves the constant Σ u log u out, so its loss values differ from these.

    alpha: α in [0, 1]
    weight: β, at least 0
    prior_u: "uniform", or u as a tensor (V,), positive everywhere where α is 0

    >>> from labo_fairseq.functional import GeneralizedEntropy, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), GeneralizedEntropy(1.0, 1.0)).loss  # log 2 + KL(u‖p)
    tensor([0.7498])
    """

    alpha: float
    weight: float
    prior_u: str | torch.Tensor = UNIFORM

    # the prior is part of the divergence, not a linear term that could be taken out of the pass

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
        types, _, target_logit = shift_rows(z, target, masked)
        u = prior_row(self.prior_u, types, z, masked)
        p, spare = torch.softmax(z, 1, out=buffer(z, scratch, 0)), buffer(z, scratch, 1)
        total = log_sum(p)
        nll = total - target_logit
        log_p = z.sub_(total.unsqueeze(1))
        tiny = torch.finfo(z.dtype).tiny  # u, p and m are 0 for masked types
        log_u = u.clamp(min=tiny).log()
        if self.alpha == 1:
            divergence = torch.sub(log_u, log_p, out=spare).mul_(u).sum(1)
            slope = torch.sub(p, u, out=z)
        elif self.alpha == 0:
            ratio = log_p.sub_(log_u)
            divergence = torch.mul(p, ratio, out=spare).sum(1)
            slope = ratio.sub_(divergence.unsqueeze(1)).mul_(p)
        else:
            m = torch.mul(p, self.alpha, out=spare).add_((1 - self.alpha) * u)
            log_m = m.clamp_(min=tiny).log_()
            ratio = log_p.sub_(log_m)
            kl_u = log_m.sub_(log_u).mul_(u).sum(1).neg_()
            kl_p = torch.mul(p, ratio, out=spare).sum(1)
            divergence = kl_u / self.alpha + kl_p / (1 - self.alpha)
            slope = ratio.sub_(kl_p.unsqueeze(1)).mul_(p).div_(1 - self.alpha)
        if gradient:
            torch.add(p, slope, alpha=self.weight, out=z)
            z.scatter_add_(1, target.unsqueeze(1), z.new_full((1, 1), -1.0).expand(len(z), 1))
        return RowPass(nll + self.weight * divergence, nll, None, total)
