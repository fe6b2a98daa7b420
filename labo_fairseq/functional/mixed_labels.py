"""Labels of two images at once: Mixup (Zhang et al. 2018) and pairwise label smoothing (Guo 2020)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from .contract import PassLoss, RowLoss
from .rows import RowPass, log_sum, prior_row, shift_rows
from .smoothing import UNIFORM


@dataclass(frozen=True)
class MixedLabels(PassLoss):
    """H(q', p) with q' = (1−α)·(λ·onehot(k) + (1−λ)·onehot(j)) + α·u (Guo 2020, eq. 8, 14 and 15).

    The logged negative log-likelihood is H(q, p) of the labels alone, α = 0. A learned u is a constant here;
    `distribution_loss` is what it learns from.

    partner: j, (N,), indices
    share: λ in [0, 1]
    mass: α in [0, 1]; 0 is the loss of Mixup
    distribution: function from indices of rows, (n,), to u, (n, K); None for the uniform one

    >>> from labo_fairseq.functional import MixedLabels, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), MixedLabels(torch.tensor([1]), 0.5)).loss  # half of each label's −log p
    tensor([1.0397])
    """

    partner: torch.Tensor
    share: float
    mass: float = 0.0
    distribution: Callable | None = None
    smoothing: torch.Tensor | None = None  #: u of the rows at hand

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss."""
        u = None if self.distribution is None else self.distribution(rows)
        return replace(self, partner=self.partner[rows], smoothing=u)

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
        partner = self.partner.unsqueeze(1)
        label_logit = self.share * target_logit + (1 - self.share) * z.gather(1, partner).squeeze(1)
        u = prior_row(UNIFORM, types, z, masked) if self.smoothing is None else self.smoothing.to(z)
        p = torch.softmax(z, 1)
        total = log_sum(p)
        value = total - (1 - self.mass) * label_logit - self.mass * (u * z).sum(1)
        if gradient:
            torch.sub(p, u, alpha=self.mass, out=z)
            for index, share in ((target.unsqueeze(1), self.share), (partner, 1 - self.share)):
                z.scatter_add_(1, index, z.new_full((1, 1), -(1 - self.mass) * share).expand(len(z), 1))
        return RowPass(value, total - label_logit, None, total)


def learned_distribution(v: torch.Tensor) -> torch.Tensor:
    """u' = softmax(sigmoid(v)), (N, K), of the second layer's output v = W_t S (Guo 2020, eq. 12 and 13).

    The sigmoid bounds it: each class gets at least 1/(1+(K−1)e) and at most e/(e+K−1), [0.039, 0.232] for K = 10.
    """
    return torch.softmax(torch.sigmoid(v), -1)


def distribution_loss(u: torch.Tensor, logits: torch.Tensor, mass: float) -> torch.Tensor:
    """Σ α·H(u, p) over n rows, in nats, with a gradient for u alone (the second term of Guo 2020, eq. 15).

    u: (n, K); logits: (n, K)
    """
    return -mass * (u * torch.log_softmax(logits.detach().to(u.dtype), -1)).sum()
