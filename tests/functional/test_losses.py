"""Every loss against its literal reference in float64, by gradcheck, at its limits and on awkward rows."""

import pytest
import torch
import torch.nn.functional as F
from _cases import CASES, parametrize

from labo_fairseq.functional import CrossEntropy, LabelSmoothing, Labo, token_loss

EXACT = {"atol": 1e-12, "rtol": 1e-12}


def random_rows(rows=7, types=11, dtype=torch.float64, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, types, generator=generator, dtype=torch.float64) * scale
    target = torch.randint(types, (rows,), generator=generator)
    return logits.to(dtype).requires_grad_(), target


def value_and_gradient(function, logits, weight):
    value = function(logits)
    (gradient,) = torch.autograd.grad((value * weight).sum(), logits)
    return value.detach(), gradient


@parametrize()
@pytest.mark.parametrize("types", [2, 3, 11, 257])
def test_equals_the_published_equation(case, types):
    logits, target = random_rows(types=types)
    weight = torch.linspace(0.5, 2.0, len(target), dtype=torch.float64)
    loss = case.make(types)
    got = value_and_gradient(lambda z: token_loss(z, target, loss).loss, logits, weight)
    expected = value_and_gradient(lambda z: case.reference(z, target), logits, weight)
    torch.testing.assert_close(got, expected, **EXACT)


@parametrize(only=lambda case: not case.detached)
def test_gradcheck(case):
    logits, target = random_rows(rows=4, types=6, scale=1.0)
    assert torch.autograd.gradcheck(lambda z: token_loss(z, target, case.make(6)).loss, logits)


def test_gradcheck_of_labo_at_the_adaptive_mass():
    """The adaptive loss is differentiated at a constant α: with that α given, the gradient is the loss's own."""
    logits, target = random_rows(rows=4, types=6, scale=1.0)
    p = torch.softmax(logits.detach(), -1)
    mass = 1 - 0.5 * -(p * p.log()).sum(-1) / torch.tensor(6.0, dtype=p.dtype).log()
    fixed = Labo(1.25, mass=mass)
    assert torch.autograd.gradcheck(lambda z: token_loss(z, target, fixed).loss, logits)
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(
        value_and_gradient(lambda z: token_loss(z, target, Labo(1.25)).loss, logits, ones),
        value_and_gradient(lambda z: token_loss(z, target, fixed).loss, logits, ones),
        **EXACT,
    )


def test_adaptive_mass_is_detached():
    """A gradient through α would be another method: its size on this row is far above rounding."""
    logits, target = random_rows()

    def undetached(z):
        p = torch.softmax(z, -1)
        log_k = torch.tensor(float(z.size(-1)), dtype=z.dtype).log()
        mass = 1 - 0.5 * -(p * p.log()).sum(-1) / log_k
        nll = -torch.log_softmax(z, -1).gather(1, target.unsqueeze(1)).squeeze(1)
        return (1 - mass) * nll - mass * 1.25 * (torch.log_softmax(z, -1) / 1.25).logsumexp(-1) + mass * 1.25 * log_k

    ones = torch.ones(len(target), dtype=torch.float64)
    value, gradient = value_and_gradient(lambda z: token_loss(z, target, Labo(1.25)).loss, logits, ones)
    other_value, other_gradient = value_and_gradient(undetached, logits, ones)
    torch.testing.assert_close(value, other_value, **EXACT)
    assert (gradient - other_gradient).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", [LabelSmoothing(0.0), LabelSmoothing(0.0, "fairseq"), Labo(1.25, 0.0)], ids=str)
def test_no_mass_is_cross_entropy_within_two_ulp(loss, dtype):
    logits, target = random_rows(rows=200, types=1000, dtype=dtype)
    expected = F.cross_entropy(logits, target, reduction="none")
    ulp = torch.nextafter(expected, torch.tensor(float("inf"), dtype=dtype)) - expected
    assert ((token_loss(logits, target, loss).loss - expected).abs() <= 2 * ulp).all()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_labo_at_temperature_one_is_scaled_likelihood(alpha):
    """(1−α)·NLL + α·log K: no regularization at all."""
    logits, target = random_rows()
    nll = F.cross_entropy(logits, target, reduction="none")
    expected = (1 - alpha) * nll + alpha * torch.tensor(float(logits.size(1)), dtype=nll.dtype).log()
    torch.testing.assert_close(token_loss(logits, target, Labo(1.0, alpha)).loss, expected, **EXACT)


def test_labo_at_infinite_temperature_is_uniform_smoothing():
    """Remark 3: the difference falls with 1/τ (the second term of the cumulant expansion)."""
    logits, target = random_rows()
    expected = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.2)
    errors = [
        (token_loss(logits, target, Labo(tau, 0.2)).loss - expected).abs().max().item() for tau in (1e2, 1e4, 1e6)
    ]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)
    assert errors[2] < 1e-5


def test_smoothing_equals_torch():
    logits, target = random_rows()
    expected = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(token_loss(logits, target, LabelSmoothing(0.1)).loss, expected, **EXACT)


def test_the_two_forms_of_smoothing_convert():
    """fairseq's ε is torch's α·(K−1)/K."""
    logits, target = random_rows()
    types = logits.size(1)
    fairseq = token_loss(logits, target, LabelSmoothing(0.1 * (types - 1) / types, "fairseq")).loss
    torch.testing.assert_close(fairseq, token_loss(logits, target, LabelSmoothing(0.1)).loss, **EXACT)


@pytest.mark.parametrize("form", ["torch", "fairseq"])
def test_prior_that_leaves_types_out(form):
    """Masked smoothing (Chen et al. 2022): ε/(|T|−1) for each of the |T| types in the prior but the target."""
    logits, target = random_rows(types=9)
    target = target % 6
    inside = torch.arange(9) < 6
    loss = LabelSmoothing(0.2, form, inside / 6, support=6)
    mass = 0.2 if form == "torch" else 0.2 * 6 / 5
    row = mass / 6 * inside + (1 - mass) * F.one_hot(target, 9)
    torch.testing.assert_close(row.sum(1), torch.ones(7), atol=1e-6, rtol=0)
    if form == "fairseq":
        torch.testing.assert_close(row.gather(1, target.unsqueeze(1)), torch.full((7, 1), 0.8), atol=1e-6, rtol=0)
    expected = -(row.double() * torch.log_softmax(logits, -1)).sum(-1)
    torch.testing.assert_close(token_loss(logits, target, loss).loss, expected, atol=1e-6, rtol=1e-6)


def test_tensor_prior_is_used_as_given():
    logits, target = random_rows()
    u = torch.rand(11, dtype=torch.float64)
    u /= u.sum()
    row = 0.3 * u + 0.7 * F.one_hot(target, 11).double()
    ones = torch.ones(7, dtype=torch.float64)
    torch.testing.assert_close(
        value_and_gradient(lambda z: token_loss(z, target, LabelSmoothing(0.3, prior=u)).loss, logits, ones),
        value_and_gradient(lambda z: -(row * torch.log_softmax(z, -1)).sum(-1), logits, ones),
        **EXACT,
    )


@parametrize(only=lambda case: not case.by_type)
def test_masked_types_take_no_part(case):
    """A logit of −inf removes its type: the rest behaves as a smaller vocabulary, and the gradient there is 0."""
    logits, target = random_rows(types=9)
    target = target % 5
    live = torch.tensor([0, 1, 2, 3, 4, 7])
    masked = logits.detach().clone()
    masked[:, [5, 6, 8]] = float("-inf")
    masked.requires_grad_()
    ones = torch.ones(7, dtype=torch.float64)
    value, gradient = value_and_gradient(lambda z: token_loss(z, target, case.make(6)).loss, masked, ones)
    small = logits.detach()[:, live].requires_grad_()
    expected, small_gradient = value_and_gradient(lambda z: case.reference(z, target), small, ones)
    torch.testing.assert_close(value, expected, **EXACT)
    torch.testing.assert_close(gradient[:, live], small_gradient, **EXACT)
    assert (gradient[:, [5, 6, 8]] == 0).all()


# a partner is a type by its number, which is another one in the smaller vocabulary
@parametrize(only=lambda case: not case.by_type and case.of not in ("mixup", "pairwise_label_smoothing"))
def test_rows_may_mask_different_types(case):
    logits, target = random_rows(rows=2, types=5)
    target = torch.tensor([0, 1])
    masked = logits.detach().clone()
    masked[0, 4] = masked[1, 0] = masked[1, 2] = float("-inf")
    got = token_loss(masked, target, case.make(5)).loss
    first = case.reference(masked[:1, :4], target[:1])
    second = case.reference(masked[1:, [1, 3, 4]], torch.tensor([0]))
    torch.testing.assert_close(got, torch.cat([first, second]), **EXACT)


@parametrize(only=lambda case: not case.by_type)
def test_masked_target_raises(case):
    logits, target = random_rows()
    masked = logits.detach().clone()
    masked[3, target[3]] = float("-inf")
    with pytest.raises(ValueError, match="row 3"):
        token_loss(masked, target, case.make(11))


@parametrize()
def test_certain_rows_stay_finite(case):
    """p = 1 on the target, and p = 0: losses and gradients are finite, in float32 too."""
    logits = torch.tensor([[200.0, 0, 0, 0], [0, 200.0, 0, 0]], requires_grad=True)
    loss = token_loss(logits, torch.tensor([0, 0]), case.make(4)).loss
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all() and gradient.isfinite().all()


@parametrize(only=lambda case: not case.by_type)
def test_large_vocabulary_with_an_offset_keeps_float32_precision(case):
    """V = 32k and logits around +1000 (an exact shift in float32): the loss keeps a relative error of 1e-6."""
    logits, target = random_rows(rows=3, types=32_000, dtype=torch.float32)
    shifted = ((logits.detach() * 1024).round() / 1024 + 1000).requires_grad_()
    expected, gradient = value_and_gradient(
        lambda z: case.reference(z, target), shifted.detach().double().requires_grad_(), torch.ones(3)
    )
    got, got_gradient = value_and_gradient(lambda z: token_loss(z, target, case.make(32_000)).loss, shifted, 1)
    torch.testing.assert_close(got.double(), expected, atol=0, rtol=1e-6)
    torch.testing.assert_close(got_gradient.double(), gradient, atol=2e-7, rtol=3e-6)


@parametrize()
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_logits_are_worked_on_in_float32(case, dtype, tolerance):
    """The loss of half logits is that of the same numbers in float32; only the final gradient is rounded."""
    logits, target = random_rows(dtype=dtype)
    full = logits.detach().float().requires_grad_()
    ones = torch.ones(7)
    value, gradient = value_and_gradient(lambda z: token_loss(z, target, case.make(11)).loss, logits, ones)
    expected, full_gradient = value_and_gradient(lambda z: token_loss(z, target, case.make(11)).loss, full, ones)
    torch.testing.assert_close(value, expected, atol=0, rtol=0)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.float(), full_gradient, atol=1e-7, rtol=tolerance)


@parametrize()
def test_a_loss_scale_is_applied_before_rounding(case):
    """Gradients that underflow in float16 survive when the loss is scaled by 2^15, as under fairseq's loss scaling."""
    logits = torch.tensor([[12.0] + [-8.0] * 20], dtype=torch.float16, requires_grad=True)
    target = torch.tensor([0])
    full = logits.detach().double().requires_grad_()
    _, scaled = value_and_gradient(lambda z: token_loss(z, target, case.make(21)).loss, logits, 2.0**15)
    _, expected = value_and_gradient(lambda z: case.reference(z, target), full, 2.0**15)
    torch.testing.assert_close(scaled[:, 1:].double(), expected[:, 1:], atol=1e-6, rtol=2e-3)
    # at the target the gradient is a difference of numbers up to log K: a few float32 roundings, times the scale
    torch.testing.assert_close(scaled[:, 0].double(), expected[:, 0], atol=2.0**15 * 2.0**-21, rtol=2e-3)


@parametrize()
def test_padding_changes_nothing(case):
    logits, target = random_rows(types=13)
    target[[1, 4]] = 12
    kept = torch.tensor([0, 2, 3, 5, 6])
    kept = kept[target[kept] != 12]
    loss = case.make(13)
    out = token_loss(logits, target, loss, ignore_index=12, count_hits=True)
    alone = token_loss(logits[kept], target[kept], loss, count_hits=True)
    torch.testing.assert_close(out.loss[kept], alone.loss, atol=0, rtol=0)
    torch.testing.assert_close(out.nll[kept], alone.nll, atol=0, rtol=0)
    assert (out.loss[target == 12] == 0).all() and (out.nll[target == 12] == 0).all()
    expected = torch.softmax(logits[kept], 1).amax(1).detach()
    torch.testing.assert_close(out.confidence[kept], expected)
    assert (out.confidence[target == 12] == 0).all()
    assert not out.hits[target == 12].any() and (out.hits[kept] == alone.hits).all()
    (gradient,) = torch.autograd.grad(out.loss.sum(), logits)
    assert (gradient[target == 12] == 0).all() and (gradient[kept] != 0).any()


@parametrize()
def test_batch_split_changes_nothing(case):
    logits, target = random_rows(rows=50)
    whole = token_loss(logits, target, case.make(11)).loss
    parts = [token_loss(z, t, case.make(11)).loss for z, t in zip(logits.split(7), target.split(7), strict=True)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=0, rtol=0)


@parametrize()
@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_count(case, rows):
    """An empty batch and a batch of padding have loss 0 and gradient 0."""
    logits, _ = random_rows(rows=rows)
    out = token_loss(logits, torch.full((rows,), 5), case.make(11), ignore_index=5)
    out.loss.sum().backward()
    assert out.loss.shape == (rows,) and (out.loss == 0).all() and (logits.grad == 0).all()


@pytest.mark.parametrize("target", [11, -1])
def test_target_outside_the_vocabulary_raises(target):
    logits, _ = random_rows(rows=2)
    with pytest.raises(ValueError, match=f"target {target}: lies outside"):
        token_loss(logits, torch.tensor([0, target]), CrossEntropy())


def test_shapes_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="expected"):
        token_loss(torch.zeros(3, 4), torch.zeros(2, dtype=torch.long), CrossEntropy())


def test_nan_logits_are_not_hidden():
    logits, target = random_rows()
    broken = logits.detach().clone()
    broken[2, 3] = float("nan")
    assert token_loss(broken, target, Labo()).loss[2].isnan()


PADDED, KEPT = [1, 4], [0, 2, 3, 5]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("masked", [False, True])
def test_what_stands_in_padded_rows_changes_nothing(case, bad, masked):
    """Value and gradient are those of the other rows alone, also where types of these are masked."""
    if case.by_type and masked:
        pytest.skip("no type can be taken out")
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    if masked:
        logits[2, 4] = logits[5, 3] = -float("inf")
    alone, padded = logits[KEPT].requires_grad_(), logits.clone()
    padded[PADDED] = bad
    padded.requires_grad_()
    ignored = target.clone()
    ignored[PADDED] = -100
    wanted = token_loss(alone, target[KEPT], case.make(5))
    found = token_loss(padded, ignored, case.make(5), -100, count_hits=True)
    wanted.loss.sum().backward()
    # as of a mean over what is not padding, of which padded rows get a weight that is none
    weights = torch.ones(6, dtype=torch.float64)
    weights[PADDED] = float("nan")
    found.loss.backward(weights)
    assert torch.equal(found.loss[KEPT], wanted.loss) and torch.equal(padded.grad[KEPT], alone.grad)
    for values in (padded.grad, found.loss, found.nll, found.confidence):
        assert not values[PADDED].any()
    assert not found.hits[PADDED].any()


# z-loss is of the logits as they are; the others compare distributions, and a single type has one alone
ONE_TYPE = [
    case for case in CASES if "z_loss" not in case.name and case.name not in ("mixup", "pairwise_label_smoothing")
]


@pytest.mark.parametrize("case", ONE_TYPE, ids=str)
def test_a_single_type_has_no_loss(case):
    logits = torch.tensor([[0.3], [-2.0], [5.0]], dtype=torch.float64, requires_grad=True)
    loss = token_loss(logits, torch.zeros(3, dtype=torch.long), case.make(1)).loss
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-14, rtol=0)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-14, rtol=0)


@pytest.mark.parametrize("case", [case for case in ONE_TYPE if not case.by_type], ids=str)
def test_a_row_of_which_one_type_is_left_has_no_loss(case):
    logits = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    logits[1, [0, 1, 3]] = -float("inf")
    logits.requires_grad_()
    target = torch.tensor([0, 2, 1])
    loss = token_loss(logits, target, case.make(4)).loss
    loss.sum().backward()
    assert abs(loss[1].item()) < 1e-14 and logits.grad[1].abs().max() < 1e-14
    others = logits.detach()[[0, 2]].requires_grad_()
    wanted = token_loss(others, target[[0, 2]], case.make(4)).loss
    wanted.sum().backward()
    torch.testing.assert_close(loss[[0, 2]], wanted, atol=1e-14, rtol=1e-14)
    torch.testing.assert_close(logits.grad[[0, 2]], others.grad, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("support", [None, 1])
def test_a_prior_with_a_single_type_in_fairseqs_form(support):
    logits, target = random_rows(rows=3)
    prior = torch.zeros(logits.size(1))
    prior[2] = 1
    smoothing = LabelSmoothing(0.1, "fairseq", prior, 1) if support else LabelSmoothing(0.1, "fairseq")
    loss = token_loss(logits if support else logits[:, :1], target if support else target * 0, smoothing).loss
    assert loss.isfinite().all()


def test_values_without_gradient_are_the_same():
    logits, target = random_rows()
    for case in CASES:
        loss = case.make(11)
        with torch.no_grad():
            values = token_loss(logits, target, loss).loss
        torch.testing.assert_close(values, token_loss(logits, target, loss).loss.detach(), atol=0, rtol=0)


@parametrize(only=lambda case: case.by_type and not case.make(6).of_rows(torch.arange(1), None).own_pass)
def test_a_teacher_loses_the_types_that_the_student_lacks(case):
    """What knows something of every type is renormalized over those that are left."""
    logits, target = random_rows(types=6)
    masked = logits.detach().clone()
    masked[:, 5] = float("-inf")
    target = target % 5
    loss = token_loss(masked, target, case.make(6)).loss
    assert loss.isfinite().all()
