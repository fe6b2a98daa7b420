"""The clean rate from held-out predictions: made-up models whose noise is known, limits, cleanlab's answer."""

import json

import numpy as np
import pytest

from labo_fairseq import cli
from labo_fairseq.measures.classification import log_probabilities
from labo_fairseq.noise import estimate as noise_estimate
from labo_fairseq.records import predictions


def made_up(clean_rate, count=4000, classes=10, sharpness=4.0, seed=0):
    """Predictions of a calibrated model of the clean class, softmax(z), with uniformly noisy labels."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(count, classes))
    z[np.arange(count), rng.integers(classes, size=count)] += sharpness * rng.exponential(2, count)
    p = np.exp(log_probabilities(z))
    clean = (rng.random(count)[:, None] > p.cumsum(1)[:, :-1]).sum(1)
    wrong = rng.random(count) > clean_rate
    noisy = np.where(wrong, (clean + rng.integers(1, classes, count)) % classes, clean)
    names = tuple(map(str, range(classes)))
    return predictions.Predictions(z.astype(np.float32), noisy, names, "valid", ".", "", clean)


@pytest.mark.parametrize("clean_rate", [0.5, 0.65, 0.8, 0.9, 0.97])
def test_a_calibrated_model_gives_its_clean_rate(clean_rate):
    found = noise_estimate.mean_field(made_up(clean_rate), samples=40)
    assert found.low <= clean_rate <= found.high and found.low < found.clean_rate < found.high
    assert found.high - found.low < 0.08
    assert found.temperature == pytest.approx(1, abs=0.35)


def test_logits_of_any_scale_give_the_same_rate():
    one = made_up(0.8)
    scaled = predictions.Predictions(3 * one.logits, *[getattr(one, f) for f in predictions._FIELDS[1:]])
    first, second = (noise_estimate.mean_field(p, samples=1) for p in (one, scaled))
    assert second.clean_rate == pytest.approx(first.clean_rate, abs=1e-3)
    assert second.temperature == pytest.approx(3 * first.temperature, rel=0.02)


def test_a_models_own_mistakes_are_not_noise():
    """Agreement with the labels is far below the clean rate where the model is often unsure."""
    unsure = made_up(0.9, sharpness=1.0)
    agreement = (unsure.logits.argmax(1) == unsure.labels).mean()
    found = noise_estimate.mean_field(unsure, samples=1)
    assert agreement < 0.75 and found.clean_rate == pytest.approx(0.9, abs=0.05)


def test_labels_that_all_agree_are_clean():
    sure = made_up(1.0, sharpness=50.0)
    labels = sure.logits.argmax(1)
    sure = predictions.Predictions(sure.logits, labels, *[getattr(sure, f) for f in predictions._FIELDS[2:]])
    assert noise_estimate.mean_field(sure, samples=2).clean_rate > 0.999


def test_the_likelihood_is_the_mixture():
    one = made_up(0.8, count=50)
    p = np.exp(log_probabilities(one.logits, 2.0))
    noisy = 0.7 * p + 0.3 / 9 * (1 - p)  # kept, or changed from another class
    expected = -np.log(noisy[np.arange(50), one.labels]).mean()
    got = noise_estimate.negative_log_likelihood(one.logits, one.labels, 0.7, 2.0)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("noise", ["pair", "uniform"])
def test_noise_that_looks_like_doubt_is_warned_of(tmp_path, capsys, noise):
    """A model that has learned that a fifth of the labels is of the next class; or uniform noise, and a sure model."""
    one = made_up(0.8, sharpness=20.0)
    rows = np.arange(len(one))
    p = np.full(one.logits.shape, 1e-4)
    p[rows, one.clean_labels] = 1
    labels = one.labels
    if noise == "pair":
        following = (one.clean_labels + 1) % 10
        p[rows, following] = 0.25
        labels = np.where(np.random.default_rng(1).random(len(one)) < 0.2, following, one.clean_labels)
    found = predictions.Predictions(
        np.log(p).astype(np.float32), labels, one.classes, "valid", ".", "", one.clean_labels
    )
    predictions.write(found, tmp_path / "checkpoint_best.valid.npz")
    assert cli.main(["noise", "estimate", str(tmp_path), "--samples", "2", "--json"]) == 0
    out, error = capsys.readouterr()
    (row,) = json.loads(out)
    assert row["agreement"] == pytest.approx(0.8, abs=0.02)
    if noise == "pair":
        assert row["clean_rate"] > 0.95 and "the noise is not uniform" in error
    else:
        assert row["clean_rate"] == pytest.approx(0.8, abs=0.02) and not error


def test_cleanlab_comes_near_on_a_sharp_model():
    pytest.importorskip("cleanlab", reason="optional: pip install 'labo_fairseq[noise]'")
    assert noise_estimate.confident_joint(made_up(0.8)) == pytest.approx(0.8, abs=0.1)
