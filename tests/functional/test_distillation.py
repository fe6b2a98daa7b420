"""Distillation against its literal equations in float64, at its limits, on both paths and on awkward rows."""

import pytest
import torch
from _cases import cross_entropy, kl

from labo_fairseq.functional import (
    Distillation,
    LabelSmoothing,
    LogitMatching,
    RDrop,
    WithZLoss,
    ZLossAround,
    fused,
    given_logits,
    mean_teacher,
    projected_logits,
    projection_loss,
    stored_logits,
    token_loss,
)

EXACT = {"atol": 1e-12, "rtol": 1e-12}
ROWS, TYPES, WIDTH = 9, 11, 5
PAD = 1


def random(*shape, seed=0, scale=2.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


TARGET = torch.tensor([3, 1, 5, 10, 0, 1, 1, 7, 2])
KEPT = TARGET != PAD
TEACHER = random(ROWS, TYPES, seed=1)


def distilled(alpha, teacher_temperature, student_temperature, scale):
    """(1−α)·CE + α·s·KL(u‖softmax(z/τ)), u = softmax(t/T) (Hinton et al. 2015; Lu et al. 2023, eq. 3)."""

    def reference(z, target, t):
        u = torch.softmax(t / teacher_temperature, -1)
        soft = kl(u, torch.softmax(z / student_temperature, -1))
        return (1 - alpha) * cross_entropy(z, target) + alpha * scale * soft

    return reference


def matched(alpha):
    """(1−α)·CE + α·½·mean of squares of the centred logits' difference (Hinton et al. 2015, section 2.1)."""

    def reference(z, target, t):
        centred = (z - z.mean(-1, keepdim=True)) - (t - t.mean(-1, keepdim=True))
        return (1 - alpha) * cross_entropy(z, target) + alpha / 2 * (centred**2).mean(-1)

    return reference


CASES = {
    "labo": (lambda t: Distillation(0.4, t), distilled(0.4, 1, 1, 1)),
    "hinton": (lambda t: Distillation(0.9, t, 2.0, 2.0, 4.0), distilled(0.9, 2, 2, 4)),
    "mueller": (lambda t: Distillation(1.0, t, 3.0), distilled(1.0, 3, 1, 1)),
    "sharp": (lambda t: Distillation(0.3, t, 0.5, 0.8), distilled(0.3, 0.5, 0.8, 1)),
    "logits": (lambda t: LogitMatching(0.6, t), matched(0.6)),
}
every_case = pytest.mark.parametrize("make, reference", CASES.values(), ids=CASES)


def value_and_gradient(function, logits, weight):
    logits = logits.detach().requires_grad_()
    value = function(logits)
    (gradient,) = torch.autograd.grad((value * weight).sum(), logits)
    return value.detach(), gradient


WEIGHT = torch.linspace(0.5, 2, ROWS, dtype=torch.float64)


@every_case
@pytest.mark.parametrize("types", [2, 3, 11, 257])
def test_equals_the_published_equation(make, reference, types):
    z, t, target = random(ROWS, types), random(ROWS, types, seed=1), TARGET % types
    loss = make(given_logits(t))
    got = value_and_gradient(lambda x: token_loss(x, target, loss).loss, z, WEIGHT)
    torch.testing.assert_close(got, value_and_gradient(lambda x: reference(x, target, t), z, WEIGHT), **EXACT)


@every_case
def test_gradcheck(make, reference):
    z, t = random(4, 6, scale=1.0).requires_grad_(), random(4, 6, seed=1)
    assert torch.autograd.gradcheck(lambda x: token_loss(x, TARGET[:4] % 6, make(given_logits(t))).loss, z)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_remark_2_distillation_at_temperature_one_is_labos_objective(alpha):
    """Lu et al. 2023, eq. 8-9: E_P̂[−log p] + α·KL(P_T‖U) − α·log K with P̂ of eq. 4, value and gradient."""
    log_types = torch.tensor(float(TYPES), dtype=torch.float64).log()

    def general_objective(z):
        p, teacher = torch.softmax(z, -1), torch.softmax(TEACHER, -1)
        p_hat = alpha * teacher + (1 - alpha) * torch.nn.functional.one_hot(TARGET, TYPES)
        uniform = torch.full_like(p, 1 / TYPES)
        return -(p_hat * p.log()).sum(-1) + alpha * kl(teacher, uniform)

    loss = Distillation(alpha, given_logits(TEACHER))
    z = random(ROWS, TYPES)
    got = value_and_gradient(lambda x: token_loss(x, TARGET, loss).loss, z, WEIGHT)
    torch.testing.assert_close(got, value_and_gradient(lambda x: general_objective(x) - alpha * log_types, z, WEIGHT))


def test_matching_logits_is_the_limit_of_high_temperature():
    """Hinton et al. 2015, section 2.1; the difference falls with 1/T."""
    z = random(ROWS, TYPES)
    limit = token_loss(z, TARGET, LogitMatching(1.0, given_logits(TEACHER))).loss
    errors = []
    for t in (1e2, 1e3, 1e4):
        loss = Distillation(1.0, given_logits(TEACHER), t, t, t**2)
        errors.append((token_loss(z, TARGET, loss).loss - limit).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.2)
    assert errors[2] < 1e-2 * limit.max()


@pytest.mark.parametrize("name", ["labo", "hinton", "logits"])
def test_a_student_like_its_teacher_has_nothing_to_learn_from_it(name):
    """Whatever is added to a row of logits."""
    make = CASES[name][0]
    loss = make(given_logits(TEACHER))
    z = TEACHER + random(ROWS, 1, seed=3)
    expected = (1 - loss.mass) * cross_entropy(z, TARGET)
    torch.testing.assert_close(token_loss(z, TARGET, loss).loss, expected, **EXACT)


def test_a_uniform_teacher_is_label_smoothing():
    z = random(ROWS, TYPES)
    uniform = given_logits(torch.zeros(ROWS, TYPES, dtype=torch.float64))
    got = token_loss(z, TARGET, Distillation(0.2, uniform)).loss
    constant = 0.2 * torch.tensor(float(TYPES), dtype=torch.float64).log()
    torch.testing.assert_close(got, token_loss(z, TARGET, LabelSmoothing(0.2)).loss - constant, **EXACT)


@every_case
@pytest.mark.parametrize("wrap", ["plain", "z-loss", "r-drop", "both"])
def test_fused_equals_dense(make, reference, wrap, monkeypatch):
    """Chunks that do not divide the rows, padding, a bias, z-loss and paired rows; the teacher's products in chunks."""
    monkeypatch.setattr(fused, "_CHUNK_ROWS", 4)
    monkeypatch.setattr(fused, "_BLOCK", 2 * TYPES)
    passes = 2 if wrap in ("r-drop", "both") else 1
    h, w, b = (x.requires_grad_() for x in (random(ROWS * passes, WIDTH), random(TYPES, WIDTH, seed=5), random(TYPES)))
    features, projection, bias = random(ROWS, 7, seed=6), random(TYPES, 7, seed=7), random(TYPES, seed=8)
    teacher_logits = features @ projection.t() + bias
    losses = [make(given_logits(teacher_logits)), make(projected_logits(features, projection, bias))]
    if wrap in ("z-loss", "both"):
        losses = [(ZLossAround if hasattr(x, "row_pass") else WithZLoss)(x, 0.01) for x in losses]
    if passes == 2:
        losses = [RDrop(x, 0.7) for x in losses]
    target = TARGET.repeat_interleave(passes)
    dense = token_loss(h @ w.t() + b, target, losses[0], ignore_index=PAD)
    expected = torch.autograd.grad(dense.loss.sum(), [h, w, b])
    out = projection_loss(h, w, target, losses[1], bias=b, ignore_index=PAD)
    torch.testing.assert_close(out.loss, dense.loss.detach(), **EXACT)
    torch.testing.assert_close(torch.autograd.grad(out.total, [h, w, b]), expected, **EXACT)

    def literal(z):
        value = reference(z, target[target != PAD], teacher_logits.repeat_interleave(passes, 0)[target != PAD])
        return value + (0.01 * z.logsumexp(-1) ** 2 if wrap in ("z-loss", "both") else 0)

    z = (h @ w.t() + b)[target != PAD]
    total = literal(z).sum()
    if passes == 2:
        first, second = torch.softmax(z[::2], -1), torch.softmax(z[1::2], -1)
        total = total + 0.7 / 2 * (kl(first, second) + kl(second, first)).sum()
    torch.testing.assert_close(out.total, total.detach(), **EXACT)
    torch.testing.assert_close(torch.autograd.grad(total, [h, w, b]), expected, **EXACT)


@every_case
@pytest.mark.parametrize("projection", [False, True])
def test_types_that_the_student_lacks_leave_the_teacher_too(make, reference, projection):
    """A logit of −inf: the rest behaves as a smaller vocabulary, for the teacher's distribution as well."""
    live = torch.tensor([0, 1, 2, 3, 5, 7, 10])
    target = torch.tensor([3, 1, 5, 2, 0, 1, 1, 6, 2])  # among the types that are left
    z = random(ROWS, TYPES)
    bias = torch.full((TYPES,), float("-inf"), dtype=torch.float64)
    bias[live] = 0
    loss = make(given_logits(TEACHER))
    if projection:
        value = projection_loss(z, torch.eye(TYPES, dtype=torch.float64), live[target], loss, bias=bias).loss
    else:
        value, gradient = value_and_gradient(lambda x: token_loss(x + bias, live[target], loss).loss, z, WEIGHT)
        small = value_and_gradient(lambda x: reference(x, target, TEACHER[:, live]), z[:, live], WEIGHT)[1]
        torch.testing.assert_close(gradient[:, live], small, **EXACT)
    torch.testing.assert_close(value, reference(z[:, live], target, TEACHER[:, live]), **EXACT)


def test_types_that_the_teacher_rules_out_have_no_share():
    t = TEACHER.clone()
    t[:, 4] = float("-inf")
    z = random(ROWS, TYPES)
    got = value_and_gradient(lambda x: token_loss(x, TARGET, Distillation(0.4, given_logits(t))).loss, z, WEIGHT)
    expected = value_and_gradient(lambda x: distilled(0.4, 1, 1, 1)(x, TARGET, t), z, WEIGHT)
    torch.testing.assert_close(got, expected, **EXACT)


def test_an_ensemble_is_the_mean_of_probabilities_and_then_tempered():
    members = [random(ROWS, TYPES, seed=seed) for seed in (1, 2, 3)]
    mean = sum(torch.softmax(t, -1) for t in members) / 3
    u = mean ** (1 / 2.5) / (mean ** (1 / 2.5)).sum(-1, keepdim=True)
    logits = mean_teacher([given_logits(t) for t in members])(torch.arange(ROWS))
    torch.testing.assert_close(torch.softmax(logits / 2.5, -1), u, **EXACT)


@pytest.mark.parametrize("k", [1, 3, TYPES])
def test_stored_probabilities_spread_the_rest_equally_over_all_other_types(k):
    p = torch.softmax(TEACHER, -1)
    known, types = p.topk(k, -1)
    expected = torch.zeros_like(p)
    for row in range(ROWS):
        rest = 1 - sum(known[row].tolist())
        for j in range(TYPES):
            expected[row, j] = p[row, j] if j in types[row] else rest / (TYPES - k)
    rows = torch.tensor([4, 0, 8])
    stored = torch.cat([known, 1 - known.sum(1, keepdim=True)], 1).clamp(min=0)
    got = stored_logits(stored, types, TYPES)(rows)
    torch.testing.assert_close(got.exp(), expected[rows], **EXACT)
    tempered = expected[rows] ** 0.5 / (expected[rows] ** 0.5).sum(-1, keepdim=True)
    torch.testing.assert_close(torch.softmax(got / 2, -1), tempered, atol=1e-8, rtol=1e-8)


def test_stored_probabilities_that_leave_no_rest_are_finite():
    """The other types then have probability 0."""
    known, types = torch.tensor([[0.7, 0.3, 0.0]]), torch.tensor([[2, 0]])
    z = torch.randn(1, 5, requires_grad=True)
    loss = token_loss(z, torch.tensor([4]), Distillation(0.5, stored_logits(known, types, 5))).loss
    loss.backward()
    assert loss.isfinite().all() and z.grad.isfinite().all()


@every_case
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_is_worked_on_in_float32(make, reference, dtype, tolerance):
    z, t = random(ROWS, TYPES).to(dtype), TEACHER.to(dtype)
    value, gradient = value_and_gradient(lambda x: token_loss(x, TARGET, make(given_logits(t))).loss, z, 1)
    full = value_and_gradient(lambda x: reference(x, TARGET, t.double()), z.double(), 1)
    torch.testing.assert_close(value.double(), full[0], atol=1e-6, rtol=1e-5)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.double(), full[1], atol=1e-6, rtol=tolerance)


def test_large_vocabulary_keeps_float32_precision():
    z, t = random(3, 32_000), random(3, 32_000, seed=1)
    target = torch.tensor([5, 31_999, 17_000])
    for make, reference in CASES.values():
        loss = make(given_logits(t.float()))
        value, gradient = value_and_gradient(lambda x, use=loss: token_loss(x, target, use).loss, z.float(), 1)
        exact = value_and_gradient(lambda x, use=reference: use(x, target, t.float().double()), z.float().double(), 1)
        torch.testing.assert_close(value.double(), exact[0], atol=0, rtol=2e-6)
        torch.testing.assert_close(gradient.double(), exact[1], atol=2e-7, rtol=3e-6)
