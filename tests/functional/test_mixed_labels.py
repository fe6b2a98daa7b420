"""Mixup and pairwise label smoothing against the papers' equations, written down literally in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.functional import MixedLabels, RDrop, ZLossAround, distribution_loss, learned_distribution, token_loss

K = 10


@pytest.fixture
def rows():
    """(logits with a gradient, first labels, second labels, smoothing distributions) of 7 rows, two of one class."""
    torch.manual_seed(1)
    logits = (3 * torch.randn(7, K, dtype=torch.float64)).requires_grad_()
    target, partner = torch.randint(K, (7,)), torch.randint(K, (7,))
    partner[2] = target[2]
    return logits, target, partner, torch.rand(7, K, dtype=torch.float64).softmax(1)


def published(logits, target, partner, share, mass, u):
    """Eq. 8, 14 and 15 of Guo (2020), row by row; (losses, negative log-likelihoods of the labels)."""
    losses, plain = [], []
    for z, k, j, spread in zip(logits, target.tolist(), partner.tolist(), u, strict=True):
        p = [torch.exp(z[y]) / torch.exp(z).sum() for y in range(K)]
        q = [share * (y == k) + (1 - share) * (y == j) for y in range(K)]
        hard = -sum(q[y] * torch.log(p[y]) for y in range(K))
        soft = -sum(spread[y] * torch.log(p[y]) for y in range(K))
        losses.append((1 - mass) * hard + mass * soft)
        plain.append(hard)
    return torch.stack(losses), torch.stack(plain)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("mass", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["learned", "uniform"])
def test_value_and_gradient_are_the_published_ones(rows, share, mass, kind):
    logits, target, partner, u = rows
    distribution = (lambda index: u[index]) if kind == "learned" else None
    spread = u if kind == "learned" else torch.full_like(u, 1 / K)
    out = token_loss(logits, target, MixedLabels(partner, share, mass, distribution))
    expected, plain = published(logits, target, partner, share, mass, spread)
    torch.testing.assert_close(out.loss, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(out.nll, plain.detach(), rtol=1e-13, atol=1e-13)
    got, wanted = (torch.autograd.grad(x.sum(), logits)[0] for x in (out.loss, expected))
    torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-14)


def test_mixup_is_the_released_loss(rows):
    """λ·CE(z, a) + (1−λ)·CE(z, b), of mixup-cifar10."""
    logits, target, partner, _ = rows
    expected = 0.3 * F.cross_entropy(logits, target) + 0.7 * F.cross_entropy(logits, partner)
    got = token_loss(logits, target, MixedLabels(partner, 0.3)).loss.mean()
    torch.testing.assert_close(got, expected)


def test_uniform_mass_of_one_image_is_torchs_label_smoothing(rows):
    logits, target, _, _ = rows
    got = token_loss(logits, target, MixedLabels(target, 1.0, 0.2)).loss
    torch.testing.assert_close(got, F.cross_entropy(logits, target, label_smoothing=0.2, reduction="none"))


def test_gradient_through_the_learned_distribution():
    """Against finite differences of the value, in features, last layer and second layer: both paths into S."""
    torch.manual_seed(2)
    features, head, last = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (K, 4), (K, 4)))
    target, partner = torch.tensor([0, 3, 3, 9, 1]), torch.tensor([4, 3, 2, 0, 8])

    def loss(features, head, last):
        u = learned_distribution(features @ head.T)
        logits = features @ last.T
        labels = MixedLabels(partner, 0.5, 0.5, lambda index: u.detach()[index])
        through_u = distribution_loss(u, logits, 0.5)
        return token_loss(logits, target, labels).loss.sum() + (through_u - through_u.detach())

    inputs = [x.requires_grad_() for x in (features, head, last)]
    # numerically u' is not detached: the value sees it change
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-8, rtol=1e-7)

    def literal(features, head, last):
        u = torch.softmax(torch.sigmoid(features @ head.T), 1)
        return published(features @ last.T, target, partner, 0.5, 0.5, u)[0].sum()

    got, wanted = (torch.autograd.grad(f(*inputs), inputs) for f in (loss, literal))
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-13)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=K, max_size=K))
def test_learned_mass_lies_within_the_bounds_of_the_sigmoid(values):
    """1/(1+9e) = 0.0393 and e/(e+9) = 0.2320 for K = 10, so a true class never has more than 0.616 or 0.366."""
    u = learned_distribution(torch.tensor([values], dtype=torch.float64))
    assert u.sum().item() == pytest.approx(1)
    assert u.min() >= 1 / (1 + 9 * math.e) - 1e-12 and u.max() <= math.e / (math.e + 9) + 1e-12


def test_the_bounds_are_reached():
    u = learned_distribution(torch.tensor([[1e4] + [-1e4] * 9, [-1e4] + [1e4] * 9]))
    assert [round(u[0, 0].item(), 3), round(u[1, 0].item(), 3)] == [0.232, 0.039]


def test_with_z_loss_and_two_passes(rows):
    """z-loss adds its term; of R-Drop's pairs of rows both have the labels and the distribution of their token."""
    logits, target, partner, u = rows
    labels = MixedLabels(partner, 0.5, 0.5, lambda index: u[index])
    plain, _ = published(logits, target, partner, 0.5, 0.5, u)
    got = token_loss(logits, target, ZLossAround(labels, 0.1)).loss
    torch.testing.assert_close(got, plain + 0.1 * logits.logsumexp(1) ** 2)
    twice = logits.detach().repeat_interleave(2, 0)
    got = token_loss(twice, target.repeat_interleave(2), RDrop(labels, 1.0)).loss[::2]
    torch.testing.assert_close(got, 2 * plain.detach())


def test_a_class_that_the_model_rules_out_has_no_uniform_mass():
    logits = torch.randn(1, 4, dtype=torch.float64)
    logits[0, 3] = -math.inf
    got = token_loss(logits, torch.tensor([0]), MixedLabels(torch.tensor([1]), 0.5, 0.3)).loss
    log_p = torch.log_softmax(logits[0, :3], 0)
    torch.testing.assert_close(got[0], -(0.35 * (log_p[0] + log_p[1]) + 0.1 * log_p.sum()))
