"""The probability that a translation is good: the model, its fitting, and `labo sentence-confidence`."""

import json
import math

import numpy as np
import pytest
from _analysis import entry, labo, write
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.calibration.file import load
from labo_fairseq.decoding.sentence_confidence import SentenceConfidence, features, risk_coverage_rows
from labo_fairseq.functional.calibrators import Temperature
from labo_fairseq.measures.calibration import auroc

WORDS = [f"wort{i}" for i in range(50)]


def test_features_are_those_of_the_docstring():
    np.testing.assert_allclose(features([-1.0, -0.5, -3.0]), [-1.5, -3.0, math.log(3)])
    assert np.isfinite(features([-math.inf, 0.0])).all()


def test_a_known_model_is_found():
    """Labels drawn from a logistic model with known weights; standard errors of the fit are below 0.05."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20000, 3)) * [0.5, 2.0, 1.0] + [-1, -4, 2]
    truth, bias = np.array([2.0, 0.5, -1.0]), 3.0
    p = 1 / (1 + np.exp(-(rows @ truth + bias)))
    model = SentenceConfidence.fit(rows, rng.random(len(p)) < p, 50)
    np.testing.assert_allclose(model.weights, truth, atol=0.15)
    assert model.bias == pytest.approx(bias, abs=0.4)
    fitted = 1 / (1 + np.exp(-(rows @ np.array(model.weights) + model.bias)))
    assert np.abs(fitted - p).mean() < 0.01


def test_classes_that_can_be_told_apart_exactly_leave_finite_weights():
    rows = np.column_stack([np.arange(40.0), np.zeros(40), np.ones(40)])
    model = SentenceConfidence.fit(rows, np.arange(40) >= 20, 50)
    assert np.isfinite([*model.weights, model.bias]).all() and model.weights[0] > 0


def test_json_round_trip_and_damage():
    model = SentenceConfidence((1.0, 2.0, 3.0), -0.5, 40.0)
    record = json.loads(json.dumps(model.to_json()))
    assert SentenceConfidence.from_json(record) == model
    for damage in ({"weights": [1.0]}, {"features": ["other"]}, {"bias": math.nan}, {"chrf": "x"}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            SentenceConfidence.from_json({**record, **damage})


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_measures_against_their_definitions(pairs):
    confidence, good = np.array([c for c, _ in pairs]), np.array([g for _, g in pairs])
    rows = risk_coverage_rows(confidence, good)
    assert len(rows) == len(pairs) and rows[-1]["coverage"] == 1 and rows[-1]["risk"] == pytest.approx(1 - good.mean())
    assert [row["threshold"] for row in rows] == sorted(confidence, reverse=True)
    if good.any() and not good.all():
        wins = [(a > b) + (a == b) / 2 for a in confidence[good] for b in confidence[~good]]
        assert auroc(confidence, good) == pytest.approx(np.mean(wins))


@pytest.fixture
def log(tmp_path):
    """A validation log whose translations are the worse the lower their scores are, with noise."""
    rng = np.random.default_rng(1)
    text = ""
    for i in range(300):
        target = [WORDS[k] for k in rng.integers(50, size=8)]
        share = rng.random()
        hypothesis = [word if rng.random() < share else "xyzzy" for word in target]
        scores = -(1.2 - share) * rng.uniform(0.5, 1.5, size=9)
        line = " ".join(hypothesis)
        text += entry(i, line, target=" ".join(target), score=float(scores.mean()), positional=scores)
    return write(tmp_path / "generate-valid.txt", text)


@pytest.fixture
def file(calibrate, checkpoints):
    return calibrate((checkpoints[0], Temperature(1.25)), measures={"before": {"ece": 0.1}})


def test_the_command_completes_the_calibration_file(log, file):
    done = labo("sentence-confidence", log, "--calibration", file, "--chrf", 45, "--json")
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)
    assert measures["n"] == 150 and measures["auroc"] > 0.8 and measures["ece"] < 0.15
    found = load(file)
    assert found.members[0].calibrator == Temperature(1.25) and found.measures == {"before": {"ece": 0.1}}
    model = SentenceConfidence.from_json(found.sentence_confidence)
    assert model.chrf == 45 and model.probability([-0.1] * 9) > 0.8 > 0.3 > model.probability([-1.3] * 9)
    curve = (file.parent / "sentence-confidence.tsv").read_text().splitlines()
    assert curve[0] == "coverage\tthreshold\trisk" and len(curve) == 151
    assert (file.parent / "sentence-confidence.png").exists()
    # selecting confident translations leaves fewer bad ones
    assert float(curve[50].split("\t")[2]) < 0.5 * float(curve[-1].split("\t")[2])
    assert measures["aurc"] == pytest.approx(np.mean([float(line.split("\t")[2]) for line in curve[1:]]), abs=1e-5)
    table = labo("sentence-confidence", log, "--calibration", file, "--chrf", 45).stdout.splitlines()
    assert len(table) == 2 and table[1].split("\t")[-1] == "sentence-confidence|bins:15|split:odd-ids|n:150"


@pytest.mark.slow
def test_bad_input_is_refused_in_one_line(log, file, tmp_path):
    no_targets = write(tmp_path / "a.txt", "".join(entry(i, "a b").replace("T-", "X-") for i in range(3)))
    for arguments, message in [
        ((log, "--calibration", file, "--chrf", 101), "0 of 150 translations with even ids reach chrF2 101"),
        ((no_targets, "--calibration", file), "has no T- lines"),
        ((tmp_path / "nowhere", "--calibration", file), "nowhere: No such file"),
        ((log, "--calibration", log), "not a calibration file"),
    ]:
        done = labo("sentence-confidence", *arguments)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert load(file).sentence_confidence is None
