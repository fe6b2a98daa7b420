"""The row pass as two Triton kernels: statistics of a row in one reading, its gradient in place in a second.

Between them the loss's own line of algebra runs on the statistics, n numbers each, in plain torch: a new loss of the
algebra needs no new kernel. Logits may be float32, bfloat16 or float16; all sums are float32.
"""

import torch
import triton
import triton.language as tl

from .contract import RowLoss
from .rows import RowPass, Rows, has_row_priors
from .rows import row_pass as torch_row_pass

_BLOCK = 4096


def row_pass(
    z: torch.Tensor,
    target: torch.Tensor,
    loss: RowLoss,
    gradient: bool = True,
    prior_logit: torch.Tensor | None = None,
    masked: torch.Tensor | None = None,
    scratch: list[torch.Tensor] | None = None,
) -> RowPass:
    """As rows.row_pass. Losses with their own pass or a prior per row, and masked types, take that one, in torch."""
    if loss.own_pass or has_row_priors(loss) or masked is not None or z.dtype == torch.float64:
        return torch_row_pass(z, target, loss, gradient, prior_logit, masked, scratch)
    tau = loss.temperature
    tempered = tau is not None
    stats = torch.empty(6, len(z), device=z.device)
    grid = (len(z),)
    inverse = 1.0 if tau is None else 1 / tau
    block = min(_BLOCK, triton.next_power_of_2(z.size(1)))
    if len(z):
        _statistics[grid](z, target, stats, z.size(1), z.stride(0), len(z), inverse, TEMPERED=tempered, BLOCK=block)
    peak, log_sum, target_logit, mean, log_sum_tau, total = stats
    rows = Rows(log_sum, target_logit, peak, float(z.size(1)), mean=mean)
    if tempered:
        rows.log_sum_tau = log_sum_tau
    if loss.prior is not None:
        rows.prior = _prior(z, loss.prior, total, peak) if prior_logit is None else prior_logit - peak
    value, weights = loss.terms(rows)
    value = value.float()
    if gradient and len(z):
        coefficients = torch.stack([_vector(w, value) for w in (weights.a, weights.b, weights.c, weights.e)]).float()
        flags = {"TEMPERED": tempered, "CURVED": weights.c is not None, "BLOCK": block}
        _gradient[grid](z, target, stats, coefficients, z.size(1), z.stride(0), len(z), inverse, **flags)
    return RowPass(value, rows.nll, weights.d, rows.log_sum)


def _prior(z, prior, total, peak):
    if isinstance(prior, str):
        return total / z.size(1)
    return z.float() @ prior.to(peak) - peak


def _vector(weight, like):
    return weight if torch.is_tensor(weight) else like.new_full(like.shape, 0.0 if weight is None else weight)


@triton.jit
def _statistics(z, target, stats, types, stride, rows, inverse, TEMPERED: tl.constexpr, BLOCK: tl.constexpr):
    """peak, log Σe, z_k, Σpz, log Σe^(·/τ) and Σz of a row, all but the peak relative to it; one reading, online."""
    row = tl.program_id(0).to(tl.int64)
    base = z + row * stride
    peak = float("-inf")
    total = 0.0  # Σ exp(z − peak)
    total_tau = 0.0  # Σ exp((z − peak)/τ)
    weighted = 0.0  # Σ exp(z − peak)·(z − peak)
    plain = 0.0  # Σ z relative to the first peak, for float32's sake
    first = 0.0
    for start in range(0, types, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < types
        x = tl.load(base + column, mask=inside, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(peak, tl.max(x, 0))
        if start == 0:
            first = higher
            shrink = 0.0
            move = 0.0
        else:
            move = peak - higher
            shrink = tl.exp(move)
        relative = tl.where(inside, x - higher, 0.0)
        e = tl.where(inside, tl.exp(x - higher), 0.0)
        weighted = shrink * (weighted + total * move) + tl.sum(e * relative, 0)
        total = shrink * total + tl.sum(e, 0)
        if TEMPERED:
            kept = 0.0
            if start > 0:
                kept = tl.exp(move * inverse)
            total_tau = kept * total_tau + tl.sum(tl.where(inside, tl.exp((x - higher) * inverse), 0.0), 0)
        plain += tl.sum(tl.where(inside, x - first, 0.0), 0)
        peak = higher
    tl.store(stats + row, peak)
    tl.store(stats + rows + row, tl.log(total))
    label = tl.load(target + row)
    tl.store(stats + 2 * rows + row, tl.load(base + label).to(tl.float32) - peak)
    tl.store(stats + 3 * rows + row, weighted / total)
    if TEMPERED:
        tl.store(stats + 4 * rows + row, tl.log(total_tau))
    tl.store(stats + 5 * rows + row, plain + types * (first - peak))


@triton.jit
def _gradient(
    z, target, stats, weights, types, stride, rows, inverse,
    TEMPERED: tl.constexpr, CURVED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """z = a·p + b·softmax(z/τ) + c·p∘(z − Σpz) + e·onehot, the label added before the rounding to z's type."""
    row = tl.program_id(0).to(tl.int64)
    base = z + row * stride
    peak = tl.load(stats + row)
    log_sum = tl.load(stats + rows + row)
    label = tl.load(target + row)
    a = tl.load(weights + row)
    e = tl.load(weights + 3 * rows + row)
    if TEMPERED:
        b = tl.load(weights + rows + row)
        log_sum_tau = tl.load(stats + 4 * rows + row)
    if CURVED:
        c = tl.load(weights + 2 * rows + row)
        mean = tl.load(stats + 3 * rows + row)
    for start in range(0, types, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < types
        x = tl.load(base + column, mask=inside, other=float("-inf")).to(tl.float32) - peak
        p = tl.exp(x - log_sum)
        g = a * p
        if CURVED:
            g += c * p * tl.where(inside, x - mean, 0.0)
        if TEMPERED:
            g += b * tl.exp(x * inverse - log_sum_tau)
        g += tl.where(column == label, e, 0.0)
        tl.store(base + column, g.to(z.dtype.element_ty), mask=inside)
