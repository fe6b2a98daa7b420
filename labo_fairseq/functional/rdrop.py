"""R-Drop (Liang et al. 2021): two dropout passes whose predictions are pulled together, around any other loss."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from .contract import PassLoss, RowLoss
from .rows import RowPass, buffer, log_sum, row_pass


@dataclass(frozen=True)
class RDrop(PassLoss):
    """The base loss of both passes plus w/2·[KL(p₁‖p₂) + KL(p₂‖p₁)], in the form of fairseq and of the authors.

    Rows come in pairs: rows 2i and 2i+1 are the same token in the first and in the second pass. The value of the pair
    stands in its first row and 0 in its second, so that a sum counts it once. The gradient flows through both.

    base: any loss object
    weight: w, at least 0

    >>> from labo_fairseq.functional import CrossEntropy, RDrop, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]).log()  # one token, two passes
    >>> token_loss(z, torch.tensor([0, 0]), RDrop(CrossEntropy(), 1.0)).loss  # log 2 + log 4 + the symmetric KL
    tensor([2.2527, 0.0000])
    """

    base: RowLoss
    weight: float

    rows_per_token: ClassVar[int] = 2

    @property
    def prior(self) -> str | torch.Tensor | None:
        return self.base.prior

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss; what the base knows about a token is the same in both passes."""
        return replace(self, base=self.base.of_rows(rows // self.rows_per_token, masked))

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
        pull, divergence = self._pull(z, masked, scratch)
        out = row_pass(z, target, self.base, gradient, prior_logit, masked, scratch)
        if gradient:
            z.add_(pull, alpha=self.weight / 2)
        value = out.value.view(-1, 2)
        both = torch.stack([value.sum(1) + self.weight / 2 * divergence, torch.zeros_like(divergence)], 1)
        return RowPass(both.view(-1), out.nll, out.prior_weight, out.log_sum)

    @staticmethod
    def _pull(z, masked, scratch):
        """Gradient (2n, V) and value (n,) of KL(p₁‖p₂) + KL(p₂‖p₁)."""
        p, spare = torch.softmax(z, 1, out=buffer(z, scratch, 0)), buffer(z, scratch, 1)
        peak = z.amax(1)
        lse = (log_sum(p) + peak).view(-1, 2)
        first, second = p.view(-1, 2, p.size(1)).unbind(1)
        pair, spare = z.view(-1, 2, z.size(1)), spare[: len(z) // 2]
        pull = torch.empty_like(pair)
        # log p₁ − log p₂
        ratio = torch.sub(pair[:, 0], pair[:, 1], out=pull[:, 0]).sub_((lse[:, 0] - lse[:, 1]).unsqueeze(1))
        if masked is not None:
            ratio.nan_to_num_(nan=0.0)  # −inf − (−inf): types that neither pass has
        kl_first = torch.mul(first, ratio, out=spare).sum(1)
        kl_second = torch.mul(second, ratio, out=spare).sum(1).neg_()
        # ∂/∂z₁ = p₁∘(ratio − KL₁₂) + p₁ − p₂, and the same for the second with the signs turned
        torch.sub((1 - kl_second).unsqueeze(1), ratio, out=pull[:, 1])
        pull[:, 1].mul_(second).sub_(first)
        ratio.sub_((kl_first - 1).unsqueeze(1)).mul_(first).sub_(second)
        return pull.view_as(z), kl_first + kl_second
