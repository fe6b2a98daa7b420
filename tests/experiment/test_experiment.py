"""`labo experiment run | status`: what is done, skipped, resumed, stopped. fairseq's commands are stand-ins here."""

import contextlib
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labo_fairseq.analysis import systems
from labo_fairseq.cli import main
from labo_fairseq.experiment import cells, details, schedule, spec, steps
from labo_fairseq.figures import style
from labo_fairseq.records.run_folder import Corpus

# 4 updates, resumed from checkpoint_last.pt; FAIL, NAN and SLOW name a criterion; each call leaves a line in calls.txt
TRAIN = """\
import json, os, pathlib, sys, time
arguments = sys.argv[1:]
value = lambda flag: arguments[arguments.index(flag) + 1]
criterion, save = value("--criterion"), pathlib.Path(value("--save-dir"))
save.mkdir(exist_ok=True)
last = save / "checkpoint_last.pt"
begin = int(last.read_text()) if last.exists() else 0
device = os.environ.get("CUDA_VISIBLE_DEVICES")
print(json.dumps(["train", str(save.parent), begin, device]), file=open("calls.txt", "a"))
for update in range(begin + 1, 5):
    loss = "nan" if os.environ.get("NAN") == criterion and update == 3 else "6"
    values = {"loss": loss, "nll_loss": 5 - update, "num_updates": update}
    line = json.dumps({"epoch": 1, **{"valid_" + key: str(value) for key, value in values.items()}})
    open(value("--log-file"), "a").write(line + "\\n")
    print("2026-01-02 03:04:05 | INFO | valid | " + line, flush=True)
    if loss == "nan":
        time.sleep(60)
    aside = last.with_suffix(".tmp")
    aside.write_text(str(update))
    aside.replace(last)
    if update % 2 == 0:
        (save / f"checkpoint_1_{update}.pt").write_text(f"{criterion} {update}")
    if update == 2 and os.environ.get("FAIL") == criterion:
        sys.exit("OSError: [Errno 28] No space left on device")
    if update == 2 and os.environ.get("SLOW") == criterion:
        time.sleep(600)
open(value("--log-file"), "a").write(json.dumps({"epoch": 1, "train_num_updates": "4"}) + "\\ndone training\\n")
(save / "checkpoint_best.pt").write_text(criterion)
"""
# the references, but for as many wrong lines as |lenpen - 2| and, in the path, a confidence penalty of 0.1 and an early
# checkpoint ask for
GENERATE = """\
import json, os, pathlib, sys
arguments = sys.argv[1:]
value = lambda flag: arguments[arguments.index(flag) + 1]
subset, path = value("--gen-subset"), value("--path")
print(json.dumps(["generate", path.split("/checkpoints")[0], subset, value("--lenpen")]), file=open("calls.txt", "a"))
pair = f".{value('--source-lang')}-{value('--target-lang')}" if "--lang-pairs" in arguments else ""
wrong = ("fr" in pair) + 2 * abs(float(value("--lenpen")) - 2) + 3 * ("=0.1" in path) + 2 * ("seed2" in path)
wrong += 4 * os.path.realpath(path).endswith("_1_2.pt")
for i, line in enumerate(pathlib.Path(arguments[0], "../tok", subset + pair + ".en").read_text().splitlines()):
    line = "x y z" if i < wrong else line
    print(f"S-{i}\\td\\nT-{i}\\t{line}\\nH-{i}\\t-0.5\\t{line}\\nD-{i}\\t-0.5\\t{line}\\nP-{i}\\t-0.5")
"""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Put stand-ins of fairseq's commands before the real ones, in this process and in those that it starts."""
    folder = tmp_path / "stand_ins"
    folder.mkdir()
    for name, text in {"fairseq-train": TRAIN, "fairseq-generate": GENERATE}.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    original = steps._environment

    def environment(gpu, threads=None):
        found = original(gpu, threads)
        return {**found, "PATH": f"{folder}{os.pathsep}{found['PATH']}"}

    monkeypatch.setattr(steps, "_environment", environment)
    for name in ("FAIL", "NAN", "SLOW", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def experiment(content, write, stand_ins, tmp_path, capsys):
    """Function: experiment(*flags, command="run") -> (exit code, rows of the first table, stderr)."""

    def run(*flags, command="run", changed=content):
        arguments = [command, str(write(changed)), "--out", str(tmp_path / "out"), *flags]
        code = main(["experiment", *arguments, *(["--no-report"] if command == "run" else [])])
        out, err = capsys.readouterr()
        return code, out.split("\n\n")[0].splitlines(), err

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def calls(out):
    """What the stand-ins were called for since the last time."""
    file = out / "calls.txt"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def column(rows, name):
    heading, *lines = [row.split("\t") for row in rows if not row.startswith("#")]
    return {line[0]: line[heading.index(name)] for line in lines}


def state(out, cell):
    return json.loads((out / "de-en" / cell / "status.json").read_text())


def test_all_cells_then_none(experiment, out):
    code, rows, _ = experiment()
    assert code == 0
    assert column(rows, "cells") == {"smoothing": "2/2", "labo": "2/2"}
    assert list(column(rows, "BLEU")) == ["smoothing", "labo"]  # the baseline first
    assert float(column(rows, "BLEU std")["labo"]) > 0
    assert [call[0] for call in calls(out)].count("train") == 4
    again, same, _ = experiment()
    assert (again, same) == (0, rows)
    assert calls(out) == []
    cell = out / "de-en/labo/seed1"
    for name in ("commands.txt", "commands.json", "versions.json", "terminal.log", "train.log", "tuning.json"):
        assert (cell / name).exists(), name
    assert json.loads((cell / "versions.json").read_text())["fairseq"] == "0.12.2"


def test_the_commands_can_be_pasted(experiment, out, stand_ins):
    experiment()
    cell = out / "de-en/labo/seed1"
    wanted = (cell / "generate-test.txt").read_bytes()
    (cell / "generate-test.txt").unlink()
    path = f"{stand_ins}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-e", cell / "commands.txt"], cwd=out, env={**os.environ, "PATH": path}, check=True)
    assert (cell / "generate-test.txt").read_bytes() == wanted


def test_only_what_is_missing_is_done_again(experiment, out):
    experiment()
    calls(out)
    (out / "de-en/labo/seed2/generate-test.txt").unlink()
    experiment()
    assert calls(out) == [["generate", "de-en/labo/seed2", "test", "1.0"]]


def test_a_failed_cell_is_named_and_resumed(experiment, out, monkeypatch):
    monkeypatch.setenv("FAIL", "labo")
    code, rows, _ = experiment()
    assert code == 1
    assert column(rows, "cells") == {"smoothing": "2/2", "labo": "0/2"}
    assert column(rows, "BLEU")["labo"] == "–"
    assert [row for row in rows if row.startswith("# de-en/labo/seed1: failed:") and "No space left" in row]
    monkeypatch.delenv("FAIL")
    calls(out)
    code, rows, _ = experiment()
    assert code == 0
    assert column(rows, "cells")["labo"] == "2/2"
    assert sorted(call for call in calls(out) if call[0] == "train") == [
        ["train", f"de-en/labo/seed{seed}", 2, None] for seed in (1, 2)
    ]


def test_a_diverged_cell_stops_alone_and_stays(experiment, out, monkeypatch):
    monkeypatch.setenv("NAN", "labo")
    begun = time.monotonic()
    code, rows, _ = experiment("--jobs", "2")
    assert time.monotonic() - begun < 50  # the stand-in would sleep for a minute
    assert code == 1
    assert column(rows, "cells") == {"smoothing": "2/2", "labo": "0/2"}
    assert any("labo/seed1: diverged: loss nan at update 3" in row for row in rows)
    assert "nan" in (out / "de-en/labo/seed1/terminal.log").read_text()
    monkeypatch.delenv("NAN")
    calls(out)
    assert experiment()[0] == 1
    assert calls(out) == []


def test_no_scores_without_the_baseline(experiment, monkeypatch):
    monkeypatch.setenv("FAIL", "label_smoothing")
    code, rows, _ = experiment()
    assert code == 1
    assert "# no scores: the baseline, smoothing, has no finished cell" in rows


def test_a_folder_of_another_experiment_is_left_alone(experiment, content, out):
    experiment()
    before = (out / "de-en/labo/seed1/status.json").read_bytes()
    calls(out)
    content["methods"]["labo"]["rho"] = 0.7
    code, rows, _ = experiment()
    assert code == 1
    assert column(rows, "cells") == {"smoothing": "2/2", "labo": "0/2"}
    assert any("labo/seed1: failed" in row and "belongs to another experiment" in row for row in rows)
    assert calls(out) == []
    assert (out / "de-en/labo/seed1/status.json").read_bytes() == before
    assert "belongs to another" in "\n".join(experiment(command="status")[1])


def test_another_decoding_is_not_mixed_in(experiment, content, out):
    experiment()
    content["decode"]["beam"] = 4
    code, rows, _ = experiment()
    assert code == 1
    assert sum("decoded with other settings" in row for row in rows) == 4


def test_the_length_penalty_is_tuned_on_valid(experiment, content, out):
    content["decode"]["lenpen"] = [1, 2, 4]
    code, rows, _ = experiment()
    assert code == 0
    assert column(rows, "lenpen") == {"smoothing": "2/2", "labo": "2/2"}
    tuned = [call[1:] for call in calls(out) if call[2] == "test"]
    assert sorted(tuned) == sorted([f"de-en/{m}/seed{s}", "test", "2"] for m in ("labo", "smoothing") for s in (1, 2))


def test_a_grid_is_chosen_on_the_first_seed(experiment, content, out):
    content["methods"]["penalty"] = {"criterion": "confidence_penalty", "confidence-penalty": [0.1, 0.2]}
    code, rows, _ = experiment()
    assert code == 0
    assert column(rows, "chosen")["penalty"] == "confidence-penalty=0.2"
    trained = [call[1] for call in calls(out) if call[0] == "train" and "penalty" in call[1]]
    assert sorted(trained) == [
        "de-en/penalty.confidence-penalty=0.1/seed1",
        "de-en/penalty.confidence-penalty=0.2/seed1",
        "de-en/penalty.confidence-penalty=0.2/seed2",
    ]


def test_varied_flags_get_a_table_and_a_plot(experiment, content, out):
    content["methods"]["labo"]["vary"] = {"rho": [0.5, 1]}
    assert experiment()[0] == 0
    rows = (out / "de-en/sensitivity_labo_rho.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == ["rho", "0.5", "1"]
    assert (out / "de-en/sensitivity_labo_rho.png").exists()


def test_the_sensitivity_figure_shows_the_table(experiment, content, out, monkeypatch):
    drawn = {}
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.update({path.name: figure}))
    content["methods"]["labo"]["vary"] = {"rho": [0.5, 1]}
    assert experiment()[0] == 0
    (axes,) = drawn["sensitivity_labo_rho.png"].axes
    rows = [row.split("\t") for row in (out / "de-en/sensitivity_labo_rho.tsv").read_text().splitlines()[2:]]
    assert axes.get_xlabel() == "rho" and axes.get_ylabel() == "BLEU (test)"
    assert list(axes.lines[0].get_xdata()) == [float(row[0]) for row in rows] == [0.5, 1]
    assert [f"{y:.2f}" for y in axes.lines[0].get_ydata()] == [row[1] for row in rows]
    assert [text.get_text() for text in axes.texts] == ["smoothing"]  # the level of the baseline
    (legend,) = drawn["sensitivity_labo_rho.png"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["labo"]


def table_at(path):
    """Rows of a table's file, and its notes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    heading, *rows = [line.split("\t") for line in lines if line[0] != "#"]
    return [dict(zip(heading, row, strict=True)) for row in rows], [line for line in lines[1:] if line[0] == "#"]


def test_further_checkpoints_and_a_learning_curve(experiment, content, out):
    content["decode"] |= {"checkpoints": ["best", "best-bleu"], "curve": [2, 3, 4], "metrics": ["bleu", "ter"]}
    code, rows, _ = experiment()
    assert code == 0, rows
    cell = out / "de-en/labo/seed1"
    # early checkpoints have more wrong lines in the stand-in; of equal ones the first is taken
    assert (cell / "checkpoints/checkpoint_best_bleu.pt").readlink() == Path("checkpoint_1_4.pt")
    scores = json.loads((cell / "curve.json").read_text())
    assert scores["scores"].keys() == {"checkpoint_1_2.pt", "checkpoint_1_4.pt", "checkpoint_best.pt"}
    assert [updates for updates, _ in scores["points"]] == [2, 4]
    assert scores["scores"]["checkpoint_1_2.pt"] < scores["scores"]["checkpoint_1_4.pt"]
    assert state(out, "labo/seed1")["checkpoints"]["best-bleu"]["bleu"]["value"] > 0
    further, _ = table_at(out / "de-en/table.best-bleu.tsv")
    assert [row["cells"] for row in further] == ["2/2", "2/2"] and float(further[0]["BLEU"]) > 0 and "TER" in further[0]
    curve, notes = table_at(out / "de-en/curves.tsv")
    # the stand-in logs 5 - update bits for every seed
    assert [(row["updates"], row["valid nll"]) for row in curve if row["method"] == "labo"] == [
        ("2", "3.000"), ("3", "2.000"), ("4", "1.000"),
    ]  # fmt: skip
    assert [row["BLEU valid"] == "–" for row in curve] == [False, True, False] * 2
    assert any("labo: no checkpoint after 3 updates" in note for note in notes)
    assert calls(out) and experiment()[1] == rows and calls(out) == []


def test_finished_cells_are_completed_by_what_is_added(experiment, content, out):
    experiment()
    before = (out / "de-en/labo/seed1/generate-test.txt").read_bytes()
    calls(out)
    content["decode"] |= {"checkpoints": ["best", "best-bleu"], "curve": [2]}
    code, rows, _ = experiment()
    assert code == 0, rows
    made = calls(out)
    assert not [call for call in made if call[0] == "train"]
    # three kept checkpoints on validation data, the best of them on validation and test data, in each of four cells
    assert len(made) == 4 * (3 + 2)
    assert (out / "de-en/labo/seed1/generate-test.txt").read_bytes() == before
    content["decode"]["curve"] = [2, 4]
    assert experiment()[0] == 0 and calls(out) == []  # that one has been scored already
    assert [u for u, _ in json.loads((out / "de-en/labo/seed1/curve.json").read_text())["points"]] == [2, 4]


def test_another_main_checkpoint_is_another_decoding(experiment, content, out):
    experiment()
    content["decode"]["checkpoints"] = ["best-bleu", "best"]
    code, rows, _ = experiment()
    assert code == 1 and sum("decoded with other settings" in row for row in rows) == 4


def test_the_best_checkpoint_of_each_direction(experiment, two_directions, out):
    two_directions["decode"]["checkpoints"] = ["best", "best-bleu"]
    code, rows, _ = experiment(changed=two_directions)
    assert code == 0, rows
    cell = out / "de_fr-en/labo/seed1"
    for direction in ("de-en", "fr-en"):
        assert (cell / f"checkpoints/checkpoint_best_bleu.{direction}.pt").exists()
        assert (cell / direction / "best-bleu/data").read_text().splitlines()[1] == direction
        assert table_at(out / direction / "table.best-bleu.tsv")[0][0]["cells"] == "2/2"


def test_bleu_has_its_parts_beside_it(experiment, content, out):
    content["seeds"] = [1]
    experiment()
    rows, notes = table_at(out / "de-en/bleu.tsv")
    table, _ = table_at(out / "de-en/table.tsv")
    assert [row["BLEU"] for row in rows] == [row["BLEU"] for row in table]
    for row in rows:
        penalty, ratio = float(row["brevity penalty"]), float(row["length ratio"])
        assert penalty == pytest.approx(math.exp(min(0, 1 - 1 / ratio)), abs=2e-3)
        orders = [float(row[f"{n}-gram"]) for n in (1, 2, 3, 4)]
        # BLEU is the geometric mean of the precisions times the penalty
        assert float(row["BLEU"]) == pytest.approx(penalty * math.prod(orders) ** 0.25, abs=0.1)
    assert "tok:13a" in notes[0]
    (confident, *_), _ = table_at(out / "de-en/confidence.tsv")
    # the stand-in gives every token log2 p = -0.5
    assert float(confident["mean"]) == pytest.approx(2**-0.5, abs=5e-4) and confident["surprisal (bits)"] == "0.500"


def test_the_parts_of_bleu_are_of_the_tokenizer_of_the_language(tmp_path):
    """Chinese under 13a is one word a sentence: 0 for a text that is right but for one sign."""
    (tmp_path / "raw").mkdir()
    for name, text in (("raw/test.zh", "我今天早上很高兴见到你\n"), ("out", "我今天早上很高兴看到你\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    corpus = Corpus(tmp_path, "en", "zh", False, False)
    system = systems.read_system("a", str(tmp_path / "out"))
    table = details.precisions("", {"a": [system]}, corpus)
    heading, row = table.rows
    # 11 characters, of which one is wrong
    assert row[heading.index("1-gram")] == f"{1000 / 11:.1f}" and row[heading.index("2-gram")] == f"{800 / 10:.1f}"
    assert "tok:zh" in table.notes[0]


def test_equal_seeds_are_compared_by_paired_tests(experiment, content, out):
    content["decode"] |= {"paired": True, "metrics": ["bleu"]}
    experiment()
    rows, notes = table_at(out / "de-en/paired.tsv")
    assert [(row["seed"], row["method"]) for row in rows] == [(s, m) for s in "12" for m in ("smoothing", "labo")]
    # both methods of a seed are the same in the stand-in, and the seeds differ by two wrong lines
    assert {row["BLEU p (bootstrap)"] for row in rows if row["method"] == "labo"} == {"1.0000"}
    assert float(rows[0]["BLEU"]) > float(rows[2]["BLEU"])
    assert any("paired bootstrap" in note for note in notes)


def test_kept_checkpoints(tmp_path):
    made, scored = tmp_path / "checkpoints", tmp_path / "curve"
    made.mkdir(), scored.mkdir()
    names = ("checkpoint10.pt", "checkpoint9.pt", "checkpoint_9_800.pt", "checkpoint_10_1000.pt", "checkpoint_last.pt",
             "checkpoint_average.pt", "checkpoint_best_bleu.pt", "checkpoint_crashed.pt")  # fmt: skip
    for name in names:
        (made / name).write_text(name)
    (made / "checkpoint_best.pt").write_text("checkpoint9.pt")  # a copy, as fairseq makes it
    (scored / "checkpoint8.txt").write_text("")  # translated before fairseq removed it
    wanted = {"checkpoint8.pt": None, "checkpoint9.pt": None, "checkpoint10.pt": None}
    wanted |= {"checkpoint_9_800.pt": 800, "checkpoint_10_1000.pt": 1000}
    kept = steps.kept_checkpoints(made, scored)
    assert kept == wanted and list(kept)[:3] == ["checkpoint8.pt", "checkpoint9.pt", "checkpoint10.pt"]
    (made / "checkpoint_best.pt").write_text("another")
    assert steps.kept_checkpoints(made, scored) == wanted | {"checkpoint_best.pt": None}


@pytest.mark.parametrize(
    ("cores", "jobs", "number", "gpus", "wanted"),
    [
        (8, None, 12, (), (8, 1)),
        (8, None, 3, (), (3, 2)),  # fewer cells than cores
        (8, 2, 12, (), (2, 4)),
        (8, 3, 12, (), (3, 2)),
        (2, 5, 12, (), (5, 1)),
        (1, None, 12, (), (1, 1)),
        (8, None, 12, (0, 1), (2, 4)),
        (8, 10**8, 12, (), (12, 1)),
        (8, None, 0, (), (1, 8)),
    ],
)
def test_cells_share_the_cores(monkeypatch, cores, jobs, number, gpus, wanted):
    monkeypatch.setattr(schedule, "available_cores", lambda: cores)
    assert schedule.share_cores(jobs, number, gpus) == wanted


def test_every_step_of_a_cell_gets_its_share(experiment, monkeypatch):
    monkeypatch.setattr(schedule, "available_cores", lambda: 6)
    threads, inner = [], steps._environment
    monkeypatch.setattr(steps, "_environment", lambda gpu, n=None: threads.append(n) or inner(gpu, n))
    _, _, err = experiment("--jobs", "2")
    assert set(threads) == {3}
    assert "labo experiment: 2 cells at a time; 3 of 6 CPU cores each" in err


def test_the_number_of_threads_that_the_user_set_stays(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert steps._environment(None, 3)["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in steps._environment(None)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert steps._environment(None, 3)["OMP_NUM_THREADS"] == "5"


def test_cells_are_placed_on_devices(content, write, stand_ins, out):
    found = schedule.run(spec.read(write(content)), out, gpus=(0, 3), jobs=2)
    assert all(status["state"] == "done" for _, status in found.values())
    trained = [call for call in calls(out) if call[0] == "train"]
    assert {call[3] for call in trained} == {"0", "3"}
    assert "--cpu" not in json.loads((out / "de-en/labo/seed1/command.json").read_text())


@pytest.fixture
def two_directions(content, tiny_corpus, tmp_path):
    """The experiment on a corpus of de-en and fr-en, with one model of both."""
    folder = tmp_path / "two"
    (folder / "bin").mkdir(parents=True)
    for kind in ("raw", "tok", "bpe"):
        (folder / kind).mkdir()
        for file in (tiny_corpus / kind).iterdir():
            subset, language = file.name.split(".")
            for source in ("de", "fr"):
                name = f"{subset}.{source}-en.{language.replace('de', source)}"
                shutil.copy(file, folder / kind / name)
    manifest = {"source": "de,fr", "target": "en", "synthetic": True, "lowercased": True}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    content["corpus"] = {"prepared": str(folder), "directions": ["de-en", "fr-en"], "multilingual": True}
    content["train"] |= {"task": "translation_multi_simple_epoch", "decoder-langtok": True}
    return content


@pytest.mark.slow
def test_one_model_of_two_directions(experiment, two_directions, out):
    two_directions["methods"]["labo"]["rho"] = [0.5, 1]
    two_directions["decode"]["lenpen"] = [1, 2]
    code, rows, _ = experiment(changed=two_directions)
    assert code == 0, rows
    assert column(rows, "cells") == {"smoothing": "2/2", "labo": "2/2"}
    made = calls(out)
    assert sorted(call[1] for call in made if call[0] == "train") == [
        "de_fr-en/labo.rho=0.5/seed1", "de_fr-en/labo.rho=0.5/seed2", "de_fr-en/labo.rho=1/seed1",
        "de_fr-en/smoothing/seed1", "de_fr-en/smoothing/seed2",
    ]  # fmt: skip
    # each direction is tuned and translated by itself
    assert len([call for call in made if call[0] == "generate"]) == 5 * 2 * 3
    cell = out / "de_fr-en/smoothing/seed1"
    scores = json.loads((cell / "status.json").read_text())["directions"]
    assert scores["de-en"]["bleu"]["value"] > scores["fr-en"]["bleu"]["value"] > 0
    for direction in ("de-en", "fr-en"):
        assert column((out / direction / "table.tsv").read_text().splitlines(), "lenpen")["labo"] == "2/2"
        command = json.loads((cell / direction / "command.json").read_text())
        assert command[command.index("--lang-pairs") + 1] == "de-en,fr-en" and "--source-lang" not in command
    commands = [entry["command"] for entry in json.loads((cell / "commands.json").read_text())]
    decoding = [command for command in commands if command[0] == "fairseq-generate"]
    assert all("--decoder-langtok" in command and "--lang-pairs" in command for command in decoding)
    assert [command[command.index("--source-lang") + 1] for command in decoding] == ["de"] * 3 + ["fr"] * 3
    assert experiment(changed=two_directions)[1] == rows
    assert calls(out) == []
    (cell / "fr-en/generate-test.txt").unlink()
    assert experiment(changed=two_directions)[1] == rows
    assert [call[:3] for call in calls(out)] == [["generate", "de_fr-en/smoothing/seed1", "test"]]


def test_one_model_is_calibrated_for_each_direction(two_directions, write, capsys):
    two_directions["decode"]["calibrate"] = "grouped"
    two_directions["seeds"] = 1
    assert main(["experiment", "run", str(write(two_directions)), "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for source in ("de", "fr"):
        languages = f"--source-lang {source} --target-lang en"
        file = f"de_fr-en/labo/seed1/{source}-en/calibration/grouped"
        assert sum(f"{languages} --objective nll --out {file} " in line for line in shown) == 1
        task = f"--task calibrated_translation_multi_simple_epoch --calibration {file}/calibration.json {languages}"
        assert sum(task in line for line in shown) == 2


@pytest.fixture
def hanging(content, write, out, stand_ins):
    """A run in a process of its own, whose first training hangs after two updates."""
    # there the stand-ins come by the PATH alone
    code = (
        "import os, sys\nfrom labo_fairseq.experiment import steps\noriginal = steps._environment\n"
        f"steps._environment = lambda gpu, threads=None: {{**original(gpu, threads), 'PATH': {str(stand_ins)!r}}}\n"
        "from labo_fairseq.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "experiment", "run", str(write(content)), "--out", str(out)]
    process = subprocess.Popen(
        command, env={**os.environ, "SLOW": "labo"}, stderr=subprocess.DEVNULL, start_new_session=True
    )
    last = out / "de-en/labo/seed1/checkpoints/checkpoint_last.pt"
    deadline = time.monotonic() + 120
    while not (last.exists() and last.read_text() == "2"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_run_is_interrupted_and_goes_on(experiment, hanging, out):
    assert "running" in "\n".join(experiment(command="status")[1])
    code, _, err = experiment()
    assert code == 2 and "works here" in err  # one run at a time
    os.killpg(hanging.pid, signal.SIGKILL)
    hanging.wait()
    assert "interrupted" in "\n".join(experiment(command="status")[1])
    calls(out)
    assert experiment()[0] == 0
    assert ["train", "de-en/labo/seed1", 2, None] in calls(out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_run_stops_its_trainings(experiment, hanging, out, number):
    hanging.send_signal(number)
    assert hanging.wait(timeout=60) == 130
    assert state(out, "labo/seed1")["state"] == "stopped"
    calls(out)
    code, rows, _ = experiment()
    assert code == 0, rows  # the lock is free, so no training was left behind
    assert ["train", "de-en/labo/seed1", 2, None] in calls(out)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("criterion", "laboo", "methods.labo.criterion: 'laboo': unknown: choose from"),
        ("rhoo", 0.5, "methods.labo: --rhoo: no such flag: did you mean --rho?"),
        ("rho", 7, "methods.labo: --rho: 7.0 is out of range"),
        ("smoothing-warmup-updates", 4, "is not below --max-update"),
    ],
)
def test_what_fairseq_would_refuse_is_refused_first(experiment, content, out, path, value, reason):
    content["methods"]["labo"][path] = value
    code, rows, err = experiment()
    assert code == 2 and not rows
    assert reason in err and err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--gpus", "0,0"], "different numbers"),
        (["--gpus", "one"], "different numbers"),
        (["--jobs", "0"], "1 or more"),
        (["--jobs", "-3"], "1 or more"),
        (["--jobs", "9" * 5000], "1 or more"),
        (["--jobs", "two"], "or auto"),
        (["--profile", "none"], "its profiles are none"),
        (["--gpus", "4096"], "torch sees"),
    ],
)
def test_bad_flags(experiment, flags, reason):
    code, _, err = experiment(*flags)
    assert code == 2
    assert reason in err and err.count("\n") == 1


def test_status_before_the_beginning(experiment):
    code, _, err = experiment(command="status")
    assert code == 2 and "has not begun" in err


def test_dry_run(content, write, tmp_path, capsys):
    content["corpus"] = {"name": "embedded", "directions": ["de-en"], "prepare": {"bpe-operations": 300}}
    content["methods"]["labo"]["rho"] = [0.5, 1]
    content["decode"] = {"beam": 2, "lenpen": [1, 2], "average": 3, "calibrate": "adaptive", "splits": {"test": 4}}
    assert main(["experiment", "run", str(write(content)), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out.replace(str(cells.PACKAGE), "PACKAGE").replace(str(tmp_path), "TMP")
    golden = Path(__file__).parents[1] / "golden/experiment_dry_run.txt"
    assert shown == golden.read_text(encoding="utf-8")
    assert not (tmp_path / "out").exists()


def test_the_lines_of_a_dry_run_can_be_pasted(content, write, tmp_path, capsys):
    """Into a shell where fairseq and labo are stand-ins: every line runs, and every file that they name can be made."""
    content["corpus"] = {"name": "embedded", "directions": ["de-en"], "prepare": {"bpe-operations": 300}}
    content["name"] = "It's mine"
    content["decode"] = {"lenpen": [1, 2], "splits": {"test": 4}}
    assert main(["experiment", "run", str(write(content)), "--dry-run", "--out", str(tmp_path / "my out")]) == 0
    stand_in = (
        'fairseq-train() { while [ $# -gt 0 ]; do [ "$1" = --log-file ] && : > "$2"; shift; done; }\n'
        'fairseq-generate() { echo "$@"; }\nlabo() { echo "$@"; }\n'
    )
    lines = stand_in + capsys.readouterr().out
    done = subprocess.run(["bash", "-eu"], input=lines, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "my out/de-en/labo/seed2/valid/none.lenpen2.txt").exists()


@pytest.mark.parametrize(
    "scores, point", [([5.0, 5.0, 5.0], 0), ([4.0, 5.0, 5.0], 1), ([5.0, 4.0, 5.0], 0), ([5.0, 5.0, 5.1], 2)]
)
def test_of_equal_points_of_a_grid_the_first_in_the_file_is_chosen(content, write, scores, point):
    """Whichever candidate was done first; `found` is filled in that order."""
    content["methods"]["labo"]["rho"] = [0.5, 1, 0.25]
    experiment = spec.read(write(content))
    candidates = [cell for cell in cells.first_cells(experiment) if cell.method.name == "labo"]
    method, directions = candidates[0].method, candidates[0].directions
    assert [cell.grid for cell in candidates] == method.candidates()
    found = []
    for cell, score in zip(candidates, scores, strict=True):
        status = {"state": "done"}
        for part in cell.parts:
            part.scores(status)["valid"] = {"bleu": score}
        found.append((cell, status))
    for order in itertools.permutations(found):
        assert schedule.chosen_point(order, directions, method) == {"rho": (0.5, 1, 0.25)[point]}
