"""Calibration measures: the published equations, torchmetrics and netcal, and what they must be invariant to."""

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.functional.calibration import TokenStatistics, bin_index, bin_sums
from labo_fairseq.measures import calibration as measures
from labo_fairseq.measures.calibration import (
    adaptive_ece,
    bootstrap_ece,
    ece_of_a_calibrated_model,
    risk_coverage_area,
    wilson_interval,
)

# per set: confidences (any, 1.0, exact edges of 15 and of 4 bins) and correctness
CONFIDENCES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1 / 15, 2 / 15, 0.25, 0.5, 14 / 15]))
TOKENS = st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=60)


def tensors(tokens):
    return torch.tensor([c for c, _ in tokens], dtype=torch.float64), torch.tensor([k for _, k in tokens])


def literal_ece(confidence, correct, bins):
    """Guo et al. 2017, eq. 3, token by token; the last bin is closed on both sides."""
    edges = np.linspace(0, 1, bins + 1)
    gaps, total = [], len(confidence)
    for b in range(bins):
        inside = [
            (c, k)
            for c, k in zip(confidence, correct, strict=True)
            if edges[b] <= c and (c < edges[b + 1] or (b == bins - 1 and c == 1))
        ]
        if inside:
            mean_confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(k for _, k in inside) / len(inside)
            gaps.append((len(inside) / total, abs(accuracy - mean_confidence)))
    return sum(share * gap for share, gap in gaps), max(gap for _, gap in gaps)


@settings(max_examples=200, deadline=None)
@given(TOKENS, st.sampled_from([1, 4, 15]))
def test_ece_and_mce_are_the_published_equations(tokens, bins):
    confidence, correct = tensors(tokens)
    sums = bin_sums(confidence, correct, bins)
    ece, largest = literal_ece(confidence.tolist(), correct.tolist(), bins)
    assert float(measures.ece(sums)) == pytest.approx(ece, abs=1e-12)
    assert float(measures.mce(sums)) == pytest.approx(largest, abs=1e-12)
    assert sums[0].sum() == len(tokens)


@settings(max_examples=100, deadline=None)
@given(TOKENS, st.sampled_from([4, 15]))
def test_equal_to_torchmetrics(torchmetrics, tokens, bins):
    """Bin edges and empty bins included. Of 1.0 exactly it makes a bin of its own, where ours is in the last one."""
    # by its path: a function of the same name hides the module
    calibration_error = importlib.import_module("torchmetrics.functional.classification.calibration_error")
    confidence, correct = tensors(tokens)
    one = confidence == 1
    parts = [bin_sums(confidence[part], correct[part], bins) for part in (~one, one)]
    ece = sum(float((sums[2] - sums[1]).abs().sum()) for sums in parts) / len(tokens)
    largest = max(float(measures.mce(sums)) for sums in parts if sums[0].sum())
    for norm, ours in (("l1", ece), ("max", largest)):
        theirs = calibration_error._ce_compute(confidence, correct, bins, norm)
        assert ours == pytest.approx(float(theirs), abs=1e-12)


def test_equal_to_torchmetrics_from_probabilities(torchmetrics):
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.log_softmax(2 * torch.randn(500, 7, generator=generator, dtype=torch.float64), 1)
    target = torch.randint(7, (500,), generator=generator)
    tokens = TokenStatistics.of(log_probs, target)
    metric = torchmetrics.classification.MulticlassCalibrationError(7, n_bins=15)
    assert float(measures.ece(bin_sums(tokens.confidence, tokens.correct))) == pytest.approx(
        float(metric(log_probs.exp(), target)), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_netcal(seed):
    """Its bins are the same (numpy's histogram: left-closed, the last one closed); its arithmetic is float64."""
    metrics = pytest.importorskip("netcal.metrics", reason="netcal with what it imports is not installed")
    rng = np.random.default_rng(seed)
    confidence = np.concatenate([rng.uniform(0, 1, 300), [1.0, 1.0, 0.0, 0.25, 0.5, 0.75]])
    correct = (rng.uniform(0, 1, confidence.size) < confidence).astype(int)
    sums = bin_sums(torch.from_numpy(confidence), torch.from_numpy(correct), 4)
    assert float(measures.ece(sums)) == pytest.approx(metrics.ECE(4).measure(confidence, correct), abs=1e-9)
    assert float(measures.mce(sums)) == pytest.approx(metrics.MCE(4).measure(confidence, correct), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(TOKENS, min_size=1, max_size=5))
def test_sums_of_parts_are_those_of_the_whole(parts):
    whole = bin_sums(*tensors([token for part in parts for token in part]))
    added = bin_sums(*tensors(parts[0]))
    for part in parts[1:]:
        added = added + bin_sums(*tensors(part))
    torch.testing.assert_close(whole, added)


def test_no_tokens_have_no_measure():
    none = torch.empty(0, dtype=torch.float64)
    sums = bin_sums(none, none.bool())
    for value in (
        measures.ece(sums),
        measures.mce(sums),
        adaptive_ece(none, none.bool()),
        risk_coverage_area(none, none.bool()),
    ):
        assert math.isnan(float(value))


def test_nan_is_not_hidden():
    sums = bin_sums(torch.tensor([0.5, math.nan]), torch.tensor([True, False]))
    assert math.isnan(float(measures.ece(sums)))


def test_float32_confidences_of_one_fall_into_the_last_bin():
    assert bin_index(torch.tensor([1.0, 0.0, 1 - 2**-24]), 15).tolist() == [14, 0, 14]


@settings(max_examples=100, deadline=None)
@given(TOKENS, st.randoms(use_true_random=False), st.sampled_from([1, 3, 15]))
def test_ranking_measures_do_not_depend_on_the_order(tokens, random, bins):
    shuffled = random.sample(tokens, len(tokens))
    for measure in (lambda c, k: adaptive_ece(c, k, bins), risk_coverage_area):
        assert float(measure(*tensors(tokens))) == pytest.approx(float(measure(*tensors(shuffled))), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 6))
def test_ranking_measures_of_distinct_confidences_are_the_literal_ones(correct, bins):
    """Sorted tokens cut into equal parts; the mean error rate of the k most confident, over all k."""
    count = len(correct)
    confidence = [(i + 0.5) / count for i in range(count)]
    got = torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct)
    parts = np.array_split(np.arange(count), bins)
    expected = sum(abs(sum(correct[i] - confidence[i] for i in part)) for part in parts) / count
    assert float(adaptive_ece(*got, bins)) == pytest.approx(expected, abs=1e-12)
    best_first = correct[::-1]
    risks = [1 - sum(best_first[:k]) / k for k in range(1, count + 1)]
    assert float(risk_coverage_area(*got)) == pytest.approx(sum(risks) / count, abs=1e-12)


def test_adaptive_ece_equals_netcals_gaps_weighted_by_their_share():
    """netcal's ACE is the mean of the gaps of its equal-mass bins; with N a multiple of B that is the same."""
    metrics = pytest.importorskip("netcal.metrics", reason="netcal with what it imports is not installed")
    rng = np.random.default_rng(3)
    confidence = np.sort(rng.uniform(0.01, 0.99, 300))
    correct = (rng.uniform(0, 1, 300) < confidence**2).astype(int)
    theirs = metrics.ECE(10, equal_intervals=False).measure(confidence, correct)
    ours = adaptive_ece(torch.from_numpy(confidence), torch.from_numpy(correct), 10)
    assert float(ours) == pytest.approx(theirs, abs=1e-9)


def test_token_statistics_are_literal():
    log_probs = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.5, 0.0]], dtype=torch.float64))
    tokens = TokenStatistics.of(log_probs, torch.tensor([0, 1, 1]))
    assert tokens.confidence.tolist() == pytest.approx([0.7, 0.6, 0.5])
    assert tokens.correct.tolist()[:2] == [True, False]
    assert tokens.nll.tolist() == pytest.approx([-math.log(0.7), -math.log(0.3), -math.log(0.5)])
    assert tokens.brier.tolist() == pytest.approx([0.09 + 0.04 + 0.01, 0.01 + 0.49 + 0.36, 0.5])
    parts = [TokenStatistics.of(log_probs[i : i + 1], torch.tensor([[0, 1, 1][i]])) for i in range(3)]
    for whole, joined in zip(tokens, TokenStatistics.concatenate(parts), strict=True):
        torch.testing.assert_close(whole, joined)


def test_the_calibrated_models_ece_is_that_of_calibrated_samples():
    """One bin, n tokens of confidence 1/2: E|mean − 1/2| of a binomial, by its exact distribution."""
    count = 16
    draws = ece_of_a_calibrated_model(torch.full((count,), 0.5), draws=4000, bins=1)
    exact = sum(math.comb(count, k) * abs(k / count - 0.5) for k in range(count + 1)) / 2**count
    assert float(draws.mean()) == pytest.approx(exact, abs=4 * float(draws.std()) / 4000**0.5)


def test_bootstrap_draws_sentences_not_tokens():
    """All tokens of a sentence are alike: the spread is that of 20 draws, not of 2,000."""
    right = torch.arange(20) % 2 == 0
    sentence = torch.arange(20).repeat_interleave(100)
    values = bootstrap_ece(torch.zeros(2000), right[sentence], sentence, samples=2000, bins=1)
    assert float(values.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(values.std()) == pytest.approx(0.5 / 20**0.5, rel=0.1)


def test_wilson_interval_is_the_textbooks():
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611."""
    low, high = wilson_interval(torch.tensor([81.0, 0.0, 0.0]), torch.tensor([263.0, 20.0, 0.0]))
    assert low[:2].tolist() == pytest.approx([0.2553, 0.0], abs=1e-4)
    assert high[:2].tolist() == pytest.approx([0.3662, 0.1611], abs=1e-4)
    assert np.isnan(low[2]) and np.isnan(high[2])


def test_wilson_interval_holds_its_share():
    count = np.arange(1, 2000.0)
    for correct in (count, np.zeros_like(count)):  # there the share is an end of the interval, but for rounding
        low, high = wilson_interval(correct, count)
        assert (low <= correct / count).all() and (correct / count <= high).all()


def test_recalibration_of_bins_that_rise_goes_through_their_means():
    rows = [{"count": 9, "confidence": c, "accuracy": a} for c, a in ((0.1, 0.2), (0.5, 0.3), (0.9, 1.0))]
    rows.insert(1, {"count": 0, "confidence": math.nan, "accuracy": math.nan})
    found = measures.recalibrated(np.array([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]), rows)
    np.testing.assert_allclose(found, [0.2, 0.2, 0.25, 0.3, 0.65, 1.0, 1.0])


def test_recalibration_pools_bins_that_fall_by_their_counts():
    """A few tokens in a bin cannot make a surer token count less: pooled with its neighbour, (30·0.8 + 10·0.4)/40."""
    rows = [{"count": n, "confidence": c, "accuracy": a} for n, c, a in ((30, 0.2, 0.8), (10, 0.4, 0.4), (5, 0.8, 0.9))]
    np.testing.assert_allclose(measures.recalibrated(np.array([0.2, 0.3, 0.4, 0.8]), rows), [0.7, 0.7, 0.7, 0.9])


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1)), min_size=1, max_size=15))
def test_recalibration_keeps_the_order_and_the_range(bins):
    rows = [
        {"count": n, "confidence": (i + 0.5) / len(bins) if n else math.nan, "accuracy": a if n else math.nan}
        for i, (n, a) in enumerate(bins)
    ]
    if any(n for n, _ in bins):
        found = measures.recalibrated(np.linspace(0, 1, 101), rows)
        assert (np.diff(found) >= -1e-12).all() and found.min() >= 0 and found.max() <= 1 + 1e-12
