"""Calibrators against their equations, term by term in float64, and what they must be invariant to."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.functional import calibrators
from labo_fairseq.functional.calibrators import Adaptive, Grouped, Temperature

K, EOS = 6, 2
GROUPS = torch.tensor([0, 1, 2, 0, 1, 1])
LOGITS = st.lists(st.lists(st.floats(-20, 20), min_size=K, max_size=K), min_size=1, max_size=4)
ABOVE_0 = st.floats(0.2, 5)


def steps(rows):
    """Logits (n, K), positions and source lengths."""
    logits = torch.tensor(rows, dtype=torch.float64)
    return logits, torch.arange(len(rows)), torch.arange(len(rows)) + 3


def literal_log_softmax(row):
    peak = max(row)
    total = sum(math.exp(x - peak) for x in row if x > -math.inf)
    return [x - peak - math.log(total) for x in row]


@settings(deadline=None)
@given(LOGITS, ABOVE_0)
def test_temperature_divides_the_logits(rows, temperature):
    got = Temperature(temperature).log_probs(*steps(rows))
    for row, log_probs in zip(rows, got.tolist(), strict=True):
        assert log_probs == pytest.approx(literal_log_softmax([x / temperature for x in row]), abs=1e-9)


@settings(deadline=None)
@given(LOGITS, st.lists(ABOVE_0, min_size=3, max_size=3), st.floats(-3, 3))
def test_grouped_is_its_equation(rows, temperatures, bias):
    calibrator = Grouped(torch.tensor(temperatures, dtype=torch.float64), GROUPS, EOS, bias)
    for row, log_probs in zip(rows, calibrator.log_probs(*steps(rows)).tolist(), strict=True):
        scaled = [(x - max(row)) / temperatures[GROUPS[j]] + bias * (j == EOS) for j, x in enumerate(row)]
        assert log_probs == pytest.approx(literal_log_softmax(scaled), abs=1e-8)


@settings(deadline=None)
@given(LOGITS, st.lists(st.floats(-0.3, 0.3), min_size=5, max_size=5), st.floats(-3, 3))
def test_adaptive_is_its_equation(rows, weights, bias):
    calibrator = Adaptive(torch.tensor(weights, dtype=torch.float64), EOS, bias)
    got = calibrator.log_probs(*steps(rows))
    for i, (row, log_probs) in enumerate(zip(rows, got.tolist(), strict=True)):
        plain = literal_log_softmax(row)
        entropy = -sum(math.exp(x) * x for x in plain)
        top = sorted(row)[-2:]
        features = [1, entropy / math.log(K), top[1] - top[0], math.log(1 + i), math.log(i + 3)]
        temperature = math.exp(sum(w * f for w, f in zip(weights, features, strict=True)))
        scaled = [x / temperature + bias * (j == EOS) for j, x in enumerate(row)]
        assert log_probs == pytest.approx(literal_log_softmax(scaled), rel=1e-6, abs=1e-7)


@settings(deadline=None)
@given(LOGITS, ABOVE_0)
def test_equal_temperatures_are_the_scalar(rows, temperature):
    grouped = Grouped(torch.full((3,), temperature, dtype=torch.float64), GROUPS, EOS, 0.0)
    constant = torch.tensor([math.log(temperature), 0, 0, 0, 0], dtype=torch.float64)
    expected = Temperature(temperature).log_probs(*steps(rows))
    for calibrator in (grouped, Adaptive(constant)):
        torch.testing.assert_close(calibrator.log_probs(*steps(rows)), expected, atol=1e-9, rtol=1e-9)


CALIBRATORS = [
    Temperature(1.3),
    Grouped(torch.tensor([0.7, 1.2, 2.0]), GROUPS, EOS, 0.4),
    Adaptive(torch.tensor([0.1, 0.2, -0.02, 0.05, 0.03]), EOS, -0.5),
]


@settings(deadline=None)
@given(LOGITS, st.floats(-100, 100))
@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: type(c).__name__)
def test_a_common_offset_of_the_logits_changes_nothing(calibrator, rows, offset):
    logits, *rest = steps(rows)
    got = calibrator.log_probs(logits + offset, *rest)
    torch.testing.assert_close(got, calibrator.log_probs(logits, *rest), atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: type(c).__name__)
def test_a_type_that_is_ruled_out_stays_so(calibrator):
    """−inf: probability 0, and the others' are those of a model without that type."""
    logits, positions, lengths = steps([[1.0, 2.0, 0.5, -1.0, 0.0, 3.0]])
    logits[0, 4] = -math.inf
    got = calibrator.log_probs(logits, positions, lengths)
    assert got[0, 4] == -math.inf
    assert float(got.exp().sum()) == pytest.approx(1)
    kept = [0, 1, 2, 3, 5]
    if isinstance(calibrator, Grouped):
        calibrator = Grouped(calibrator.temperatures, GROUPS[kept], EOS, calibrator.eos_bias)
    torch.testing.assert_close(got[:, kept], calibrator.log_probs(logits[:, kept], positions, lengths))


@pytest.mark.parametrize("calibrator", CALIBRATORS, ids=lambda c: type(c).__name__)
def test_shapes_types_and_the_input(calibrator):
    """Any leading dimensions; half precision comes back as float32; the logits are left as they are."""
    logits = torch.randn(2, 3, K, generator=torch.Generator().manual_seed(0))
    positions, lengths = torch.tensor([[0, 1, 2], [0, 1, 2]]), torch.tensor([[4, 4, 4], [7, 7, 7]])
    before = logits.clone()
    got = calibrator.log_probs(logits, positions, lengths)
    assert (logits == before).all()
    flat = calibrator.log_probs(logits.view(6, K), positions.view(6), lengths.view(6))
    torch.testing.assert_close(got.view(6, K), flat)
    half = calibrator.log_probs(logits.bfloat16(), positions, lengths)
    assert half.dtype == torch.float32 and bool(half.isfinite().all())
    moved = calibrator.to("cpu")
    assert (moved.log_probs(logits, positions, lengths) == got).all()


def test_temperature_one_is_the_model_itself_bit_for_bit():
    logits = torch.randn(4, K, generator=torch.Generator().manual_seed(0))
    assert (Temperature(1.0).log_probs(logits) == torch.log_softmax(logits, -1)).all()


@pytest.mark.parametrize("block", [1, 700, 1 << 20])
@pytest.mark.parametrize("types", [2, 3, 255, 511, 512, 513, 1000, 4056])
def test_features_are_those_of_the_definition(types, block, monkeypatch):
    """Rows in blocks, types in groups: ties, the two largest in one group, in two, in what no group holds."""
    monkeypatch.setattr(calibrators, "_BLOCK", block)
    logits = 3 * torch.randn(9, types, generator=torch.Generator().manual_seed(types), dtype=torch.float64)
    logits[0, :2] = 20.0  # a tie, side by side
    logits[1, [0, -1]] = torch.tensor([20.0, 21.0], dtype=torch.float64)  # at the two ends
    logits[2, -2:] = torch.tensor([20.0, 22.0], dtype=torch.float64)
    logits[3] = 0.0
    logits[4, 2:] = -math.inf
    logits[5, types // 2] = 500.0  # all others have probability 0
    positions, lengths = torch.arange(9), torch.arange(1, 10)
    got = Adaptive.features(logits, positions, lengths)
    for i, row in enumerate(logits):
        p = torch.softmax(row, 0)
        entropy = -sum(float(x * x.log()) for x in p if x > 0)
        known = sum(math.isfinite(x) for x in row.tolist())
        second, first = sorted(row.tolist())[-2:]
        expected = [1, entropy / math.log(known), first - second, math.log1p(i), math.log(i + 1)]
        assert got[i].tolist() == pytest.approx(expected, abs=1e-9), i
