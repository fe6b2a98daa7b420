"""The fused projection against the dense path: same losses, same gradients of hidden states, weight and bias."""

import pytest
import torch
from _cases import parametrize

from labo_fairseq.functional import CrossEntropy, LabelSmoothing, Labo, fused, projection_loss, token_loss

PAD = 1


def make(rows=37, types=23, width=8, dtype=torch.float64, padded=(3, 17), scale=1.0):
    generator = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype).requires_grad_()

    hidden, weight, bias = tensor(rows, width), tensor(types, width), tensor(types)
    target = torch.randint(min(2, types - 1), types, (rows,), generator=generator)
    target[[row for row in padded if row < rows]] = PAD
    return hidden, weight, bias, target


def both(loss, hidden, weight, bias, target, factor=3.0):
    """Losses and gradients, dense and fused, for a loss summed and multiplied by a factor."""
    leaves = [x for x in (hidden, weight, bias) if x is not None]
    logits = hidden @ weight.t() if bias is None else hidden @ weight.t() + bias
    dense = token_loss(logits, target, loss, ignore_index=PAD, count_hits=True)
    dense_grads = torch.autograd.grad(dense.loss.sum() * factor, leaves)
    out = projection_loss(hidden, weight, target, loss, bias=bias, ignore_index=PAD, count_hits=True)
    return dense, dense_grads, out, torch.autograd.grad(out.total * factor, leaves)


def assert_same(dense, dense_grads, out, grads, atol=1e-12, rtol=1e-12):
    torch.testing.assert_close(out.loss, dense.loss.detach(), atol=atol, rtol=rtol)
    torch.testing.assert_close(out.total, dense.loss.sum(), atol=atol * len(dense.loss), rtol=rtol)
    torch.testing.assert_close(out.nll, dense.nll, atol=atol, rtol=rtol)
    torch.testing.assert_close(out.confidence, dense.confidence, atol=atol, rtol=rtol)
    assert (out.hits == dense.hits).all()
    for got, expected in zip(grads, dense_grads, strict=True):
        torch.testing.assert_close(got, expected, atol=atol, rtol=rtol)


@parametrize()
@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_dense_in_float64(case, with_bias):
    hidden, weight, bias, target = make()
    assert_same(*both(case.make(23), hidden, weight, bias if with_bias else None, target))


@parametrize()
@pytest.mark.parametrize("chunk, block", [(1, 1), (7, 23 * 2), (36, 10**6), (10**3, 23)])
def test_chunks_need_not_divide_the_rows(case, chunk, block, monkeypatch):
    monkeypatch.setattr(fused, "_CHUNK_ROWS", chunk)
    monkeypatch.setattr(fused, "_BLOCK", block)
    assert_same(*both(case.make(23), *make()))


@parametrize()
@pytest.mark.parametrize("rows, types", [(1, 23), (0, 23), (5, 2)])
def test_small_shapes(case, rows, types):
    hidden, weight, bias, target = make(rows=rows, types=types, padded=())
    assert_same(*both(case.make(types), hidden, weight, bias, target % types))


@parametrize()
def test_all_padding(case):
    hidden, weight, bias, target = make(rows=3, padded=(0, 1, 2))
    out = projection_loss(hidden, weight, target, case.make(23), bias=bias, ignore_index=PAD)
    out.total.backward()
    assert out.total == 0 and (out.loss == 0).all()
    assert (hidden.grad == 0).all() and (weight.grad == 0).all() and (bias.grad == 0).all()


@parametrize(only=lambda case: not case.by_type)
def test_a_bias_of_minus_infinity_takes_types_out(case):
    hidden, weight, bias, target = make()
    with torch.no_grad():
        bias[[20, 22]] = float("-inf")
    target = torch.where(target >= 20, target - 10, target)
    dense, dense_grads, out, grads = both(case.make(21), hidden, weight, bias, target)
    assert_same(dense, dense_grads, out, grads)
    assert all(g.isfinite().all() for g in grads) and (grads[2][[20, 22]] == 0).all()


@pytest.mark.parametrize("form", ["torch", "fairseq"])
def test_priors_are_of_rank_one(form):
    hidden, weight, bias, target = make()
    u = torch.rand(23, dtype=torch.float64)
    u /= u.sum()
    assert_same(*both(LabelSmoothing(0.3, form, u, support=23), hidden, weight, bias, target))


@parametrize()
def test_float32_gradients_stay_near_float64(case):
    """Errors relative to the largest gradient; the project asks for 3e-6."""
    hidden, weight, _, target = make(rows=64, types=1000, width=32, dtype=torch.float32, scale=0.5)
    out = projection_loss(hidden, weight, target, case.make(1000), ignore_index=PAD)
    grads = torch.autograd.grad(out.total, [hidden, weight])
    full = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    kept = target != PAD
    expected = case.reference((full[0] @ full[1].t())[kept], target[kept]).sum()
    torch.testing.assert_close(out.total.double(), expected, atol=0, rtol=1e-6)
    for got, exact in zip(grads, torch.autograd.grad(expected, full), strict=True):
        assert (got.double() - exact).abs().max() <= 3e-6 * exact.abs().max()


@parametrize()
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-10)])
@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_half_precision_gives_float32_gradients_up_to_the_last_rounding(case, dtype, tolerance, scale):
    hidden, weight, bias, target = make(dtype=dtype, scale=0.5)
    leaves = [hidden, weight, bias]
    out = projection_loss(hidden, weight, target, case.make(23), bias=bias, ignore_index=PAD)
    # a mean over 64 tokens, as in training: without it 2^15 overflows float16, which is the loss scaler's business
    grads = torch.autograd.grad(out.total * (scale / 64), leaves)
    full = [x.detach().float().requires_grad_() for x in leaves]
    expected = projection_loss(full[0], full[1], target, case.make(23), bias=full[2], ignore_index=PAD)
    torch.testing.assert_close(out.total, expected.total)
    for got, exact in zip(grads, torch.autograd.grad(expected.total, full), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got.float() / scale * 64, exact, atol=64 * 2.0**-24, rtol=tolerance)


def test_works_under_autocast():
    hidden, weight, bias, target = make(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = projection_loss(hidden, weight, target, Labo(), bias=bias, ignore_index=PAD)
    expected = projection_loss(hidden, weight, target, Labo(), bias=bias, ignore_index=PAD)
    torch.testing.assert_close(out.total, expected.total, atol=0, rtol=0)


def test_a_second_backward_raises():
    hidden, weight, _, target = make()
    out = projection_loss(hidden, weight, target, CrossEntropy())
    out.total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        out.total.backward()


def test_frozen_weights_get_no_gradient():
    hidden, weight, _, target = make()
    out = projection_loss(hidden, weight.detach(), target, CrossEntropy())
    out.total.backward()
    assert hidden.grad is not None and weight.grad is None


def test_values_alone_without_gradient():
    hidden, weight, _, target = make()
    expected = projection_loss(hidden, weight, target, Labo(), ignore_index=PAD)
    with torch.no_grad():
        out = projection_loss(hidden, weight, target, Labo(), ignore_index=PAD)
    assert not out.total.requires_grad
    torch.testing.assert_close(out.loss, expected.loss)


def test_bad_shapes_and_targets_raise():
    hidden, weight, _, target = make()
    with pytest.raises(ValueError, match="expected"):
        projection_loss(hidden, weight[:, :-1], target, CrossEntropy())
    target[4] = 23
    with pytest.raises(ValueError, match="target 23: lies outside"):
        projection_loss(hidden, weight, target, CrossEntropy())
