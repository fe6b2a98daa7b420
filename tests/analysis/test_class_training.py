"""The figures of Guo (2020) from logs and predictions: values of the TSV files, pictures, runs that lack something."""

import json
import math

import numpy as np
import pytest

from labo_fairseq import cli
from labo_fairseq.analysis.classification import fit_temperature
from labo_fairseq.measures.classification import measures
from labo_fairseq.records import predictions
from labo_fairseq.records.train_log import read_epochs

MASS = {"target_true_1": 0.35, "target_true_2": 0.33, **{f"target_other_{i}": 0.06 - 0.005 * i for i in range(1, 6)}}


def make(seed, subset="test", count=200, classes=7):
    """Predictions that are too cautious and right rather often."""
    rng = np.random.default_rng(seed)
    labels = np.random.default_rng(99).integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), labels] += 2
    return predictions.Predictions((0.3 * logits).astype(np.float32), labels, tuple("abcdefg"), subset, "data", "0")


def write_run(folder, flags, seed=1, epochs=3, scaled=True, mass=None):
    """A run as `labo experiment` leaves it: log, command and predictions, its checkpoint gone."""
    folder.mkdir(parents=True)
    for i, subset in enumerate(("valid", "test", "train")):
        found = make(seed=seed + 100 * i, subset=subset)
        predictions.write(found, folder / f"checkpoint_best.{subset}.npz")
    (folder / "command.json").write_text(json.dumps(["fairseq-train", *flags, "--seed", str(seed)]))
    lines = []
    for epoch in range(1, epochs + 1):
        valid = {"valid_accuracy": 80 + epoch, "valid_ece": 0.4 / epoch}
        if scaled:
            valid |= {"valid_ece_scaled": 0.1 / epoch, "valid_temperature": 0.5}
        train = {
            "train_loss": 3 / epoch,
            **{f"train_{key}": value + epoch / 1000 for key, value in (mass or {}).items()},
        }
        for prefix, values in (("valid", valid), ("train", train)):
            values = {
                "epoch": epoch,
                **{k: str(v) for k, v in values.items()},
                f"{prefix}_num_updates": str(10 * epoch),
            }
            lines += [json.dumps(values)] * epoch  # as fairseq, which adds a handler each epoch
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    """Cross entropy, and pairwise with three weights, one of them with two seeds."""
    pairwise = ["--criterion", "pairwise_label_smoothing"]
    return [
        write_run(tmp_path / "ce", ["--criterion", "label_smoothing", "--label-smoothing", "0"], scaled=False),
        write_run(tmp_path / "pls/seed1", pairwise, 1, mass=MASS),
        write_run(tmp_path / "pls/seed2", pairwise, 2, mass=MASS),
        write_run(tmp_path / "pls3", [*pairwise, "--smoothing-weight", "0.3"], 3),
        write_run(tmp_path / "pls9", [*pairwise, "--smoothing-weight", "0.9"], 4),
    ]


def rows_of(path):
    heading, *rows = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]
    return [dict(zip(heading, row, strict=True)) for row in rows]


def report(runs, out, *flags):
    assert cli.main(["classify-report", *map(str, runs), "--out", str(out), *flags]) == 0
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_figure_has_its_numbers(runs, tmp_path, capsys):
    out = tmp_path / "report"
    page = report(runs, out)
    epochs = rows_of(out / "epochs.tsv")
    assert [row["system"] for row in epochs] == [n for n in ("ce", "seed1", "pls3", "pls9") for _ in range(3)]
    row = epochs[4]
    assert (row["epoch"], row["training loss"], row["validation error"], row["ECE"]) == (
        "2",
        "1.5000",
        "18.00",
        "0.2000",
    )
    assert (row["ECE scaled"], row["T"]) == ("0.0500", "0.5000") and epochs[0]["ECE scaled"] == "–"
    mass = rows_of(out / "target_mass.tsv")
    assert {row["system"] for row in mass} == {"seed1"}
    assert [float(row["mass"]) for row in mass] == pytest.approx([value + 0.003 for value in MASS.values()])
    weights = rows_of(out / "weight_factor.tsv")
    assert [row["smoothing weight"] for row in weights] == ["0.3", "0.5", "0.9"]
    errors = [100 - 100 * (found.logits.argmax(1) == found.labels).mean() for found in (make(seed=101), make(seed=102))]
    assert weights[1]["seeds"] == "2" and float(weights[1]["test error"]) == pytest.approx(np.mean(errors), abs=0.006)
    assert float(weights[1]["std"]) == pytest.approx(np.std(errors, ddof=1), abs=0.006)
    for name in ("epochs", "ece_by_epoch", "target_mass", "weight_factor", *(f"bin_errors_{i}" for i in range(1, 5))):
        assert (out / f"{name}.png").exists()
    assert "Training of the classifiers" in page and "100% of the valid images" in page


def test_error_of_each_bin_adds_up_to_the_ece(runs, tmp_path, capsys):
    report(runs[:1], tmp_path / "report")
    rows = [row for row in rows_of(tmp_path / "report/bin_errors_1.tsv") if row["when"] == "before"]
    found = make(seed=101)
    filled = [row for row in rows if row["images"] != "0"]
    ece = sum(int(row["images"]) * float(row["|accuracy − confidence|"]) for row in filled) / len(found)
    assert len(rows) == 15 and ece == pytest.approx(measures(found.logits, found.labels)["ece"], abs=1e-4)


def test_runs_without_logs_have_no_such_section(runs, tmp_path, capsys):
    (runs[0] / "train.log").unlink()
    page = report(runs[:1], tmp_path / "report")
    assert "Training of the classifiers" not in page and not (tmp_path / "report/epochs.tsv").exists()


def test_report_of_all_runs_has_the_section_too(runs, tmp_path, capsys):
    assert cli.main(["report", *map(str, runs), "--out", str(tmp_path / "all")]) == 0
    assert "Training of the classifiers" in (tmp_path / "all/report.html").read_text(encoding="utf-8")


def test_a_share_of_the_training_images_chooses_the_temperature(runs, tmp_path, capsys):
    page = report(runs[:1], tmp_path / "report", "--fit-subset", "train", "--fit-share", "0.1")
    assert "10% of the train images" in page
    train = predictions.read(runs[0] / "checkpoint_best.train.npz")
    tenth = predictions.share_of(train, 0.1)
    assert len(tenth) == 20 and np.array_equal(tenth.logits, predictions.share_of(train, 0.1).logits)
    pairs = {(label, *row) for label, row in zip(train.labels.tolist(), train.logits.tolist(), strict=True)}
    assert all((label, *row) in pairs for label, row in zip(tenth.labels.tolist(), tenth.logits.tolist(), strict=True))
    capsys.readouterr()
    arguments = ["classify-report", str(runs[0]), "--no-page", "--json", "--fit-subset", "train"]
    assert cli.main([*arguments, "--fit-share", "0.1"]) == 0
    ((measured,),) = json.loads(capsys.readouterr().out)["systems"].values()
    assert measured["temperature"] == pytest.approx(fit_temperature(tenth).factor)
    assert measured["temperature"] != pytest.approx(fit_temperature(train).factor, rel=1e-6)


@pytest.mark.parametrize("share", ["0", "1.1", "nan"])
def test_a_share_out_of_range_is_one_line(runs, capsys, share):
    assert cli.main(["classify-report", str(runs[0]), "--fit-share", share]) == 2
    assert capsys.readouterr().err.strip().startswith("labo classify-report: --fit-share: ")


def test_epochs_of_a_resumed_log_count_once(tmp_path):
    """After a kill the later account counts, and what is no number is left out."""
    first = write_run(tmp_path / "run", [], epochs=3) / "train.log"
    again = {"epoch": 2, "valid_accuracy": "55", "valid_ece": "nan", "valid_num_updates": "20"}
    first.write_text(first.read_text() + json.dumps(again) + "\n")
    found = read_epochs(first)
    assert [one["epoch"] for one in found] == [1, 2] and found[1]["error"] == 45
    assert "loss" not in found[1] and math.isclose(found[0]["error"], 19)
