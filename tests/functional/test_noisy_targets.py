"""Losses with a matrix over the classes, in float64 against the equations; the inequalities of Chen et al. 2020."""

import pytest
import torch
import torch.nn.functional as F
from _cases import cross_entropy, forward_correction, logit_smoothing, times

from labo_fairseq.functional import (
    CrossEntropy,
    ForwardCorrection,
    LabelSmoothing,
    LogitSmoothing,
    MatrixLogitSmoothing,
    MatrixSmoothing,
    RDrop,
    TransitionCorrection,
    ZLossAround,
    token_loss,
)
from labo_fairseq.noise.theory import uniform_smoothing

EXACT = {"atol": 1e-12, "rtol": 1e-12}


def some_matrix(types):
    """A stochastic matrix, not symmetric: column j is a distribution, all of them different."""
    generator = torch.Generator().manual_seed(types)
    weights = torch.rand(types, types, generator=generator, dtype=torch.float64) + torch.eye(types)
    return weights / weights.sum(0)


def matrix_smoothing(logits, target):
    """Eq. 2: the target is S y."""
    onehot = F.one_hot(target, logits.size(-1)).to(logits)
    return -((onehot @ some_matrix(logits.size(-1)).T) * torch.softmax(logits, -1).log()).sum(-1)


LOSSES = {
    "correction": (TransitionCorrection, forward_correction(times(some_matrix))),
    "smoothing": (MatrixSmoothing, matrix_smoothing),
    "logits": (MatrixLogitSmoothing, logit_smoothing(times(some_matrix))),
}
each_loss = pytest.mark.parametrize("make, reference", LOSSES.values(), ids=LOSSES)


def rows(types=5, count=7):
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(count, types, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(types, (count,), generator=generator)


@each_loss
@pytest.mark.parametrize("types", [2, 3, 11])
def test_equals_the_published_equation(make, reference, types):
    logits, target = rows(types)
    got = token_loss(logits, target, make(some_matrix(types)))
    expected = reference(logits, target)
    torch.testing.assert_close(got.loss, expected, **EXACT)
    torch.testing.assert_close(got.nll, cross_entropy(logits, target).detach(), **EXACT)
    weight = torch.linspace(0.5, 2, len(target), dtype=torch.float64)
    gradients = [torch.autograd.grad((value * weight).sum(), logits)[0] for value in (got.loss, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@each_loss
def test_gradcheck_and_the_options_around_them(make, reference):
    logits, target = rows(4, 6)
    loss = make(some_matrix(4))
    assert torch.autograd.gradcheck(lambda z: token_loss(z, target, loss).loss, logits)
    got = token_loss(logits, target, ZLossAround(loss, 0.1)).loss
    torch.testing.assert_close(got, reference(logits, target) + 0.1 * logits.logsumexp(-1) ** 2, **EXACT)
    pairs = target.repeat_interleave(2)[:6]
    both = reference(logits, pairs).view(-1, 2).sum(1)
    p, q = torch.softmax(logits[::2], -1), torch.softmax(logits[1::2], -1)
    both += 0.5 * ((p - q) * (p.log() - q.log())).sum(-1)
    torch.testing.assert_close(token_loss(logits, pairs, RDrop(loss, 1.0)).loss[::2], both, **EXACT)


@each_loss
def test_no_class_may_be_ruled_out(make, reference):
    logits, target = rows()
    logits = logits.detach().index_fill(1, torch.tensor([(int(target[0]) + 1) % 5]), float("-inf"))
    with pytest.raises(ValueError, match="no logit may be -inf"):
        token_loss(logits[:1], target[:1], make(some_matrix(5)))


def test_uniform_matrices_are_the_row_algebra():
    logits, target = rows()
    uniform = uniform_smoothing(5, 0.7)
    pairs = [
        (TransitionCorrection(uniform), ForwardCorrection(0.3)),
        (MatrixSmoothing(uniform), LabelSmoothing(0.3, "fairseq")),
        (MatrixLogitSmoothing(uniform), LogitSmoothing(0.3 * 5 / 4)),
    ]
    for general, special in pairs:
        torch.testing.assert_close(
            token_loss(logits, target, general).loss, token_loss(logits, target, special).loss, **EXACT
        )


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_logit_smoothing_is_cross_entropy_at_another_temperature(alpha):
    logits, target = rows()
    got = token_loss(logits, target, LogitSmoothing(alpha)).loss
    torch.testing.assert_close(got, F.cross_entropy(logits * (1 - alpha), target, reduction="none"), **EXACT)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9, 1.0])
def test_forward_correction_at_its_limits(rate):
    """No noise is cross entropy, however small p is; rate 1 is the likelihood of not being the label."""
    logits = torch.tensor([[0.0, 800.0, 0.0], [800.0, 0.0, 0.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
    target = torch.tensor([0, 0, 0])
    got = token_loss(logits, target, ForwardCorrection(rate)).loss
    if rate == 0:
        torch.testing.assert_close(got, token_loss(logits, target, CrossEntropy()).loss, **EXACT)
    elif rate == 1:
        p = torch.softmax(logits[2], -1)[0]
        torch.testing.assert_close(got[2], -torch.log((1 - p) / 2), **EXACT)
    else:
        expected = forward_correction(times(lambda types: uniform_smoothing(types, 1 - rate)))(logits, target)
        torch.testing.assert_close(got, expected, **EXACT)


def test_a_label_that_the_transition_rules_out_has_a_finite_loss():
    never = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0]], requires_grad=True)
    out = token_loss(logits, torch.tensor([0, 1]), TransitionCorrection(never))
    out.loss.sum().backward()
    assert out.loss.isfinite().all() and out.loss[0] > 80 and logits.grad.isfinite().all()
    assert float(out.loss[1].detach()) == pytest.approx(0, abs=1e-6)


def test_of_the_papers_inequalities_the_first_holds_and_the_second_does_not():
    """Eq. 18 and 19 with M = 2, logits (10, 0), p = 0.9, as log-likelihoods summed over the labels."""
    logits, labels = torch.tensor([[10.0, 0.0]] * 2, dtype=torch.float64), torch.tensor([0, 1])
    smoothing = uniform_smoothing(2, 0.9)
    label, forward, logit = (
        -token_loss(logits, labels, make(smoothing)).loss.sum()
        for make in (MatrixSmoothing, TransitionCorrection, MatrixLogitSmoothing)
    )
    assert label < forward  # Jensen's inequality
    assert forward > logit + 5  # the paper claims ≤
    # by hand: log σ(10) = −4.54e-5, T f = (0.899964, 0.100036), S h = (9, 1)
    assert float(label) == pytest.approx(-10.0000908, abs=1e-6)
    assert float(forward) == pytest.approx(-2.407623, abs=1e-6)
    assert float(logit) == pytest.approx(-8.000671, abs=1e-5)


def test_label_smoothing_bounds_forward_correction_for_every_label():
    logits, target = rows(5, 200)
    for p in (0.3, 0.9):
        smoothing = uniform_smoothing(5, p)
        upper, lower = (token_loss(logits, target, m(smoothing)).loss for m in (MatrixSmoothing, TransitionCorrection))
        assert (upper >= lower - 1e-12).all()
