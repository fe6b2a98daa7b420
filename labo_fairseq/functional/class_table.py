"""Knowledge Refinery (Ding et al. 2021): a table of how the wrong classes are related, learned along with the model."""

from dataclasses import dataclass

import torch

from .contract import PassLoss
from .rows import RowPass, log_sum, shift_rows

# stands for −inf where 0·(−inf) would be NaN
_ABSENT = -1e30


@dataclass(frozen=True)
class ClassTable(PassLoss):
    """−log p_k + α·KL(p_res‖q_res): p_res is the softmax of z without z_k, q_res that of row k of S without S_kk.

    The table is a constant here; `table_divergence` is what it learns from (Algorithm 1).

    mass: α, at least 0
    table: S, (K, K)

    >>> from labo_fairseq.functional import ClassTable, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = ClassTable(1.0, torch.zeros(3, 3))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # log 2: the wrong classes are equal, as in the table
    tensor([0.6931])
    """

    mass: float
    table: torch.Tensor

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
        absent = _absent(z, target, masked)
        _, _, target_logit = shift_rows(z, target, masked)
        log_q = _log_softmax(self.table[target].to(z), absent)
        log_p = _log_softmax(z, absent)
        rest = log_p.exp()
        ratio = log_p - log_q
        divergence = (rest * ratio).sum(1)
        p = torch.softmax(z, 1)
        total = log_sum(p)
        nll = total - target_logit
        if gradient:
            torch.addcmul(p, rest, ratio - divergence.unsqueeze(1), value=self.mass, out=z)
            z.scatter_add_(1, target.unsqueeze(1), z.new_full((1, 1), -1.0).expand(len(z), 1))
        return RowPass(nll + self.mass * divergence, nll, None, total)


def table_divergence(table: torch.Tensor, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Σ KL(q_res‖p_res) over n tokens, in nats, with a gradient for the table alone (Algorithm 1, line 9).

    table: S, (K, K); logits: (n, K); target: indices (n,)
    """
    logits = logits.detach()
    absent = _absent(logits, target, logits.isneginf())
    log_q = _log_softmax(table[target].float() if table.dtype != torch.float64 else table[target], absent)
    log_p = _log_softmax(logits.to(log_q.dtype), absent)
    return (log_q.exp() * (log_q - log_p)).sum()


def _absent(z, target, masked):
    """Which types take no part in a row, bool (n, K): the true class, and those that the model does not have."""
    true = torch.zeros_like(z, dtype=torch.bool).scatter_(1, target.unsqueeze(1), True)
    return true if masked is None else true | masked


def _log_softmax(x, absent):
    return torch.log_softmax(x.masked_fill(absent, _ABSENT), 1)
