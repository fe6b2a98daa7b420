"""`labo calibrate` from a trained checkpoint to its files, and one line for each kind of bad input."""

import json
import math
import shutil

import pytest
import torch
from fairseq.data import Dictionary

from labo_fairseq.calibration.file import dictionary_record, load
from labo_fairseq.cli import main
from labo_fairseq.compat.checkpoints import load_safely
from labo_fairseq.files import sha256
from labo_fairseq.functional.calibrators import Adaptive, Grouped, Temperature

TRAIN = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --optimizer adam --lr 0.01 --max-tokens 200 --cpu --num-workers 0 "
    "--criterion cross_entropy --no-epoch-checkpoints --max-epoch 6 --seed"
).split()


@pytest.fixture(scope="module")
def checkpoints(run_cli, tiny_bin, tmp_path_factory):
    """Two small models of the tiny corpus, trained for a few updates."""
    folder = tmp_path_factory.mktemp("models")
    paths = []
    for seed in (1, 2):
        done = run_cli("fairseq-train", tiny_bin, *TRAIN, seed, "--save-dir", folder / str(seed))
        assert done.returncode == 0, done.stderr[-3000:]
        paths.append(folder / str(seed) / "checkpoint_last.pt")
    return paths


def rows_of(text):
    names, *rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return [dict(zip(names, row, strict=True)) for row in rows]


def calibrate(capsys, *arguments):
    """Run in this process: (exit code, standard output, standard error)."""
    code = main(["calibrate", *map(str, arguments), "--cpu"])
    return code, *capsys.readouterr()


def test_the_installed_command_writes_and_prints_everything(run_cli, tiny_text, tiny_bin, checkpoints, tmp_path):
    done = run_cli(
        *("labo", "calibrate", tiny_bin, "--path", checkpoints[0], "--out", tmp_path / "new" / "out", "--cpu"),
        *("--test-subset", "test"),
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["calibration.json", "reliability.png", "reliability.tsv"]
    assert (out / "reliability.png").exists()
    rows = rows_of(done.stdout)
    whole = {row["set"]: row for row in rows if row["group"] == "all"}
    assert list(whole) == ["before", "after", "test before", "test after"]

    calibration = load(out / "calibration.json")
    (member,) = calibration.members
    assert member.checkpoint == "checkpoint_last.pt" and member.sha256 == sha256(checkpoints[0])
    assert calibration.dictionary == dictionary_record(Dictionary.load(str(tiny_bin / "dict.en.txt")))
    lines = (tiny_text / "valid.en").read_text(encoding="utf-8").splitlines()
    tokens = sum(len(line.split()) + 1 for line in lines)  # and the end of each sentence
    assert calibration.corpus == {
        "data": "bin", "split": "valid", "source_lang": "de", "target_lang": "en", "sentences": 12, "tokens": tokens,
    }  # fmt: skip
    temperature = f"{member.calibrator.temperature:.4g}"
    assert calibration.signature == f"ece|bins:15|unit:word|T:{temperature}|n:{tokens}"
    assert whole["before"]["signature"] == f"ece|bins:15|unit:word|T:1|n:{tokens}"
    assert float(whole["after"]["ece"]) == pytest.approx(calibration.measures["after"]["all"]["ece"], abs=5e-5)

    diagram = rows_of((out / "reliability.tsv").read_text())
    columns = "when bin_low bin_high count confidence accuracy accuracy_low accuracy_high".split()
    assert list(diagram[0]) == columns and [row["when"] for row in diagram] == ["before"] * 15 + ["after"] * 15
    ece = sum(
        int(row["count"]) * abs(float(row["accuracy"]) - float(row["confidence"])) / tokens
        for row in diagram[:15]
        if int(row["count"])
    )
    assert ece == pytest.approx(float(whole["before"]["ece"]), abs=2e-4)


def test_before_is_what_fairseq_validates(run_cli, capsys, tiny_bin, checkpoints, tmp_path):
    """The nll of the tokens is the nll_loss (base 2) of fairseq-validate on the same checkpoint."""
    validated = run_cli(
        *("fairseq-validate", tiny_bin, "--path", checkpoints[0], "--task", "translation", "--cpu"),
        *("--valid-subset", "valid", "--batch-size", 5, "--log-format", "json"),
    )
    line = next(line for line in (validated.stdout + validated.stderr).splitlines() if "valid_loss" in line)
    expected = float(json.loads(line[line.index("{") :])["valid_loss"]) * math.log(2)
    code, shown, _ = calibrate(capsys, tiny_bin, "--path", checkpoints[0], "--out", tmp_path, "--json")
    assert code == 0
    assert json.loads(shown)["before"]["all"]["nll"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "kind, calibrator, objective",
    [
        ("temperature", Temperature, "ece"),
        ("grouped", Grouped, "nll"),
        ("adaptive", Adaptive, "nll"),
        pytest.param("temperature", Temperature, "nll", marks=pytest.mark.slow),
        pytest.param("grouped", Grouped, "ece", marks=pytest.mark.slow),
        pytest.param("adaptive", Adaptive, "ece", marks=pytest.mark.slow),
    ],
)
def test_every_calibrator_of_an_ensemble(capsys, tiny_bin, checkpoints, tmp_path, kind, calibrator, objective):
    code, shown, _ = calibrate(
        *(capsys, tiny_bin, "--path", ":".join(map(str, checkpoints)), "--out", tmp_path, "--json"),
        *("--calibrator", kind, "--objective", objective),
    )
    assert code == 0
    measures = json.loads(shown)
    sets = [f"{who}{when}" for who in ("", "member 1 ", "member 2 ") for when in ("before", "after")]
    assert sorted(measures) == sorted([*sets, "warnings"])
    calibration = load(tmp_path / "calibration.json")
    assert [type(member.calibrator) for member in calibration.members] == [calibrator] * 2
    assert calibration.measures == measures
    groups = measures["before"]
    for parts in (["eos", "not eos"], [name for name in groups if name.startswith("position")]):
        assert sum(groups[name]["tokens"] for name in parts if name in groups) == groups["all"]["tokens"]
    by_type = [row["tokens"] for name, row in groups.items() if name.startswith("count") or name == "eos"]
    assert sum(by_type) == groups["all"]["tokens"]


def test_a_fit_that_does_not_help_says_so(capsys, tiny_bin, checkpoints, tmp_path):
    """Twelve sentences and a model of a few updates: whatever comes out, warning and numbers agree."""
    _, shown, log = calibrate(
        *(capsys, tiny_bin, "--path", checkpoints[0], "--out", tmp_path, "--json", "--calibrator", "adaptive"),
        *("--test-subset", "test"),
    )
    measures = json.loads(shown)
    for before, after in (("before", "after"), ("test before", "test after")):
        worse = measures[after]["all"]["nll"] > measures[before]["all"]["nll"]
        assert any(warning.startswith(f"{after}: ") for warning in measures["warnings"]) == worse
    assert log.count("labo calibrate: warning: ") == len(measures["warnings"])


@pytest.mark.slow
def test_sweep_goes_on_where_it_was_stopped(capsys, monkeypatch, tiny_bin, checkpoints, tmp_path):
    arguments = [tiny_bin, "--path", checkpoints[0], "--out", tmp_path, "--sweep", "--sweep-beams", "--json"]
    arguments += ["--sweep-beam", 2, "--sweep-temperatures"]
    code, shown, _ = calibrate(capsys, *arguments, 1, 2)
    assert code == 0
    first = json.loads(shown)["temperatures"]
    measures = json.loads((tmp_path / "calibration.json").read_text())["measures"]
    assert [row["T"] for row in first] == [1, 2]
    assert first[0]["ece"] == pytest.approx(measures["before"]["all"]["ece"])
    assert first[0]["nll"] == pytest.approx(measures["before"]["all"]["nll"])
    (points,) = (tmp_path / "sweep").iterdir()
    names = ["beam2.T1.txt", "beam2.T2.txt", "measures.T1.json", "measures.T2.json"]
    assert sorted(path.name for path in points.iterdir()) == names

    stamps = {path: path.stat().st_mtime_ns for path in points.iterdir()}
    (points / "beam2.T2.txt").unlink()
    (points / "measures.T2.json").unlink()
    code, shown, _ = calibrate(capsys, *arguments, 1, 2)
    assert code == 0 and json.loads(shown)["temperatures"] == first
    changed = {path.name for path in points.iterdir() if path.stat().st_mtime_ns != stamps[path]}
    assert changed == {"beam2.T2.txt", "measures.T2.json"}
    table = (tmp_path / "temperatures.tsv").read_text().splitlines()
    assert table[0].split("\t")[:5] == ["T", "beam", "BLEU", "ece", "nll"] and len(table) == 3
    assert (tmp_path / "temperatures.png").exists()

    # a point that fails leaves no file, and the message is that of fairseq-generate
    monkeypatch.setattr("labo_fairseq.experiment.sweep._GENERATE", "raise SystemExit('no such flag')")
    code, _, log = calibrate(capsys, *arguments, 3)
    assert code == 2 and "failed: no such flag" in log
    assert not (points / "beam2.T3.txt").exists()


def test_a_sweep_of_other_checkpoints_is_refused(capsys, tiny_bin, checkpoints, tmp_path):
    assert calibrate(capsys, tiny_bin, "--path", checkpoints[0], "--out", tmp_path)[0] == 0
    code, _, log = calibrate(capsys, tiny_bin, "--path", checkpoints[1], "--out", tmp_path, "--sweep")
    assert code == 2 and "fitted to other checkpoints" in log


def broken(checkpoint, to, change):
    """A copy of a checkpoint with changed parameters."""
    state = load_safely(checkpoint)
    change(state["model"])
    torch.save(state, to)
    return to


def last_line(log):
    return log.strip().splitlines()[-1]


def test_nan_weights_name_the_sentences(capsys, tiny_bin, checkpoints, tmp_path):
    def spoil(model):
        model["decoder.layers.0.fc2.bias"][0] = math.nan

    path = broken(checkpoints[0], tmp_path / "nan.pt", spoil)
    code, _, log = calibrate(capsys, tiny_bin, "--path", path, "--out", tmp_path)
    assert code == 2
    assert "sentences " in last_line(log) and "are NaN or infinite" in last_line(log)
    assert not (tmp_path / "calibration.json").exists()


def test_members_of_other_vocabularies_are_refused(capsys, run_cli, tiny_text, checkpoints, tiny_bin, tmp_path):
    prefixes = [word for split in ("train", "valid") for word in (f"--{split}pref", tiny_text / split)]
    options = ["--destdir", tmp_path / "bin", "--joined-dictionary", "--nwordssrc", 20, "--nwordstgt", 20]
    assert run_cli("fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, *options).returncode == 0
    code, _, log = calibrate(capsys, tmp_path / "bin", "--path", checkpoints[0], "--out", tmp_path / "out")
    line = last_line(log)
    assert code == 2 and "its vocabulary (" in line and "is not that of the data" in line


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--subset", "nothing"], "nothing: "),
        (["--frequency-bounds", 1, 100_000], "--frequency-bounds: no token of the set"),
        (["--prior-counts", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_bad_settings_are_one_line(capsys, tiny_bin, checkpoints, tmp_path, flags, message):
    code, _, log = calibrate(capsys, tiny_bin, "--path", checkpoints[0], "--out", tmp_path, *flags)
    assert code == 2 and message in last_line(log) and "Traceback" not in log


def test_missing_and_foreign_checkpoints(capsys, tiny_bin, checkpoints, tmp_path):
    code, _, log = calibrate(capsys, tiny_bin, "--path", f"{checkpoints[0]}:none.pt", "--out", tmp_path)
    assert code == 2 and "none.pt: no such file" in last_line(log)
    (tmp_path / "text.pt").write_text("no checkpoint")
    code, _, log = calibrate(capsys, tiny_bin, "--path", tmp_path / "text.pt", "--out", tmp_path)
    assert code == 2 and "text.pt: " in last_line(log)
    code, _, log = calibrate(capsys, tmp_path / "no data", "--path", checkpoints[0], "--out", tmp_path)
    assert code == 2 and "Traceback" not in log


def test_an_empty_validation_set(capsys, run_cli, tiny_text, tiny_bin, checkpoints, tmp_path):
    for language in ("de", "en"):
        shutil.copy(tiny_text / f"train.{language}", tmp_path)
        (tmp_path / f"valid.{language}").write_text("")
    options = ["--srcdict", tiny_bin / "dict.de.txt", "--tgtdict", tiny_bin / "dict.en.txt"]
    prefixes = ["--trainpref", tmp_path / "train", "--validpref", tmp_path / "valid"]
    made = run_cli("fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, "--destdir", tmp_path / "bin", *options)
    assert made.returncode == 0, made.stderr
    code, _, log = calibrate(capsys, tmp_path / "bin", "--path", checkpoints[0], "--out", tmp_path / "out")
    assert code == 2 and ".bin: no sentences" in last_line(log)


@pytest.mark.slow
def test_a_model_without_a_plain_projection_says_what_to_do(capsys, run_cli, tiny_bin, tmp_path):
    flags = [flag for flag in TRAIN if flag not in ("--share-all-embeddings", "--criterion", "cross_entropy")]
    flags += [
        1,
        "--criterion",
        "adaptive_loss",
        "--adaptive-softmax-cutoff",
        "10",
        "--ddp-backend",
        "legacy_ddp",
        "--save-dir",
        tmp_path,
    ]
    done = run_cli("fairseq-train", tiny_bin, *flags, "--max-update", 1)
    assert done.returncode == 0, done.stderr[-2000:]
    code, _, log = calibrate(capsys, tiny_bin, "--path", tmp_path / "checkpoint_last.pt", "--out", tmp_path / "out")
    assert code == 2
    assert "adaptive softmax: give a Transformer whose decoder ends in a plain output projection" in last_line(log)


@pytest.mark.parametrize(
    "scale, problem",
    [(0.0, "every temperature fits equally well"), (1e5, "the fit improves up to T = 1000"), (50.0, None)],
)
def test_a_temperature_that_is_not_the_best_is_said(capsys, tiny_bin, checkpoints, tmp_path, scale, problem):
    """The features, and with them the logits, times `scale`: all 0, or so large that the best T lies far from 1."""
    state = load_safely(checkpoints[0])
    for part in ("weight", "bias"):
        state["model"][f"decoder.layers.0.final_layer_norm.{part}"] *= scale
    torch.save(state, tmp_path / "scaled.pt")
    code, out, err = calibrate(capsys, tiny_bin, "--path", tmp_path / "scaled.pt", "--out", tmp_path, "--json")
    assert code == 0
    found = load(tmp_path / "calibration.json")
    (member,) = found.members
    told = [warning for warning in json.loads(out)["warnings"] if "scaled.pt: " in warning]
    assert found.measures["warnings"] == json.loads(out)["warnings"]
    if problem is None:
        assert told == [] and 10 < member.calibrator.temperature < 1000
    else:
        assert problem in told[0] and f"labo calibrate: warning: {told[0]}" in err
