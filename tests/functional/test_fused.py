"""The fused projection against the dense path: same losses, same gradients of hidden states, weight and bias."""

import pytest
import torch
from _cases import parametrize

from labo_fairseq.functional import CrossEntropy, LabelSmoothing, Labo, fused, projection_loss, token_loss
from labo_fairseq.functional.half_precision import operand_type

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


@pytest.fixture
def cpu(monkeypatch):
    """Function: cpu(**capabilities) makes torch tell of them."""
    return lambda **has: monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)


@pytest.fixture
def bf16_allowed():
    """torch's setting that allows bfloat16 inside products of float32 matrices."""
    setting = torch.backends.mkldnn.matmul
    before, setting.fp32_precision = setting.fp32_precision, "bf16"
    yield
    setting.fp32_precision = before


@parametrize()
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-10)])
@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_half_precision_gives_float32_gradients_up_to_the_last_rounding(case, dtype, tolerance, scale, cpu):
    """Where the CPU does not multiply bfloat16: the operands are those that are given, all products are float32."""
    cpu()
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


def bf16_problem(case, dtype, types=1003, bias=None):
    """Loss and gradients of the fused path in `dtype` with the case's loss, and those of its equation in float64."""
    hidden, weight, _, target = make(rows=200, types=types, width=64, dtype=torch.float64)
    # logits of variance 1, as at the start of training
    exact = [hidden.detach().requires_grad_(), (weight.detach() / 8).requires_grad_()]
    leaves = [x.detach().to(dtype).requires_grad_() for x in exact]
    if bias is not None:
        exact.append(bias.double().requires_grad_())
        leaves.append(bias.to(dtype).requires_grad_())
    out = projection_loss(*leaves[:2], target, case.make(types), *leaves[2:], ignore_index=PAD)
    kept = target != PAD
    logits = exact[0] @ exact[1].t() + (0 if bias is None else exact[2])
    expected = case.reference(logits[kept], target[kept]).sum()
    return (
        out,
        torch.autograd.grad(out.total * 2.0**-7, leaves),
        expected,
        torch.autograd.grad(expected * 2.0**-7, exact),
    )


# that the project asks for, of the gradient's norm. A rounding to bfloat16 is at most 2^-9 = 0.002: of the operands,
# the logits, their gradient and each product
BF16_ERROR = 0.008


def relative_error(got, true):
    return ((got.double() - true).norm() / true.norm()).item()


@parametrize()
@pytest.mark.parametrize("chunk", [1024, 50])
def test_products_in_bfloat16_stay_near_float64(case, chunk, cpu, monkeypatch):
    """Against the equation on operands that were float64 before they were rounded."""
    cpu(avx512_bf16=True)
    monkeypatch.setattr(fused, "_HALF_CHUNK_ROWS", chunk)
    monkeypatch.setattr(fused, "_HALF_BLOCK", 7 * 1003)
    out, grads, expected, exact = bf16_problem(case, torch.bfloat16)
    assert out.total.dtype == torch.float32 and {g.dtype for g in grads} == {torch.bfloat16}
    torch.testing.assert_close(out.total.double(), expected, atol=0, rtol=2e-3)
    for got, true in zip(grads, exact, strict=True):
        assert relative_error(got, true) <= BF16_ERROR


@parametrize()
def test_a_float32_model_may_multiply_in_bfloat16(case, cpu, bf16_allowed):
    """--bf16-products: float32 gradients with bfloat16's error, no less and no more."""
    cpu(amx_bf16=True)
    _, grads, _, exact = bf16_problem(case, torch.float32)
    for got, true in zip(grads, exact, strict=True):
        assert got.dtype == torch.float32 and 5e-4 < relative_error(got, true) <= BF16_ERROR


@parametrize()
def test_a_bias_beside_products_in_bfloat16(case, cpu):
    cpu(avx512_bf16=True)
    bias = torch.randn(1003, generator=torch.Generator().manual_seed(5)).bfloat16()
    _, grads, _, exact = bf16_problem(case, torch.bfloat16, bias=bias)
    assert all(relative_error(got, true) <= BF16_ERROR for got, true in zip(grads, exact, strict=True))


def test_evaluation_is_exact_in_bfloat16_too(cpu):
    cpu(avx512_bf16=True)
    hidden, weight, bias, target = make(dtype=torch.bfloat16)
    full = [x.detach().float() for x in (hidden, weight, bias)]
    with torch.no_grad():
        out = projection_loss(hidden, weight, target, Labo(), bias=bias, ignore_index=PAD)
    expected = projection_loss(full[0], full[1], target, Labo(), bias=full[2], ignore_index=PAD)
    assert torch.equal(out.total, expected.total) and torch.equal(out.nll, expected.nll)


def test_the_label_is_subtracted_before_the_gradient_is_rounded(cpu):
    """Where p is almost 1 the target's gradient p − 1 is small: p rounded to bfloat16 would leave nothing of it."""
    cpu(avx512_bf16=True)
    weight = torch.eye(8).bfloat16().requires_grad_()
    hidden = (9 * torch.eye(8)).bfloat16().requires_grad_()
    target = torch.arange(8)
    out = projection_loss(hidden, weight, target, CrossEntropy())
    (gradient,) = torch.autograd.grad(out.total, hidden)
    p = torch.softmax(9 * torch.eye(8).double(), 1)
    torch.testing.assert_close(gradient.double(), p - torch.eye(8), atol=0, rtol=2**-8)
    assert p[0, 0].bfloat16() == 1, "the case would prove nothing"


def test_small_gradients_add_up_over_many_chunks(cpu, monkeypatch):
    """A sum in bfloat16 would stop to grow after 2^8 equal addends; each chunk here is one row."""
    cpu(avx512_bf16=True)
    monkeypatch.setattr(fused, "_HALF_CHUNK_ROWS", 1)
    hidden, weight = torch.ones(2000, 1).bfloat16(), torch.zeros(4, 1).bfloat16().requires_grad_()
    out = projection_loss(hidden, weight, torch.zeros(2000, dtype=torch.long), CrossEntropy())
    (gradient,) = torch.autograd.grad(out.total, weight)
    assert gradient.flatten().tolist() == [-1504, 500, 500, 500]  # 2000·(¼ − onehot); 8 bits hold 1500 as 1504


@pytest.mark.parametrize(
    "has, dtype, allowed, wanted, reason",
    [
        ({"avx512_bf16": True}, torch.bfloat16, False, torch.bfloat16, "this CPU has AVX512-BF16"),
        ({"amx_bf16": True}, torch.bfloat16, False, torch.bfloat16, "this CPU has AMX"),
        ({"avx512_f": True}, torch.bfloat16, False, None, "neither AVX512-BF16 nor AMX"),
        ({}, torch.bfloat16, True, None, "neither AVX512-BF16 nor AMX"),  # another architecture
        ({"avx512_bf16": True}, torch.float32, False, None, "float32 hidden states on a CPU"),
        ({"avx512_bf16": True}, torch.float32, True, torch.bfloat16, "this CPU has AVX512-BF16"),
        ({}, torch.float32, True, None, "neither AVX512-BF16 nor AMX"),
        ({"amx_bf16": True}, torch.float64, True, None, "float64 hidden states on a CPU"),
        ({"amx_bf16": True, "amx_fp16": True}, torch.float16, True, None, "float16 hidden states on a CPU"),
    ],
)
def test_the_type_of_the_products_follows_the_cpu(has, dtype, allowed, wanted, reason, cpu, request):
    cpu(**has)
    if allowed:
        request.getfixturevalue("bf16_allowed")
    chosen, why = operand_type(torch.device("cpu"), dtype)
    assert chosen == wanted and reason in why


def test_a_torch_that_does_not_tell_multiplies_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert operand_type(torch.device("cpu"), torch.bfloat16)[0] is None


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
