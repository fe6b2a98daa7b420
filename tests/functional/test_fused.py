"""The fused projection against the dense path: same losses, same gradients of hidden states, weight and bias."""

import pytest
import torch
from _cases import parametrize

from labo_fairseq.functional import CrossEntropy, LabelSmoothing, Labo, fused, products, projection_loss, token_loss

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
def test_half_precision_gives_float32_gradients_up_to_the_last_rounding(case, dtype, tolerance, scale, monkeypatch):
    """Where the CPU is not fast in bfloat16; it never is in float16."""
    monkeypatch.setattr(products, "fast_bf16", lambda: (False, "a test"))
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


@pytest.fixture
def fast_bf16(monkeypatch):
    """torch multiplies bfloat16 on every CPU, if slowly, so that the path can be tested on all."""
    monkeypatch.setattr(products, "fast_bf16", lambda: (True, "a test"))


@pytest.fixture
def matmul():
    """torch's settings of products on a CPU, put back afterwards."""
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    yield setting
    setting.fp32_precision = before


def relative_error(got, exact):
    return float((got.double() - exact).norm() / exact.norm())


@parametrize()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_rounded_products_are_about_as_exact_as_plain_torch_in_bfloat16(case, dtype, fast_bf16, matmul):
    """Both against the literal equation in float64, of operands that were not rounded either.

    Of the losses that the project asks it of the error is at most 0.008. It grows with the logits, which are rounded to
    8 bits, and where the gradient is small against its two parts, as that of matrix smoothing.
    """
    matmul.fp32_precision = "bf16"
    exact = make(rows=200, types=1000, width=64, scale=0.5)  # logits of standard deviation 2
    target, kept = exact[3], exact[3] != PAD
    given = [x.detach().to(dtype).requires_grad_() for x in exact[:2]]
    plain = [x.detach().bfloat16().requires_grad_() for x in exact[:2]]

    def literal(hidden, weight):
        logits = torch.nn.functional.linear(hidden, weight)[kept]
        return case.reference(logits.to(torch.promote_types(logits.dtype, torch.float32)), target[kept]).sum()

    out = projection_loss(*given, target, case.make(1000), ignore_index=PAD)
    grads = torch.autograd.grad(out.total, given)
    theirs = torch.autograd.grad(literal(*plain), plain)
    full = torch.autograd.grad(literal(*exact[:2]), exact[:2])
    for got, other, expected in zip(grads, theirs, full, strict=True):
        assert got.dtype == dtype
        error = relative_error(got, expected)
        # the sums over chunks are rounded once more, by at most 2^-9
        assert 1e-4 < error <= relative_error(other, expected) + 2**-9
        assert error <= 0.008 or not case.name.startswith(("label_smoothing", "labo"))


def test_chunks_of_rounded_products_add_up_in_float32(fast_bf16, monkeypatch):
    """Many chunks are as good as one: sums in bfloat16 over 200 of them would be off by percents."""
    hidden, weight, _, target = make(rows=400, types=50, width=16)
    exact = torch.autograd.grad(projection_loss(hidden, weight, target, Labo()).total, [hidden, weight])
    given = [x.detach().bfloat16().requires_grad_() for x in (hidden, weight)]
    errors = []
    for rows in (400, 2):
        monkeypatch.setattr(fused, "_CHUNK_ROWS", rows)
        got = torch.autograd.grad(projection_loss(*given, target, Labo()).total, given)
        errors.append(max(relative_error(g, e) for g, e in zip(got, exact, strict=True)))
    assert errors[1] <= 1.05 * errors[0]


def test_evaluation_is_exact_in_bfloat16_too(fast_bf16):
    hidden, weight, bias, target = make(dtype=torch.bfloat16)
    full = [x.detach().float() for x in (hidden, weight, bias)]
    with torch.no_grad():
        out = projection_loss(hidden, weight, target, Labo(), bias=bias, ignore_index=PAD)
    expected = projection_loss(full[0], full[1], target, Labo(), bias=full[2], ignore_index=PAD)
    assert torch.equal(out.total, expected.total) and torch.equal(out.nll, expected.nll)


def test_float32_is_rounded_only_where_torch_may(fast_bf16, matmul):
    hidden, weight, _, _ = make(dtype=torch.float32)
    for setting, rounded in (("none", False), ("ieee", False), ("bf16", True)):
        matmul.fp32_precision = setting
        kind = type(products.products_of(hidden, weight, None, [True, True, False]))
        assert (kind is products.RoundedProducts) == rounded
    # float64 never is
    assert type(products.products_of(hidden.double(), weight.double(), None, [True] * 3)) is products.Products


@pytest.mark.parametrize(
    ("has", "fast"),
    [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_what_the_cpu_has_is_asked_of_torch(has, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert products.fast_bf16.__wrapped__()[0] == fast


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
