"""The estimator of mutual information of Müller et al. (2019) on data whose mutual information is known."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.errors import UserError
from labo_fairseq.figures import style as figures
from labo_fairseq.inside.information import estimate


def draws_of(means, deviation, times, seed=0):
    return means[:, None] + deviation * np.random.default_rng(seed).normal(size=(len(means), times))


def normal_means(spread, count=500):
    """Quantiles of N(0, spread²), which are normal without the chance of a sample."""
    return np.array([NormalDist(0, 1).inv_cdf((i + 0.5) / count) for i in range(count)]) * spread


def literal(draws, inner_runs_over_the_means=True):
    """The printed formula, a term at a time; y is each draw in turn."""
    images, times = draws.shape
    means = draws.mean(1)
    variance = sum((draws[x, i] - means[x]) ** 2 for x in range(images) for i in range(times)) / (images * times)
    total = 0.0
    for x in range(images):
        for i in range(times):
            y = draws[x, i]
            if inner_runs_over_the_means:
                inner = sum(math.exp(-((y - means[o]) ** 2) / (2 * variance)) for o in range(images)) / images
            else:
                # read to the letter: y is that of the inner sum's x too
                inner = sum(math.exp(-((draws[o, i] - means[o]) ** 2) / (2 * variance)) for o in range(images)) / images
            total += -((y - means[x]) ** 2) / (2 * variance) - math.log(inner)
    return total / (images * times)


def test_the_formula_term_by_term():
    draws = draws_of(np.random.default_rng(3).normal(size=12), 0.4, 4)
    assert estimate(draws).information == pytest.approx(literal(draws), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_read_to_the_letter_it_is_never_positive(seed):
    """Why Wagner et al. could not reproduce the figure: with one letter x the formula is no mutual information."""
    rng = np.random.default_rng(seed)
    assert literal(rng.normal(size=(10, 1)) + rng.normal(size=(10, 3)), False) <= 1e-12


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(2, 12), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_bounds(images, times, deviation, seed):
    """At most log N, since every term of the inner sum is positive; at least −1/2, the mean of the first term."""
    rng = np.random.default_rng(seed)
    found = estimate(draws_of(rng.standard_cauchy(images), deviation, times, seed))
    assert -0.5 - 1e-9 <= found.information <= found.bound + 1e-9
    assert -0.5 - 1e-9 <= found.held_out <= found.bound + 1e-9
    assert found.bound == pytest.approx(math.log(images))


def test_independent_data_have_none():
    """0 within its error once the bias is taken off, and with many draws without that."""
    found = [estimate(draws_of(np.zeros(600), 1.0, 5, seed)).corrected for seed in range(20)]
    assert abs(np.mean(found)) < 3 * np.std(found, ddof=1) / math.sqrt(20) + 0.003
    many = estimate(draws_of(np.zeros(600), 1.0, 100))
    assert abs(many.information - many.bias) < 3 * many.error and many.information < 0.02


@pytest.mark.parametrize("times", [3, 6, 20])
def test_held_out_it_is_negative_without_information(times):
    """L' = L−1 draws in a mean: σ² = 1+1/L', the means' variance 1/L' around y's own; the integrals are normal ones."""
    found = np.mean([estimate(draws_of(np.zeros(500), 1.0, times, seed)).held_out for seed in range(3)])
    variance, of_means = 1 + 1 / (times - 1), 1 / (times - 1)
    expected = -0.5 + 0.5 * math.log((variance + of_means) / variance) + 0.5 / (variance + of_means)
    assert found == pytest.approx(expected, abs=0.01) and found < 0


def test_held_out_and_not_enclose_the_truth():
    found, truth = estimate(draws_of(normal_means(2), 1.0, 5)), 0.5 * math.log(5)
    assert found.held_out < truth < found.information
    assert found.held_out == pytest.approx(truth - found.bias, abs=0.05)


@pytest.mark.parametrize(("clusters", "truth"), [(2, math.log(2)), (10, math.log(10)), (600, math.log(600))])
def test_perfectly_separated_data(clusters, truth):
    """Two clusters far apart tell the label, log 2; images that never overlap tell everything, log N."""
    means = 1000.0 * (np.arange(600) % clusters)
    found = estimate(draws_of(means, 1.0, 80))
    assert found.information == pytest.approx(truth, abs=0.01)
    assert found.information <= found.bound + 1e-9


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("times", [2, 5, 20])
def test_the_bias_at_few_draws(spread, times):
    """Means N(0, spread²), noise N(0, 1): the truth is ½·log(1 + spread²), the bias ½·log(L/(L−1))."""
    runs = [estimate(draws_of(normal_means(spread), 1.0, times, seed)) for seed in range(5)]
    truth, bias = 0.5 * math.log(1 + spread**2), 0.5 * math.log(times / (times - 1))
    assert np.mean([one.information for one in runs]) - truth == pytest.approx(bias, abs=0.03)
    assert np.mean([one.corrected for one in runs]) == pytest.approx(truth, abs=0.03)


def test_the_error_is_that_of_the_images():
    """The spread of the estimate over data sets, within a factor that 40 of them can show."""
    runs = [estimate(draws_of(np.random.default_rng(seed).normal(size=300), 0.3, 5, seed + 100)) for seed in range(40)]
    spread = np.std([one.information for one in runs], ddof=1)
    assert 0.5 < spread / np.mean([one.error for one in runs]) < 2


def test_nothing_random_is_an_error():
    for draws in (np.ones((5, 3)), np.arange(5.0)[:, None].repeat(3, 1), np.arange(5.0)[:, None]):
        with pytest.raises(UserError, match="under every augmentation"):
            estimate(draws)


def test_the_figure_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    series = {"hard": [(2, 0.7, 0.01), (1, 0.5, 0.01)], "_one seed": [(1, 0.4, None)]}
    figure = figures.lines(series, "x", "y", "title", log_x=True, levels=[(math.log(2), "log 2")])
    figure.savefig(tmp_path / "x.png")
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2]
