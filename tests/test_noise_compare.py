"""`labo noise compare`: figures over a grid, what runs it refuses. Trained: tests/vision/test_label_noise_task.py."""

import json

import numpy as np
import pytest
import torch

from labo_fairseq import cli
from labo_fairseq.noise import compare as noise_compare
from labo_fairseq.noise import theory as label_noise
from labo_fairseq.records import predictions


def write_run(folder, p, rate, memory, count=400, noisy_test=False):
    """A run folder without a checkpoint: predictions of a network that fits its noisy labels, or averages over them."""
    rng = np.random.default_rng(0)
    clean = np.repeat(np.arange(10), count // 10)
    labels = clean.copy()
    wrong = np.concatenate([np.arange(count // 10) < round((1 - rate) * count / 10)] * 10)
    labels[wrong] = (clean[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    smoothing = label_noise.uniform_smoothing(10, p)
    averaged = (smoothing @ label_noise.uniform_smoothing(10, rate)).numpy().T
    rows = smoothing.numpy().T[labels] if memory else averaged[clean]
    folder.mkdir(parents=True)
    names = tuple(map(str, range(10)))
    for subset, p_rows, shown in (("train", rows, labels), ("test", averaged[clean], clean)):
        found = predictions.Predictions(
            np.log(p_rows).astype(np.float32), shown, names, subset, ".", "", None if shown is clean else clean
        )
        predictions.write(found, folder / f"checkpoint_best.{subset}.npz")
    command = ["fairseq-train", "--criterion", "label_smoothing", "--smoothing-form", "fairseq"]
    command += ["--label-smoothing", str(1 - p), "--label-noise", f"symmetric:{1 - rate}"]
    command += ["--valid-label-noise", f"symmetric:{1 - rate}"] * noisy_test
    (folder / "command.json").write_text(json.dumps([*command, "--cpu"]))
    return str(folder)


def compared(capsys, *args):
    assert cli.main(["noise", "compare", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("noisy_test", [False, True])
def test_a_network_that_fits_has_the_predicted_loss(tmp_path, capsys, noisy_test):
    (found,) = compared(capsys, write_run(tmp_path / "run", 0.7, 0.8, memory=True, noisy_test=noisy_test))
    kind = "beta" if noisy_test else "alpha"
    expected = float(label_noise.uniform_loss(kind, torch.tensor(0.7, dtype=torch.float64), 0.8, 10))
    assert found["type"] == kind and found["predicted"] == pytest.approx(expected)
    assert found["fitted"] == pytest.approx(found["drawn"], rel=1e-5)
    assert found["fitted"] == pytest.approx(expected, rel=1e-5 if kind == "alpha" else 0.02)
    assert found["held_out"] == pytest.approx(found["averaging"], rel=1e-5) and found["averaging"] < expected
    assert found["excess"] == pytest.approx(0, abs=1e-5) and found["memorised"] == 1


def test_the_share_of_wrong_labels_that_were_drawn(tmp_path, capsys):
    """By hand: 100 of 400 labels are wrong at a noise rate of 0.2; α type, p = 0.7."""
    run = write_run(tmp_path / "run", 0.7, 0.75, memory=True)
    edit(tmp_path / "run", "symmetric:0.25", "symmetric:0.2")
    (found,) = compared(capsys, run)
    expected = -0.75 * np.log(0.7) - 0.25 * np.log(0.3 / 9)
    assert found["clean_rate"] == pytest.approx(0.8)
    assert found["drawn"] == pytest.approx(expected) and found["fitted"] == pytest.approx(expected, rel=1e-5)
    assert found["predicted"] == pytest.approx(-0.8 * np.log(0.7) - 0.2 * np.log(0.3 / 9))


def test_a_network_that_averages_has_a_lower_loss_and_an_excess(tmp_path, capsys):
    (found,) = compared(capsys, write_run(tmp_path / "run", 0.9, 0.5, memory=False))
    assert found["fitted"] == pytest.approx(found["averaging"], rel=1e-5)
    assert found["excess"] > 0.3 and found["memorised"] == pytest.approx(0.5)


def test_a_grid_has_all_figures(tmp_path, capsys):
    runs = [write_run(tmp_path / f"{p}-{a}", p, a, memory=True) for p in (0.5, 0.9) for a in (0.6, 0.8)]
    out = tmp_path / "out"
    found = compared(capsys, *runs, "--out", str(out))
    cells = [(round(one["clean_rate"], 6), round(one["p"], 6)) for one in found]
    assert cells == [(0.6, 0.5), (0.6, 0.9), (0.8, 0.5), (0.8, 0.9)]
    for name in ("slices", "landscape", "accuracy", "optima", "errors", "curves"):
        assert (out / f"{name}_alpha.png").stat().st_size
    rows = [line.split("\t") for line in (out / "comparison.tsv").read_text().splitlines()]
    assert len(rows) == 6 and all(abs(float(row[6])) < 0.1 for row in rows[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "command.json").unlink(), "command.json: cannot be read"),
        (lambda run: edit(run, "label_smoothing", "labo"), "was not trained with uniform label smoothing"),
        (lambda run: (run / "checkpoint_best.train.npz").unlink(), "no train predictions beside it"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, change, message):
    run = tmp_path / "run"
    write_run(run, 0.7, 0.8, memory=True)
    change(run)
    assert cli.main(["noise", "compare", str(run)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def edit(run, old, new):
    path = run / "command.json"
    path.write_text(path.read_text().replace(old, new))


def test_no_prediction_no_deviation():
    one = noise_compare.Comparison("r", "alpha", 1.0, 1.0, 10, 0.0, 0.0, 0.1, 0.1, 0.0, 0.0, 1.0, 1.0, None)
    assert one.deviation(one.fitted) is None
