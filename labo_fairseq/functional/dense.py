"""The dense path: the loss of logits that exist already, with the gradient of the row algebra instead of autograd's."""

from typing import NamedTuple

import torch

from .contract import RowLoss
from .rows import prior_row, row_pass

# rows are worked on in pieces of about this many logits, so that the passes over a piece hit the cache
_PIECE = 1 << 20


class TokenLoss(NamedTuple):
    """Per token, each (N,), 0 (or False) where the target is ignored: loss (differentiable), nll in nats, confidence
    (the probability of the most probable type), hits (that type is the target; None unless asked for)."""

    loss: torch.Tensor
    nll: torch.Tensor
    confidence: torch.Tensor
    hits: torch.Tensor | None


def token_loss(
    logits: torch.Tensor, target: torch.Tensor, loss: RowLoss, ignore_index: int | None = None, count_hits: bool = False
) -> TokenLoss:
    """Loss of each token.

    logits: (N, V), any floating type; log-probabilities are logits too
    target: (N,), indices
    loss: one of the loss objects of this package (CrossEntropy(), LabelSmoothing(0.1), Labo(), …)
    ignore_index: targets of this value (padding) have loss 0 and gradient 0
    count_hits: also tell where the target is the most probable type
    A type whose logit is −inf takes no part in its row: not in K, not in the prior. Raises ValueError for shapes that
    do not fit, targets outside [0, V), and a target whose logit is −inf.
    """
    if logits.dim() != 2 or target.shape != logits.shape[:1]:
        raise ValueError(f"logits {tuple(logits.shape)} and target {tuple(target.shape)}: expected (N, V) and (N,)")
    kept = kept_rows(target, ignore_index)
    check_targets(target[kept], logits.size(1))
    gradient = torch.is_grad_enabled() and logits.requires_grad
    # autocast would round the product with a prior, which must stay in float32
    with torch.autocast(logits.device.type, enabled=False):
        value, nll, confidence = _Dense.apply(logits, target, kept, loss, gradient)
    hits = None
    if count_hits:
        hits = logits.detach().argmax(1).eq(target)
        if ignore_index is not None:
            hits &= target.ne(ignore_index)
    return TokenLoss(value, nll, confidence, hits)


def kept_rows(target: torch.Tensor, ignore_index: int | None) -> torch.Tensor:
    """Indices of the rows that count, (n,)."""
    if ignore_index is None:
        return torch.arange(target.size(0), device=target.device)
    return target.ne(ignore_index).nonzero().squeeze(1)


def check_targets(target: torch.Tensor, types: int) -> None:
    """Raise ValueError where a target is no index of a type."""
    if target.numel() and (int(target.min()) < 0 or int(target.max()) >= types):
        worst = int(target.max()) if int(target.max()) >= types else int(target.min())
        raise ValueError(f"target {worst}: lies outside the vocabulary of {types} types")


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 stays; everything else is worked on in float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def rows_at_once(elements: int, types: int, loss: RowLoss) -> int:
    """How many rows of V logits make up about `elements`; paired rows (R-Drop) stay together."""
    together = loss.rows_per_token
    return together * max(1, elements // (types * together))


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target, kept, loss, gradient):
        dtype = working_dtype(logits.dtype)
        value = logits.new_zeros(logits.size(0), dtype=dtype)
        nll, confidence = torch.zeros_like(value), torch.zeros_like(value)
        grad = torch.zeros_like(logits, dtype=dtype) if gradient else None
        # row by row: NaN in one row, as in padding, must not hide that types are masked in another
        some_masked = bool(logits.numel()) and bool(logits.amin(1)[kept].isneginf().any())
        pieces = kept.split(rows_at_once(_PIECE, logits.size(1), loss))
        scratch = [logits.new_empty(len(pieces[0]), logits.size(1), dtype=dtype) for _ in range(2)]
        for rows in pieces:
            z = logits.index_select(0, rows).to(dtype)
            masked = z.isneginf() if some_masked else None
            out = row_pass(
                z,
                target[rows],
                loss.of_rows(rows, masked),
                gradient,
                masked=masked,
                scratch=[s[: len(z)] for s in scratch],
            )
            value[rows], nll[rows], confidence[rows] = out.value, out.nll, out.log_sum.neg().exp()
            if gradient:
                if out.prior_weight is not None:
                    _add_prior(z, out.prior_weight, loss.prior, masked)
                grad[rows] = z
        ctx.save_for_backward(grad, kept)
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(nll, confidence)
        return value, nll, confidence

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_value, *_):
        grad, kept = ctx.saved_tensors
        # what comes back for ignored rows may be NaN, and 0·NaN is NaN
        grad_value = torch.zeros_like(grad_value).index_copy(0, kept, grad_value[kept])
        # the loss scale arrives with grad_value: rounding to half precision comes after it, not before
        return (grad * grad_value.unsqueeze(1)).to(ctx.dtype), None, None, None, None


def _add_prior(gradient, weight, prior, masked):
    types = gradient.size(1) if masked is None else (~masked).sum(1)
    weight = torch.as_tensor(weight, dtype=gradient.dtype, device=gradient.device).expand(gradient.size(0))
    u = prior_row(prior, types, gradient, masked)
    if u.dim() == 1:
        gradient.addr_(weight, u)
    else:
        gradient.addcmul_(weight.unsqueeze(1), u)
