"""Measures of image classifiers from files of predictions: against torchmetrics and the formulas; the report."""

import json

import numpy as np
import pytest
import torch
from _analysis import labo
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from labo_fairseq import cli
from labo_fairseq.analysis import classification
from labo_fairseq.errors import UserError
from labo_fairseq.functional import calibration as functional
from labo_fairseq.measures.calibration import BINS, ece, reliability
from labo_fairseq.measures.classification import (
    confidence_and_correct,
    confusion,
    log_probabilities,
    measures,
    reliability_rows,
)
from labo_fairseq.measures.significance import mcnemar
from labo_fairseq.records import predictions

NAMES = ("cat", "dog", "frog", "ship", "deer", "bird", "plane")


def make(count=200, classes=NAMES, scale=2.0, shift=2.0, seed=0, subset="test"):
    """Predictions of a classifier that is right rather often; the true T is 1 where scale is 1."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, len(classes), count)
    logits = rng.normal(size=(count, len(classes)))
    logits[np.arange(count), labels] += shift
    return predictions.Predictions((scale * logits).astype(np.float32), labels, tuple(classes), subset, "data/x", "0")


def run_folder(folder, seed=0, flags=(), scale=2.0):
    """A run as `labo classify-report` leaves it, its checkpoint gone."""
    folder.mkdir(parents=True)
    for i, subset in enumerate(("valid", "test")):
        found = make(seed=seed + 100 * i, subset=subset, scale=scale)
        predictions.write(found, folder / f"checkpoint_best.{subset}.npz")
    (folder / "command.json").write_text(json.dumps(["fairseq-train", *flags, "--seed", str(seed)]))
    return folder


def test_equal_to_torchmetrics(torchmetrics):
    metrics = torchmetrics.functional.classification
    found = make()
    measured = measures(found.logits, found.labels)
    p, labels = torch.from_numpy(found.logits).double().softmax(1), torch.from_numpy(found.labels)
    size = len(NAMES)
    for name, k in (("accuracy", 1), ("top5", 5)):
        expected = metrics.multiclass_accuracy(p, labels, num_classes=size, average="micro", top_k=k)
        assert measured[name] == pytest.approx(float(expected), abs=1e-6)
    expected = metrics.multiclass_calibration_error(p, labels, num_classes=size, n_bins=BINS)
    assert measured["ece"] == pytest.approx(float(expected), abs=1e-6)
    expected = metrics.multiclass_confusion_matrix(p, labels, num_classes=size)
    assert (confusion(found.logits, found.labels) == expected.numpy()).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(2, 7), st.floats(0.2, 5), st.integers(0, 9))
def test_equal_to_the_measures_of_training(count, classes, temperature, seed):
    """The same numbers in numpy as functional/calibration.py gives, ties included."""
    found = make(count, NAMES[:classes], seed=seed)
    found = predictions.Predictions(np.round(found.logits), *list(vars(found).values())[1:])
    measured = measures(found.logits, found.labels, temperature)
    log_p = torch.log_softmax(torch.from_numpy(found.logits).double() / temperature, 1)
    labels = torch.from_numpy(found.labels)
    p = log_p.exp().max(1).values
    # of equal logits torch may name any, so what is correct is taken from here
    confidence, correct = confidence_and_correct(found.logits, found.labels, temperature)
    assert torch.allclose(torch.from_numpy(confidence), p)
    hits = torch.from_numpy(correct)
    confidence = torch.from_numpy(confidence)
    sums = functional.bin_sums(confidence, hits)
    assert measured["ece"] == pytest.approx(float(ece(sums)), abs=1e-12)
    nll = torch.nn.functional.nll_loss(log_p, labels)
    assert measured["nll"] == pytest.approx(float(nll), abs=1e-12)
    for row, expected in zip(
        reliability_rows(found.logits, found.labels, temperature, "before"), reliability(sums), strict=True
    ):
        assert {k: v for k, v in row.items() if k != "when"} == pytest.approx(expected, nan_ok=True)


def test_the_temperature_has_no_slope():
    """At the minimum the mean logit under the model equals that of the true class (derivative by 1/T)."""
    found = make(2000)
    temperature, problem = classification.fit_temperature(found)
    assert problem is None
    p = np.exp(log_probabilities(found.logits, temperature))
    slope = (p * found.logits).sum(1).mean() - found.logits[np.arange(len(found)), found.labels].mean()
    assert abs(slope) < 1e-3
    # logits N(0, 1) + 2·[true] times 2 are those of the exact posterior times 1
    assert temperature == pytest.approx(1.0, abs=0.1)


def test_mcnemar_is_the_binomial_test_of_the_disagreements():
    one, other = make(seed=1, shift=3.0), make(seed=2, shift=1.0)
    right = [p.logits.argmax(1) == p.labels for p in (one, other)]
    a, b = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    expected = min(1, 2 * binom.cdf(min(a, b), a + b, 0.5))
    assert mcnemar(*right) == pytest.approx(expected)
    assert mcnemar(right[0], right[0]) == 1


def test_seeds_have_a_mean_a_deviation_and_a_test():
    runs = {
        name: [classification.Seed(make(seed=seed, shift=shift), 1.5) for seed in seeds]
        for name, shift, seeds in (("ls", 2.0, (1, 2, 3)), ("labo", 2.5, (4, 5, 6)))
    }
    heading, ls, other = classification.table(runs).rows
    accuracies = [100 * (s.test.logits.argmax(1) == s.test.labels).mean() for s in runs["labo"]]
    cell = dict(zip(heading, other, strict=True))
    assert cell["accuracy"] == f"{np.mean(accuracies):.2f}"
    assert cell["accuracy std"] == f"{np.std(accuracies, ddof=1):.2f}"
    assert 0 < float(cell["accuracy p (Welch)"]) < 1
    assert dict(zip(heading, ls, strict=True))["accuracy p (Welch)"] == "–"


def test_without_validation_images_there_is_no_temperature(tmp_path):
    predictions.write(make(), tmp_path / "checkpoint_best.test.npz")
    seed = classification.seed_of(tmp_path / "checkpoint_best.pt", "test", "valid")
    assert seed.temperature is None and seed.measured()["ece_after"] is None
    predictions.write(make(subset="valid"), tmp_path / "checkpoint_best.valid.npz")
    seed = classification.seed_of(tmp_path / "checkpoint_best.pt", "test", "valid")
    assert "not held out" in seed.warnings[0]  # the same images


@pytest.mark.slow
def test_the_report_needs_neither_the_model_nor_torch(tmp_path):
    """Two seeds of one system and one of another, in a process that cannot import torch."""
    for name, seed, rho in (("a1", 1, "0.5"), ("a2", 2, "0.5"), ("b", 3, "0.9")):
        run_folder(tmp_path / name, seed, ["--task", "torchvision_classification", "--rho", rho])
    program = (
        "import sys; sys.modules['torch'] = sys.modules['fairseq'] = None\n"
        "from labo_fairseq.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "sys.exit(code or main(['report', *sys.argv[2:5], '--out', 'both']))"
    )
    done = labo("classify-report", "a1", "a2", "b", "--json", "--out", "out", cwd=tmp_path, program=program)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.rpartition("}")[0] + "}")["systems"]
    assert {name: len(seeds) for name, seeds in found.items()} == {"a1": 2, "b": 1}
    last = make(seed=103)
    expected = measures(last.logits, last.labels)
    assert found["b"][0]["accuracy"] == expected["accuracy"]
    assert found["b"][0]["signature"] == "ece|bins:15|unit:image|T:1|n:200"
    for folder in ("out", "both"):
        html = (tmp_path / folder / "report.html").read_text(encoding="utf-8")
        # reliability, bins and confusion of both systems, histogram, risk and coverage
        assert html.count("<svg") == 8 and "risk-coverage area" in html and "not translated" not in html
    rows = [line.split("\t") for line in (tmp_path / "out/confusion_2.tsv").read_text().splitlines()[1:]]
    assert rows[0][1:] == list(NAMES)
    counts = np.array([row[1:] for row in rows[1:]], dtype=int)
    assert counts.sum() == 200 and counts.trace() / 200 == expected["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "none given"),
        (["nowhere"], "no such folder"),
        (["--system", "a"], "write NAME=CKPT, such as"),
        (["--system", "a=nowhere.pt"], "no such file"),
        (["--system", "a=one/x.pt", "--system", "a=one/x.pt"], "given twice"),
        (["--system", "a=one/x.pt", "--system", "b=two/x.pt"], "other images or classes than a"),
        (["--system", "a=cut/x.pt"], "no file of predictions"),
        (["--system", "a=wrong/x.pt"], "labels out of range"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.chdir(tmp_path)
    good = make()
    broken = predictions.Predictions(good.logits, good.labels + 1, *list(vars(good).values())[2:])
    for name, found in (("one", good), ("two", make(100)), ("cut", good), ("wrong", broken)):
        (tmp_path / name).mkdir()
        for subset in ("valid", "test"):
            predictions.write(found, tmp_path / name / f"x.{subset}.npz")
    whole = (tmp_path / "cut/x.test.npz").read_bytes()
    (tmp_path / "cut/x.test.npz").write_bytes(whole[: len(whole) // 2])
    assert cli.main(["classify-report", *arguments, "--no-page"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert len(lines) == 1 and reason in lines[0]


def test_an_object_in_a_file_is_not_built(tmp_path):
    np.savez(tmp_path / "x.npz", logits=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="no file of predictions"):
        predictions.read(tmp_path / "x.npz")
