"""The theory of Chen et al. 2020: losses against the printed equations, optima against numeric minimisation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from labo_fairseq.errors import UserError
from labo_fairseq.noise import theory as label_noise
from labo_fairseq.noise.theory import TYPES, optimal_mass, uniform_loss, uniform_smoothing
from labo_fairseq.noise.transition import checked, noise_matrix, pair, read_matrix, symmetric

log = math.log
rates, sizes = st.floats(0.05, 0.95), st.integers(2, 30)


def entropy(p):
    return -p * log(p) - (1 - p) * log(1 - p)


# the equations as they are printed
TWO_CLASSES = {
    "alpha": lambda p, a: -a * log(p) - (1 - a) * log(1 - p),
    "beta": lambda p, a: -(a**2) * log(p) - 2 * a * (1 - a) * log(1 - p) - (1 - a) ** 2 * log(p),
    "gamma": lambda p, a: a * entropy(p) - (1 - a) * (p * log(1 - p) + (1 - p) * log(p)),
}


def equation_11(p, a, m):
    return -a * log(p) - (1 - a) * log((1 - p) / (m - 1))


def equation_14(p, a, m):
    wrong = log((1 - p) / (m - 1))
    first = -(a**2) * log(p) - 2 * a * (1 - a) * wrong
    return first - (1 - a) ** 2 / (m - 1) * log(p) - (1 - a) ** 2 * (m - 2) / (m - 1) * wrong


def equation_15(p, a, m):
    wrong = log((1 - p) / (m - 1))
    bracket = p * wrong + (1 - p) * (m - 2) / (m - 1) * wrong + (1 - p) / (m - 1) * log(p)
    return a * (entropy(p) + (1 - p) * log(m - 1)) - (1 - a) * bracket


MANY_CLASSES = {"alpha": equation_11, "beta": equation_14, "gamma": equation_15}


def loss(kind, p, a, classes):
    return float(uniform_loss(kind, torch.tensor(p, dtype=torch.float64), a, classes))


def some_transition(classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(classes, classes, generator=generator, dtype=torch.float64) + torch.eye(classes)
    return weights / weights.sum(0)


@settings(deadline=None)
@given(rates, rates, sizes)
def test_losses_are_the_printed_equations(p, a, classes):
    for kind in TYPES:
        assert loss(kind, p, a, classes) == pytest.approx(MANY_CLASSES[kind](p, a, classes), rel=1e-10)
        assert loss(kind, p, a, 2) == pytest.approx(TWO_CLASSES[kind](p, a), rel=1e-10)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_equations_are_the_matrix_loss_of_uniform_noise(kind, classes):
    for p, a in ((0.3, 0.6), (0.9, 0.8)):
        transition, smoothing = symmetric(classes, 1 - a), uniform_smoothing(classes, p)
        got = float(label_noise.matrix_loss(kind, smoothing, transition))
        assert got == pytest.approx(loss(kind, p, a, classes), rel=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_matrix_losses_are_the_average_over_all_labels(kind):
    """Clean label k, the network saw j, the test shows i: each combination with its probability."""
    classes, transition, smoothing = 3, some_transition(3), some_transition(3, seed=1)
    total = 0.0
    for k in range(classes):
        shown = {"alpha": torch.eye(classes)[:, k], "beta": transition[:, k], "gamma": smoothing[:, k]}[kind]
        for j in range(classes):
            for i in range(classes):
                total -= float(transition[j, k] * shown[i]) * log(smoothing[i, j]) / classes
    assert float(label_noise.matrix_loss(kind, smoothing, transition)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("a", [0.5, 0.8, 0.95])
def test_the_best_beta_mass_is_the_argmin_of_equation_14(classes, a):
    found = minimize_scalar(equation_14, bounds=(1e-9, 1 - 1e-9), args=(a, classes), method="bounded",
                            options={"xatol": 1e-12})  # fmt: skip
    assert optimal_mass("beta", a, classes) == pytest.approx(found.x, abs=1e-6)
    assert optimal_mass("beta", a, classes) == pytest.approx((1 - 2 * a + a * a * classes) / (classes - 1), abs=1e-12)
    assert optimal_mass("alpha", a, classes) == a


def test_two_beta_masses_from_the_paper():
    """2a² − 2a + 1 with two classes (section 3.2); a² in the limit (section 4.2); 0.6444 for M = 10, a = 0.8."""
    assert optimal_mass("beta", 0.7, 2) == pytest.approx(2 * 0.49 - 1.4 + 1, abs=1e-12)
    assert optimal_mass("beta", 0.7, 10**9) == pytest.approx(0.49, abs=1e-8)
    assert optimal_mass("beta", 0.8, 10) == pytest.approx(0.6444, abs=5e-5)


@pytest.mark.parametrize("a, expected", [(0.5, 0.5), (0.74, 0.5), (0.75, 0.5), (0.76, 0.668), (0.9, 0.963)])
def test_gamma_of_two_classes_is_a_half_below_three_quarters(a, expected):
    assert optimal_mass("gamma", a, 2) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("a", [0.2, 0.5, 0.7, 0.8, 0.95, 1.0])
def test_gamma_optimum_is_the_lowest_of_a_fine_scan(classes, a):
    """The loss may have several valleys; the optimum is the lowest one, never above a scan of the whole interval."""
    best = loss("gamma", optimal_mass("gamma", a, classes), a, classes)
    scan = uniform_loss("gamma", torch.linspace(0, 1, 100_001, dtype=torch.float64), a, classes)
    assert best <= float(scan.min()) + 1e-12


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_gamma_transition(classes):
    """Below it p* = 1/M, above it learning pays; it jumps but for two classes."""
    rate, p = label_noise.gamma_transition(classes)
    assert optimal_mass("gamma", rate - 1e-4, classes) == pytest.approx(1 / classes, abs=1e-6)
    above = optimal_mass("gamma", rate + 1e-4, classes)
    assert above > 1 / classes + 1e-3
    if classes == 2:
        assert rate == 0.75
    else:
        assert above == pytest.approx(p, abs=0.02) and p > 1.4 / classes


def minimum_over_matrices(kind, transition):
    """The lowest loss over stochastic S, by gradient descent on its logits."""
    logits = torch.zeros_like(transition, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = label_noise.matrix_loss(kind, torch.softmax(logits, 0), transition)
        value.backward()
        return value

    optimizer.step(closure)
    return torch.softmax(logits, 0).detach()


@pytest.mark.parametrize("kind", ["alpha", "beta"])
@pytest.mark.parametrize(
    "transition", [pair(4, 0.3), some_transition(3), symmetric(5, 0.2)], ids=["pair", "any", "sym"]
)
def test_best_matrices_against_numeric_minimisation(kind, transition):
    best = label_noise.optimal_matrix(kind, transition)
    torch.testing.assert_close(best, minimum_over_matrices(kind, transition), atol=1e-4, rtol=0)
    torch.testing.assert_close(best.sum(0), torch.ones(len(best), dtype=torch.float64))


def test_the_best_matrix_with_pair_noise_is_not_the_papers():
    """α: the posterior puts the doubt on the class before, T itself on the class after; only a symmetric T is both."""
    transition = pair(4, 0.3)
    best = label_noise.optimal_matrix("alpha", transition)
    assert best[0, 1] == pytest.approx(0.3) and transition[0, 1] == 0
    papers = label_noise.matrix_loss("alpha", transition, transition)
    assert papers == math.inf and label_noise.matrix_loss("alpha", best, transition) < 1
    torch.testing.assert_close(label_noise.optimal_matrix("alpha", symmetric(4, 0.3)), symmetric(4, 0.3))
    seen = transition.sum(1)
    torch.testing.assert_close(label_noise.optimal_matrix("beta", transition), transition @ transition.T / seen)


def test_mean_field_is_the_best_uniform_smoothing_under_any_noise():
    for transition in (pair(4, 0.3), some_transition(5)):
        classes = len(transition)
        rate, best = label_noise.mean_field(transition)
        assert rate == pytest.approx(float(transition.diagonal().mean()))
        for kind in TYPES:
            found = minimize_scalar(
                lambda p, k=kind, t=transition: float(label_noise.matrix_loss(k, uniform_smoothing(len(t), p), t)),
                bounds=(1 / classes + 0.01, 1 - 1e-9), method="bounded", options={"xatol": 1e-10},
            )  # fmt: skip
            lowest = label_noise.matrix_loss(kind, uniform_smoothing(classes, best[kind]), transition)
            assert float(lowest) <= found.fun + 1e-12
            if kind != "gamma":
                assert best[kind] == pytest.approx(found.x, abs=1e-5)


@settings(deadline=None)
@given(rates, sizes)
def test_conventions_describe_one_target(p, classes):
    found = label_noise.conventions(p, "target", classes)
    assert found.torch / classes + (1 - found.torch) == pytest.approx(p)
    assert 1 - found.fairseq == pytest.approx(p)
    assert found.torch / classes == pytest.approx(found.fairseq / (classes - 1))
    assert found.fairseq == pytest.approx(found.torch * (classes - 1) / classes)
    assert found.joeynmt / (classes + 1 - 2) == pytest.approx((1 - p) / (classes - 1))
    for form, value in found._asdict().items():
        assert label_noise.conventions(value, form, classes) == pytest.approx(found)


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimal_mass("alpha", 1.2, 10), "clean rate: 1.2 is out of range"),
        (lambda: optimal_mass("beta", 0.5, 1), "1 classes: label noise needs 2 or more"),
        (lambda: noise_matrix("symmetric:1.5", 10), r"symmetric:1.5: 1.5 is out of range: give a rate in \[0, 1\]"),
        (lambda: noise_matrix("symmetric:x", 10), "'x' is no number"),
        (lambda: noise_matrix("uniform:0.1", 10), "no such noise: give symmetric:RATE"),
        (lambda: noise_matrix("pair:0.1", 1), "1 classes: needs 2 or more"),
        (lambda: label_noise.conventions(1.2, "fairseq", 10), "leaves -0.2 on the label"),
        (lambda: checked(torch.tensor([[0.9, 0.2], [0.1, 0.7]]), "T"), "T: column 2 sums to 0.9, 0.1 below 1"),
        (lambda: checked(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), "T"), r"column 1 sums to 1.1.*its rows do: transpose"),
        (lambda: checked(torch.tensor([[1.1, 0.0], [-0.1, 1.0]]), "T"), "row 1, column 1: 1.1 is no probability"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_matrix_files(tmp_path):
    file = tmp_path / "t.txt"
    file.write_text("# noisy × clean\n0.8 0.3333\n\n0.2\t0.6667 # b\n")
    torch.testing.assert_close(read_matrix(file), torch.tensor([[0.8, 0.3333], [0.2, 0.6667]], dtype=torch.float64))
    assert noise_matrix(f"transition:{file}", 2).tolist() == read_matrix(file, 2).tolist()
    for text, classes, message in (
        ("1 0\n0 1\n", 3, "2 rows of 2 numbers: must be 3 × 3"),
        ("1 0\n0\n", None, "2 rows of 1/2 numbers: must be as many rows as columns"),
        ("1 0\n0 one\n", None, "t.txt:2: could not convert string to float: 'one'"),
        ("1\n", None, "1 classes: needs 2 or more"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_matrix(file, classes)
    with pytest.raises(UserError, match="No such file"):
        read_matrix(tmp_path / "none")
