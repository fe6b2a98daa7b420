"""The fused path: output projection and loss together, in chunks of tokens, so that N×V logits never exist.

The gradients of hidden states, weight and bias are formed in the forward pass, while a chunk of logits is in the cache;
the backward pass only multiplies them with the incoming gradient. Rows of padding are dropped before the first product.
A fixed prior u never enters the chunks: u·z = h·(Wᵀu), and its gradients are of rank one.
"""

import math
from typing import NamedTuple

import torch

from .contract import RowLoss
from .dense import check_targets, kept_rows, rows_at_once
from .kernels import row_pass_of
from .products import Products
from .rows import prior_row

# on a CPU (docs/performance.md): a product of fewer rows re-reads the weight gradient too often, of more logits takes
# memory; a row pass of more logits falls out of the cache between its operations
_CHUNK_ROWS, _CHUNK = 1024, 1 << 23
_BLOCK = 1 << 20
# the same where the products are in bfloat16 on a CPU
_HALF_CHUNK_ROWS, _HALF_CHUNK, _HALF_BLOCK = 1024, 1 << 24, 1 << 19
# on a GPU: logits of a chunk at least, so that launches cost little; bytes that one logit needs there (two buffers in
# float32, a copy in half precision); and the share of the free memory that a chunk may take
_CUDA_CHUNK, _CUDA_BYTES, _CUDA_SHARE = 1 << 24, 10, 0.25


class ProjectionLoss(NamedTuple):
    """total: sum of the losses, a scalar; differentiable once. Per token, (N,), without gradient, 0 where ignored:
    loss, nll in nats, confidence (the probability of the most probable type), hits (that type is the target; None
    unless asked for)."""

    total: torch.Tensor
    loss: torch.Tensor
    nll: torch.Tensor
    confidence: torch.Tensor
    hits: torch.Tensor | None


def projection_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    loss: RowLoss,
    bias: torch.Tensor | None = None,
    ignore_index: int | None = None,
    count_hits: bool = False,
    kernel: str = "torch",
) -> ProjectionLoss:
    """Summed loss of the logits hidden·weightᵀ + bias, without those logits in memory.

    hidden: (N, D); weight: (V, D); bias: (V,) or None; target: (N,), indices
    loss, ignore_index, count_hits: as in token_loss
    kernel: "torch", or "triton" for the Triton kernel of the row pass where the loss is of the algebra (kernels.py)
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
    total, *per_token = _Fused.apply(hidden, weight, bias, kept_target, kept, loss, gradient, count_hits, kernel)
    if some_ignored:
        per_token = [None if x is None else x.new_zeros(target.size(0)).index_copy_(0, kept, x) for x in per_token]
    return ProjectionLoss(total, *per_token)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, target, kept, loss, gradient, count_hits, kernel):
        needs = [gradient and need for need in ctx.needs_input_grad[:3]]
        # the types of the products are chosen here; autocast would round what must stay in float32
        with torch.autocast(hidden.device.type, enabled=False):
            products = Products(hidden, weight, bias, needs)
            prior, row_pass = _Prior(loss, products), row_pass_of(kernel)
            per_token = _all_chunks(products, prior, target, kept, loss, count_hits, row_pass)
        ctx.products = products
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[x for x in per_token if x is not None])
        return per_token[0].sum(), *per_token

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_total, *_):
        if ctx.products is None:
            raise RuntimeError("projection_loss: backward works once, since its gradients are scaled in place")
        products, ctx.products = ctx.products, None
        return *products.scaled(grad_total), *[None] * 6


def _all_chunks(products, prior, target, kept, loss, count_hits, row_pass):
    """Loss, nll, confidence and hits of every row, (n,) each; the gradients gather in `products`.

    kept: (n,), which tokens of the batch the rows are
    """
    count = len(target)
    value = torch.empty(count, dtype=products.dtype, device=target.device)
    nll, confidence = torch.empty_like(value), torch.empty_like(value)
    hits = torch.empty(count, dtype=torch.bool, device=target.device) if count_hits else None
    weight = products.weight
    chunk_rows, block_rows = chunk_sizes(count, *weight.shape, weight.device, loss, half=products.rounds)
    buffer = products.chunk_buffer(min(chunk_rows, count))
    # one on a GPU, whose allocator keeps what is freed: a second one would cost memory of losses that do not need it
    buffers = 1 if weight.device.type == "cuda" else 2
    scratch = [products.block_buffer(min(block_rows, count)) for _ in range(buffers)]
    wide = torch.empty_like(scratch[0]) if products.rounds else None
    for start in range(0, count, chunk_rows):
        chunk = slice(start, min(start + chunk_rows, count))
        logits = products.logits(chunk, buffer)
        prior_logit = prior.logit(chunk)
        prior_weight = value.new_zeros(len(logits)) if prior.used else None
        for low in range(0, len(logits), block_rows):
            part = slice(low, min(low + block_rows, len(logits)))
            rows = slice(start + part.start, start + part.stop)
            z = products.widened(logits[part], wide)
            if count_hits:
                hits[rows] = z.argmax(1).eq(target[rows])
            out = row_pass(
                z,
                target[rows],
                loss.of_rows(kept[rows], prior.masked),
                gradient=products.any_gradient,
                prior_logit=None if prior_logit is None else prior_logit[part],
                masked=prior.masked,
                scratch=[one[: len(z)] for one in scratch],
            )
            value[rows], nll[rows], confidence[rows] = out.value, out.nll, out.log_sum.neg().exp()
            if prior.used:
                prior_weight[part] = out.prior_weight
            if products.any_gradient:
                products.take_in(z, logits[part])
        if products.any_gradient:
            products.add_chunk(chunk, logits)
            prior.add_chunk(chunk, prior_weight)
    prior.finish()
    return value, nll, confidence, hits


def chunk_sizes(
    count: int,
    types: int,
    width: int,
    device: torch.device,
    loss: RowLoss,
    free: int | None = None,
    half: bool = False,
) -> tuple[int, int]:
    """Rows of one product, and of one row pass within it: from N, V, D and a GPU's free bytes (None asks the GPU).

    half: the products are in bfloat16 on a CPU
    """
    if device.type == "cpu":
        most, logits, block = (_HALF_CHUNK_ROWS, _HALF_CHUNK, _HALF_BLOCK) if half else (_CHUNK_ROWS, _CHUNK, _BLOCK)
        chunk = _even(count, min(most, rows_at_once(logits, types, loss)), loss)
        return chunk, min(chunk, rows_at_once(block, types, loss))
    # each chunk reads and writes the weight gradient, 8·V·D bytes: with D rows that is a quarter of its row pass
    wanted = max(_CUDA_CHUNK, types * width)
    fits = int((_free_bytes(device) if free is None else free) * _CUDA_SHARE) // _CUDA_BYTES
    chunk = _even(count, rows_at_once(min(wanted, fits), types, loss), loss)
    return chunk, chunk


def _even(count, limit, loss):
    """The smallest number of rows that needs no more chunks than `limit` does; paired rows stay together."""
    together = loss.rows_per_token
    chunks = max(1, math.ceil(count / limit))
    return max(together, together * math.ceil(count / (chunks * together)))


def _free_bytes(device):
    """Memory that the GPU has free, with what torch's allocator holds and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


class _Prior:
    """The smoothing prior's share: u·z = h·(Wᵀu) + u·bias, with gradients d·Wᵀu, u⊗Σd·h and u·Σd."""

    def __init__(self, loss, products):
        self.used = loss.prior is not None
        self.products = products
        bias = products.bias
        # a bias of −inf is how a model takes types out; no finite product of h and W can be −inf
        self.masked = bias.isneginf() if bias is not None and bool(bias.isneginf().any()) else None
        if not self.used:
            return
        weight = products.weight.to(products.dtype)
        types = products.types if self.masked is None else int((~self.masked).sum())
        self.u = prior_row(loss.prior, types, weight[:, 0], self.masked)
        self.projected = weight.t() @ self.u
        self.offset = 0.0 if bias is None else (bias.clamp(min=torch.finfo(bias.dtype).min) * self.u).sum()
        # Σ d·h and Σ d over all rows
        self.sum_h = torch.zeros_like(self.projected)
        self.sum = self.sum_h.new_zeros(())

    def logit(self, chunk):
        """u·z of the chunk's rows, (n,), or None without a prior."""
        return self.products.wide_hidden(chunk) @ self.projected + self.offset if self.used else None

    def add_chunk(self, chunk, weight):
        """Take in d, (n,), of the chunk's rows."""
        if not self.used:
            return
        if self.products.grad_hidden is not None:
            self.products.grad_hidden[chunk].addr_(weight, self.projected)
        self.sum_h.addmv_(self.products.wide_hidden(chunk).t(), weight)
        self.sum.add_(weight.sum())

    def finish(self):
        """Add the gradients that need the sums over all rows."""
        if self.used and self.products.grad_weight is not None:
            self.products.grad_weight.addr_(self.u, self.sum_h)
        if self.used and self.products.grad_bias is not None:
            self.products.grad_bias.add_(self.u * self.sum)
