"""One row of algebra: every loss of the package is a function of a few scalars per token.

For logits `z` over K types, target `k` and `p = softmax(z)` those scalars are LSE = logsumexp(z), z_k, a second
log-sum-exp at a temperature, u·z for a prior `u` and Σ p z. A loss gives its value and five coefficients per row, from
which the gradient with respect to the logits follows:

    g = a·p + b·softmax(z/τ) + c·p∘(log p + H) + d·u + e·onehot(k)

All logarithms are natural (nats). All statistics are relative to the row's largest logit ("shifted"): every loss here
is invariant to adding a constant to a row, and the shift keeps float32 exact to about 2e-7 even at V = 32k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:  # contract.py is built on this module
    from .contract import RowLoss

# stands for −inf where 0·(−inf) would be NaN; exp() of it is 0 in float32 and float64
_MASKED = -1e30


@dataclass
class Rows:
    """Shifted statistics of n rows; each field is a tensor (n,), or None where the loss does not ask for it.

    log_sum: logsumexp(z) − max z, in [0, log K]
    target: z_k − max z, at most 0
    peak: max z, unshifted
    types: K, the number of types that are not masked out by −inf (a float, or (n,) where rows differ)
    log_sum_tau: logsumexp(z/τ) − max z / τ
    prior: u·z − max z
    mean: Σ p z − max z
    """

    log_sum: torch.Tensor
    target: torch.Tensor
    peak: torch.Tensor
    types: float | torch.Tensor
    log_sum_tau: Any = None
    prior: Any = None
    mean: Any = None

    @property
    def nll(self) -> torch.Tensor:
        """Negative log-likelihood −log p_k in nats, (n,)."""
        return self.log_sum - self.target

    @property
    def entropy(self) -> torch.Tensor:
        """Entropy H(p) in nats, (n,), in [0, log K]."""
        return self.log_sum - self.mean

    @property
    def log_types(self) -> float | torch.Tensor:
        """log K, a float or (n,)."""
        return self.types.log() if torch.is_tensor(self.types) else math.log(self.types)


class Coefficients(NamedTuple):
    """The five weights of the gradient row, each a float or a tensor (n,); None leaves the term out."""

    a: Any  # of p
    b: Any = None  # of softmax(z/τ)
    c: Any = None  # of p∘(log p + H)
    d: Any = None  # of the prior u
    e: Any = -1.0  # of the target's one-hot row


class RowPass(NamedTuple):
    """What one pass over n rows yields.

    value: the loss, (n,)
    nll: the plain negative log-likelihood in nats, (n,)
    prior_weight: d, the weight of the prior's term that the caller adds to the gradient (a float, (n,), or None)
    log_sum: logsumexp(z) − max z, (n,), so exp(−log_sum) is the probability of the most probable type
    """

    value: torch.Tensor
    nll: torch.Tensor
    prior_weight: Any
    log_sum: torch.Tensor


def row_pass(
    z: torch.Tensor,
    target: torch.Tensor,
    loss: RowLoss,
    gradient: bool = True,
    prior_logit: torch.Tensor | None = None,
    masked: torch.Tensor | None = None,
    scratch: list[torch.Tensor] | None = None,
) -> RowPass:
    """Value and negative log-likelihood of a loss for n rows of logits; the logits turn into the gradient in place.

    A loss whose gradient needs more than the five terms has a pass of its own (contract.PassLoss).

    z: logits (n, V), float32 or float64, contiguous; on return ∂value/∂z without the prior's term where `gradient`,
        otherwise undefined
    target: indices (n,) into the V types
    loss: a contract.RowLoss; where it holds something for every token, `loss.of_rows` of these rows
    prior_logit: u·z, (n,), where the caller has it cheaper than from z (h·(Wᵀu)); otherwise it is formed here
    masked: types that are −inf, as a bool tensor (V,) or (n, V); None where there are none
    scratch: up to two tensors like z to work in: a loop that allocated them for each chunk would wait for their pages
    A prior of one distribution per row, (n, V), enters the gradient here. Raises ValueError where a target is masked.
    """
    if loss.own_pass:
        return loss.row_pass(z, target, gradient, prior_logit, masked, scratch)
    types, peak, target_logit = shift_rows(z, target, masked)
    prior = None
    if loss.prior is not None:
        prior = _prior_mean(z, loss.prior, masked, types) if prior_logit is None else prior_logit - peak
    tau = loss.temperature
    # p may take the place of z only where no later term reads z
    keep_z = tau is not None or loss.needs_mean
    p = torch.softmax(z, 1, out=buffer(z, scratch, 0) if keep_z else z)
    rows = Rows(log_sum(p), target_logit, peak, types, prior=prior)
    if loss.needs_mean:
        # not a batched dot product, whose plain summation loses two digits over 32k types and is slower on a CPU
        rows.mean = torch.mul(p, z, out=buffer(z, scratch, 1)).sum(1)
    q = None
    if tau is not None:
        q = z.mul_(1 / tau)
        torch.softmax(q, 1, out=q)
        rows.log_sum_tau = log_sum(q)
    value, weights = loss.terms(rows)
    # what a loss knows of each token, such as a teacher's probabilities, may be of another precision
    weights = Coefficients(*(w.to(z) if torch.is_tensor(w) else w for w in weights))
    if gradient:
        _gradient_in_place(z, p, q, rows, weights)
        _add_at(z, target, weights.e)
        if torch.is_tensor(loss.prior) and has_row_priors(loss):
            z.add_(loss.prior.to(z) * _column(weights.d))
    return RowPass(value.to(z), rows.nll, None if has_row_priors(loss) else weights.d, rows.log_sum)


def buffer(z: torch.Tensor, scratch: list[torch.Tensor] | None, i: int) -> torch.Tensor:
    """The i-th of the tensors to work in, or a new one like z where there are not as many."""
    return torch.empty_like(z) if scratch is None or i >= len(scratch) else scratch[i]


def others(types: float | torch.Tensor) -> Any:
    """K−1, the number of types besides the target, to share something among; 1 where there are none: nobody gets it."""
    return types.sub(1).clamp(min=1) if torch.is_tensor(types) else max(types - 1, 1)


def has_row_priors(loss: RowLoss) -> bool:
    """Whether the loss's prior is one distribution per row, (n, V)."""
    return torch.is_tensor(loss.prior) and loss.prior.dim() == 2


def shift_rows(
    z: torch.Tensor, target: torch.Tensor, masked: torch.Tensor | None
) -> tuple[float | torch.Tensor, torch.Tensor, torch.Tensor]:
    """Subtract each row's largest logit in place; returns K, that logit (n,) and the target's shifted one (n,)."""
    types = float(z.size(1)) if masked is None else _mask(z, target, masked)
    peak = z.amax(1)
    z.sub_(peak.unsqueeze(1))
    return types, peak, z.gather(1, target.unsqueeze(1)).squeeze(1)


def _gradient_in_place(z, p, q, rows, weights):
    """z = a·p + b·q + c·p∘(log p + H); p or q may be z itself."""
    if weights.c is not None:
        # log p + H = (z − LSE) + (LSE − Σpz) = z − Σpz
        z.sub_(rows.mean.unsqueeze(1)).mul_(_column(weights.c)).add_(_column(weights.a)).mul_(p)
        return
    if not (isinstance(weights.a, float) and weights.a == 1.0):
        p.mul_(_column(weights.a))
    if q is not None:
        if torch.is_tensor(weights.b):
            torch.addcmul(p, q, _column(weights.b), out=q)
        else:
            torch.add(p, q, alpha=weights.b, out=q)
    elif p is not z:
        z.copy_(p)


def prior_row(
    prior: str | torch.Tensor, types: float | torch.Tensor, like: torch.Tensor, masked: torch.Tensor | None = None
) -> torch.Tensor:
    """The prior `u` as a tensor: (V,), or (n, V) where the masks of the rows differ. Sums to 1 along the last axis.

    prior: "uniform" (over the K types that are not masked) or a tensor (V,)
    """
    if isinstance(prior, str):
        row = like.new_ones(like.size(-1)) if masked is None else (~masked).to(like.dtype)
        return row / (types.unsqueeze(1) if torch.is_tensor(types) and row.dim() == 2 else types)
    return prior.to(like)


def log_sum(p: torch.Tensor) -> torch.Tensor:
    """log Σ exp(z − max z) of rows whose softmax is `p`, (n,)."""
    # the largest probability is exp(0) over the sum of exponentials, so the softmax kernel has the sum already
    return p.amax(1).log().neg_()


def _prior_mean(z, prior, masked, types):
    if isinstance(prior, str):
        return (z if masked is None else z.masked_fill(masked, 0.0)).sum(1) / types
    if prior.dim() == 2:
        return (z * prior.to(z)).sum(1)
    return z @ prior.to(z)


def _mask(z, target, masked):
    """Take the masked types out of the rows; returns K, the number of types left, (n,) or a float."""
    hit = masked[target] if masked.dim() == 1 else masked.gather(1, target.unsqueeze(1)).squeeze(1)
    if hit.any():
        row = int(hit.nonzero()[0])
        raise ValueError(f"target {int(target[row])} in row {row}: its logit is -inf, so its loss would be infinite")
    z.masked_fill_(masked, _MASKED)
    left = (~masked).sum(-1)
    return float(left) if masked.dim() == 1 else left.to(z.dtype)


def _column(weight):
    return weight.unsqueeze(1) if torch.is_tensor(weight) else weight


def _add_at(gradient, target, weight):
    """Add `weight` to each row at its target."""
    index = target.unsqueeze(1)
    if torch.is_tensor(weight):
        gradient.scatter_add_(1, index, weight.unsqueeze(1))
    else:
        gradient.scatter_add_(1, index, gradient.new_full((1, 1), weight).expand_as(index))
