"""Correlations against counting by hand, and intervals that hold the value in about 95 of 100 samples."""

import itertools

import numpy as np
import pytest

from labo_fairseq.measures.correlation import correlations


def by_hand(x, y):
    """tau-b: (concordant − discordant) / sqrt of the pairs untied in x times those untied in y (Kendall 1945)."""
    pairs = [(np.sign(a - b), np.sign(c - d)) for (a, c), (b, d) in itertools.combinations(zip(x, y, strict=True), 2)]
    return sum(s * t for s, t in pairs) / np.sqrt(sum(s != 0 for s, _ in pairs) * sum(t != 0 for _, t in pairs))


@pytest.mark.parametrize("seed", range(4))
def test_values(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(6, size=30)
    y = x + rng.normal(size=30).round(1) * (seed + 1)
    found = correlations(x, y, samples=20)
    assert found["kendall"].value == pytest.approx(by_hand(x, y))
    assert found["pearson"].value == pytest.approx(np.corrcoef(x, y)[0, 1])
    for one in found.values():
        assert one.low < one.value < one.high


def test_intervals_hold_the_value_of_the_population():
    """Two normals with r = 0.6; of 60 sets of 80 pairs 57 intervals are expected to hold it, and not all."""
    rng, inside = np.random.default_rng(3), 0
    for _ in range(60):
        x = rng.normal(size=80)
        y = 0.6 * x + 0.8 * rng.normal(size=80)
        one = correlations(x, y, samples=200)["pearson"]
        inside += one.low <= 0.6 <= one.high
    assert 51 <= inside < 60


def test_a_constant_has_none():
    found = correlations(np.zeros(5), np.arange(5.0), samples=5)
    assert all(np.isnan([one.value, one.low, one.high]).all() for one in found.values())


def test_the_same_seed_gives_the_same_interval():
    x, y = np.arange(20.0), np.arange(20.0) % 7
    assert correlations(x, y, samples=50, seed=4) == correlations(x, y, samples=50, seed=4)
    assert correlations(x, y, samples=50, seed=4) != correlations(x, y, samples=50, seed=5)
