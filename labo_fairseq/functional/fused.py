"""The fused path: output projection and loss together, in chunks of tokens, so that N×V logits never exist.

The gradients of hidden states, weight and bias are formed in the forward pass, while a chunk of logits is in the cache;
the backward pass only multiplies them with the incoming gradient. Rows of padding are dropped before the first product.
A fixed prior u never enters the chunks: u·z = h·(Wᵀu), and its gradients are of rank one.
"""

from typing import NamedTuple

import torch

from .dense import check_targets, kept_rows, rows_at_once, working_dtype
from .rows import prior_row, row_pass

_CHUNK_ROWS = 256  # of one product: fewer rows re-read the weight gradient too often
_BLOCK = 1 << 19  # logits of one row pass: more fall out of the cache between its operations


class ProjectionLoss(NamedTuple):
    """total: sum of the losses, a scalar; differentiable once. Per token, (N,), without gradient, 0 where ignored:
    loss, nll in nats, hits (the target is the most probable type; None unless asked for)."""

    total: torch.Tensor
    loss: torch.Tensor
    nll: torch.Tensor
    hits: torch.Tensor | None


def projection_loss(hidden, weight, target, loss, bias=None, ignore_index=None, count_hits=False):
    """Summed loss of the logits hidden·weightᵀ + bias, without those logits in memory.

    hidden: (N, D); weight: (V, D); bias: (V,) or None; target: (N,), indices
    loss, ignore_index, count_hits: as in token_loss
    Backward works once, since the gradients are scaled in place; a second one raises RuntimeError. Raises ValueError
    for shapes that do not fit and targets outside [0, V).
    """
    if hidden.dim() != 2 or hidden.size(1) != weight.size(1) or target.shape != hidden.shape[:1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)}, target {tuple(target.shape)}: "
            "expected (N, D), (V, D) and (N,)"
        )
    kept = kept_rows(target, ignore_index)
    some_ignored = kept.numel() < target.numel()
    if some_ignored:
        hidden = hidden.index_select(0, kept)
    kept_target = target[kept]
    check_targets(kept_target, weight.size(0))
    gradient = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (hidden, weight, bias))
    total, *per_token = _Fused.apply(hidden, weight, bias, kept_target, loss, gradient, count_hits)
    if some_ignored:
        per_token = [None if x is None else x.new_zeros(target.size(0)).index_copy_(0, kept, x) for x in per_token]
    return ProjectionLoss(total, *per_token)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, target, loss, gradient, count_hits):
        dtype = working_dtype(hidden.dtype)
        h, w = hidden.to(dtype), weight.to(dtype)
        b = None if bias is None else bias.to(dtype)
        needs = [gradient and need for need in ctx.needs_input_grad[:3]]
        grads = _Gradients(h, w, b, needs)
        prior = _Prior(loss, w, b)
        masked = prior.masked
        count, types = h.size(0), w.size(0)
        value, nll = h.new_empty(count), h.new_empty(count)
        hits = torch.empty(count, dtype=torch.bool, device=h.device) if count_hits else None
        chunk_rows = min(_CHUNK_ROWS, max(count, 1))
        logits = h.new_empty(chunk_rows, types)
        block = rows_at_once(_BLOCK, types, loss)
        scratch = h.new_empty(min(block, chunk_rows), types)
        for start in range(0, count, chunk_rows):
            chunk = slice(start, min(start + chunk_rows, count))
            z = logits[: chunk.stop - start]
            torch.mm(h[chunk], w.t(), out=z)
            if b is not None:
                z.add_(b)
            prior_logit = prior.logit(h[chunk])
            prior_weight = h.new_zeros(len(z)) if prior.used else None
            for low in range(0, len(z), block):
                part = slice(low, min(low + block, len(z)))
                rows = slice(start + part.start, start + part.stop)
                if count_hits:
                    hits[rows] = z[part].argmax(1).eq(target[rows])
                out = row_pass(
                    z[part],
                    target[rows],
                    loss,
                    gradient,
                    prior_logit=None if prior_logit is None else prior_logit[part],
                    masked=masked,
                    scratch=scratch[: part.stop - part.start],
                )
                value[rows], nll[rows] = out.value, out.nll
                if prior.used:
                    prior_weight[part] = out.prior_weight
            if gradient:
                grads.add_chunk(chunk, z, prior_weight, prior)
        grads.finish(prior)
        ctx.grads = grads
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[x for x in (value, nll, hits) if x is not None])
        return value.sum(), value, nll, hits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_total, *_):
        if ctx.grads is None:
            raise RuntimeError("projection_loss: backward works once, since its gradients are scaled in place")
        grads, ctx.grads = ctx.grads, None
        scaled = grads.scaled(grad_total, ctx.dtypes)
        return *scaled, None, None, None, None


class _Prior:
    """The smoothing prior's share of the projection: u·z = h·(Wᵀu) + u·bias."""

    def __init__(self, loss, w, b):
        self.used = loss.prior is not None
        # a bias of −inf is how a model takes types out; no finite product of h and W can be −inf
        self.masked = b.isneginf() if b is not None and bool(b.isneginf().any()) else None
        if not self.used:
            return
        types = w.size(0) if self.masked is None else int((~self.masked).sum())
        self.u = prior_row(loss.prior, types, w[:, 0], self.masked)
        self.projected = w.t() @ self.u
        self.offset = 0.0 if b is None else (b.clamp(min=torch.finfo(b.dtype).min) * self.u).sum()

    def logit(self, h):
        return h @ self.projected + self.offset if self.used else None


class _Gradients:
    """Gradients of hidden states, weight and bias, summed chunk by chunk in the working precision."""

    def __init__(self, h, w, b, needs):
        self.h = h
        self.w = w
        need_h, need_w, need_b = needs
        self.grad_h = torch.empty_like(h) if need_h else None
        self.grad_w = torch.zeros_like(w) if need_w else None
        self.grad_b = torch.zeros_like(b) if need_b else None
        # Σ d·h and Σ d over all rows: the prior's gradients are u times these
        self.prior_h = h.new_zeros(h.size(1))
        self.prior_sum = h.new_zeros(())

    def add_chunk(self, chunk, g, prior_weight, prior):
        h = self.h[chunk]
        if self.grad_h is not None:
            torch.mm(g, self.w, out=self.grad_h[chunk])
            if prior.used:
                self.grad_h[chunk].addr_(prior_weight, prior.projected)
        if self.grad_w is not None:
            self.grad_w.addmm_(g.t(), h)
        if self.grad_b is not None:
            self.grad_b.add_(g.sum(0))
        if prior.used:
            self.prior_h.addmv_(h.t(), prior_weight)
            self.prior_sum.add_(prior_weight.sum())

    def finish(self, prior):
        if prior.used and self.grad_w is not None:
            self.grad_w.addr_(prior.u, self.prior_h)
        if prior.used and self.grad_b is not None:
            self.grad_b.add_(prior.u * self.prior_sum)
        self.h = self.w = None

    def scaled(self, factor, dtypes):
        """The three gradients times the incoming one, rounded to the parameters' types only after that."""
        grads = (self.grad_h, self.grad_w, self.grad_b)
        if factor is None:
            return [None] * 3
        return [None if g is None else g.mul_(factor).to(dtype) for g, dtype in zip(grads, dtypes, strict=True)]
