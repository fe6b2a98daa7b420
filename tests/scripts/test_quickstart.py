"""scripts/quickstart.sh with stand-ins for what is heavy, and labo_fairseq/recipe.py behind it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

import labo_fairseq
from labo_fairseq.experiment import precision, recipe

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"

# fairseq-train: trains 4 "updates", 2 per process where STOP is set, and fails where FAIL is
TRAIN = """\
import json, os, pathlib, signal, sys, time
arguments = sys.argv[1:]
log = pathlib.Path(arguments[arguments.index("--log-file") + 1])
save = pathlib.Path(arguments[arguments.index("--save-dir") + 1])
save.mkdir(exist_ok=True)
last = save / "checkpoint_last.pt"
begin = int(last.read_text()) if last.exists() else 0
print("fairseq is noisy")
if os.environ.get("FAIL"):
    sys.exit("fairseq-train: out of luck")
for update in range(begin + 1, 5):
    values = {"loss": "6", "nll_loss": 5 - update, "num_updates": update}
    line = json.dumps({"epoch": 1, **{"valid_" + key: str(value) for key, value in values.items()}})
    log.open("a").write(line + "\\n")
    print("2026-01-02 03:04:05 | INFO | valid | " + line, flush=True)
    last.write_text(str(update))
    if os.environ.get("STOP") and update == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("SLOW"):
        time.sleep(600)
log.open("a").write(json.dumps({"epoch": 1, "train_num_updates": "4", "train_train_wall": "2"}) + "\\ndone training\\n")
(save / "checkpoint_best.pt").write_text("best")
"""
GENERATE = """\
import os, sys
print("S-0\\tein Hund\\nT-0\\ta dog runs fast .\\nH-0\\t-0.5\\ta dog runs fast .\\nD-0\\t-0.5\\ta dog runs fast.")
sys.exit("fairseq-generate: out of luck" if os.environ.get("FAIL_GENERATE") else 0)
"""
PREPARE = """\
import json, pathlib, sys
from labo_fairseq.cli import main
if sys.argv[1] != "prepare":
    sys.exit(main())
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
for name in ("raw", "tok"):
    (out / name).mkdir(parents=True, exist_ok=True)
(out / "raw/test.en").write_text("A dog runs fast.\\n")
(out / "tok/test.en").write_text("a dog runs fast .\\n")
(out / "manifest.json").write_text(json.dumps({"target": "en", "synthetic": True, "lowercased": True}))
print(out / "bin")
"""


@pytest.fixture
def clone(tmp_path):
    """A clone whose install.sh makes an environment of stand-ins."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    (clone / "stubs").mkdir()
    shutil.copy(ROOT / "scripts/quickstart.sh", clone / "scripts")
    (clone / "labo_fairseq").symlink_to(ROOT / "labo_fairseq")
    programs = {"fairseq-train": TRAIN, "fairseq-generate": GENERATE, "labo": PREPARE}
    for name, text in programs.items():
        (clone / "stubs" / name).write_text(f"#!{sys.executable}\n{text}")
    # `check` imports fairseq and torch; it has a test of its own
    (clone / "stubs/python").write_text(f'#!/bin/sh\n[ "$3" = check ] || exec {sys.executable} "$@"\n')
    (clone / "scripts/install.sh").write_text('mkdir -p "$1" && cp -r stubs "$1/bin" && chmod +x "$1"/bin/*\n')
    return clone


def quickstart(clone, *arguments, **environment):
    return subprocess.run(
        ["bash", "scripts/quickstart.sh", *arguments],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
    )


MULTI30K = ("--corpus", "multi30k", "--raw-dir", "/r/a b")
SHORT = ("--max-update", "4", "--device", "cpu", "--criterion", "labo")
FOLDER = Path("runs/embedded.de-en.u4/labo")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("embedded", []),
        (
            "multi30k",
            [*MULTI30K, "--criterion", "cross_entropy", "--device", "cpu", "--out", "/o", "--max-update", "20"],
        ),
    ],
)
def test_dry_run_prints_the_commands_and_does_nothing(clone, name, arguments):
    result = quickstart(clone, *arguments, DRY_RUN="1")
    assert result.returncode == 0 and result.stdout == ""
    assert result.stderr == (GOLDEN / f"quickstart_{name}.txt").read_text(encoding="utf-8")
    assert sorted(path.name for path in clone.iterdir()) == ["labo_fairseq", "scripts", "stubs"]


def test_the_lines_of_a_dry_run_can_be_pasted(clone):
    """They lead to the table that the quickstart itself prints; its own lines begin with "+"."""
    lines = quickstart(clone, *SHORT, DRY_RUN="1").stderr
    assert not any(line.startswith("+") for line in lines.splitlines())
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    pasted = subprocess.run(["bash", "-e"], input=lines, cwd=clone, env=env, capture_output=True, encoding="utf-8")
    assert pasted.returncode == 0, pasted.stderr
    itself = quickstart(clone, *SHORT)
    assert "+ labo table" in itself.stderr and "run\tmethod" in itself.stdout
    assert pasted.stdout.splitlines()[-len(itself.stdout.splitlines()) :] == itself.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "wmt"], "--corpus: 'wmt': must be embedded or multi30k"),
        (["--criterion", "../../x"], "--criterion: '../../x': must be the name of a criterion"),
        (["--max-update", "0"], "--max-update: '0': must be a number of updates"),
        (["--max-update", "a[$(touch pwned)]"], "--max-update: 'a[$(touch pwned)]': must be a number of updates"),
        (["--device", "tpu"], "--device: 'tpu': must be cpu, cuda or auto"),
        (["--source", "german"], "--source: 'german': must be a language code"),
        (["--raw-dir", "x"], "the embedded corpus needs none: leave it out"),
        (["--out"], "--out: needs a value"),
        (["--outt", "x"], "--outt: unknown option: see --help"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(clone, arguments, message):
    result = quickstart(clone, *arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert sorted(path.name for path in clone.iterdir()) == ["labo_fairseq", "scripts", "stubs"]


def test_help_and_syntax(clone):
    result = quickstart(clone, "--help")
    assert result.returncode == 0 and "--criterion NAME" in result.stdout
    assert subprocess.run(["bash", "-n", ROOT / "scripts/quickstart.sh"]).returncode == 0


def test_from_nothing_to_a_table_and_again(clone):
    result = quickstart(clone, *SHORT)
    assert result.returncode == 0, result.stderr
    header, row = (line.split("\t") for line in result.stdout.splitlines()[:2])
    assert dict(zip(header, row, strict=True)) == {
        "run": "labo",
        "method": "labo adaptive ρ=0.5 τ=1.25",
        "updates": "4",
        "share under P*": "1.00",
        "BLEU": "100.00",
        "BLEU (tokenized)": "100.00",
        "true perplexity": "2.00",
        "updates/s": "2.00",
        "minutes": "0.0",
        "status": "ok",
    }
    assert "valid  update      4" in result.stderr and "fairseq is noisy" not in result.stderr
    assert "fairseq is noisy" in (clone / FOLDER / "terminal.log").read_text()
    command = json.loads((clone / FOLDER / "command.json").read_text())
    assert command[0] == "fairseq-train" and command[command.index("--criterion") + 1] == "labo" and "--cpu" in command
    before = {path: path.stat().st_mtime_ns for path in (clone / FOLDER).glob("*.*")}
    again = quickstart(clone, *SHORT)
    assert again.stdout == result.stdout and "trained already" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (clone / FOLDER).glob("*.*")} == before


def test_paths_with_spaces_and_from_another_folder(clone, tmp_path):
    result = subprocess.run(
        ["bash", clone / "scripts/quickstart.sh", "--out", "my runs", *SHORT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "VENV": "my venv"},
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "my venv/bin/python").exists()
    assert (tmp_path / "my runs/embedded.de-en.u4/labo/generate-test.txt").exists()
    assert "100.00" in result.stdout


BOTH = ("--max-update", "4", "--device", "cpu", "--criterion", "labo", "--criterion", "cross_entropy")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_methods_train_side_by_side_to_the_same_table(clone):
    """Each waits for the other in its first update: one after the other, they would wait for ever."""
    train = clone / "stubs/fairseq-train"
    meeting = """
(save.parent / "here").touch()
other = save.parents[1] / ("cross_entropy" if save.parent.name == "labo" else "labo")
while not (other / "here").exists():
    time.sleep(0.05)
assert os.environ["OMP_NUM_THREADS"] == "1"
"""
    train.write_text(train.read_text().replace("save.mkdir(exist_ok=True)\n", f"save.mkdir(exist_ok=True){meeting}"))
    result = quickstart(clone, *BOTH)
    assert result.returncode == 0, result.stderr
    table = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in table[1:3]] == ["labo", "cross_entropy"]
    for name in ("labo", "cross_entropy"):
        assert f"{name}:   valid  update      4" in result.stderr


@pytest.mark.slow
def test_where_one_of_two_fails_there_is_no_table(clone):
    result = quickstart(clone, *BOTH, FAIL="1")
    assert result.returncode == 1 and result.stdout == ""
    assert "labo/terminal.log" in result.stderr and "cross_entropy/terminal.log" in result.stderr


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_an_interrupt_ends_both_trainings(clone):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLOW": "1"}
    process = subprocess.Popen(
        ["bash", "scripts/quickstart.sh", *BOTH], cwd=clone, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    logs = [clone / FOLDER.parent / name / "train.log" for name in ("labo", "cross_entropy")]
    deadline = time.time() + 60
    while not all(log.exists() for log in logs) and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # to the script alone
    process.communicate(timeout=20)  # what holds the other end of standard error has ended too
    assert process.returncode == 130


@pytest.mark.parametrize(("has", "flags"), [({"avx512_bf16": True}, ["--bf16"]), ({"avx2": True}, [])])
def test_half_precision_where_the_cpu_has_it(tmp_path, monkeypatch, capsys, has, flags):
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    precision.chosen.cache_clear()
    command = ["true", "--cpu"]
    train = ["train", "--half-on-cpu", "--data", "data", str(tmp_path / "labo"), *command]
    assert recipe.main(train) == 0
    assert json.loads((tmp_path / "labo/command.json").read_text()) == [*command, *flags]
    assert f"labo: trains in {'bf16' if flags else 'float32'}: " in capsys.readouterr().err
    # resumed elsewhere, it goes on as it began
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {} if flags else {"amx_bf16": True}, raising=False)
    precision.chosen.cache_clear()
    assert recipe.main(train) == 0
    assert json.loads((tmp_path / "labo/command.json").read_text()) == [*command, *flags]
    assert recipe.main(["train", "--data", "data", str(tmp_path / "plain"), *command]) == 0
    assert json.loads((tmp_path / "plain/command.json").read_text()) == command
    precision.chosen.cache_clear()


def test_killed_training_goes_on_from_its_checkpoint(clone):
    killed = quickstart(clone, *SHORT, STOP="1")
    assert killed.returncode == 1 and killed.stdout == ""
    assert "fairseq-train ended with exit code -9" in killed.stderr
    result = quickstart(clone, *SHORT)
    assert result.returncode == 0 and "\tok" in result.stdout
    updates = [
        json.loads(line)["valid_num_updates"] for line in (clone / FOLDER / "train.log").read_text().splitlines()[:4]
    ]
    assert updates == ["1", "2", "3", "4"]  # none twice


def test_a_failure_shows_its_last_lines_and_where_the_rest_is(clone):
    result = quickstart(clone, *SHORT, FAIL="1")
    assert result.returncode == 1 and result.stdout == ""
    assert "fairseq-train: out of luck" in result.stderr and "labo/terminal.log" in result.stderr
    assert "Traceback" not in result.stderr
    result = quickstart(clone, *SHORT, FAIL_GENERATE="1")
    assert result.returncode == 1 and "fairseq-generate: out of luck" in result.stderr
    assert not (clone / FOLDER / "generate-test.txt").exists()
    assert quickstart(clone, *SHORT).returncode == 0


def test_other_options_in_the_same_folder_are_refused(clone):
    quickstart(clone, *SHORT)
    result = quickstart(clone, *SHORT[:2], *SHORT[4:])  # without --device cpu
    assert result.returncode == 2
    assert "command.json: this run was begun with other options" in result.stderr.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("flock"), reason="needs flock")
def test_a_second_quickstart_waits_for_the_first(clone):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLOW": "1"}
    command = ["bash", "scripts/quickstart.sh", *SHORT]
    first = subprocess.Popen(command, cwd=clone, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.time() + 20
        while not (clone / FOLDER / "train.log").exists() and time.time() < deadline:
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)  # the script alone: its fairseq-train lives on and still holds the lock
        first.wait()
        second = subprocess.Popen(command, cwd=clone, env=os.environ, stderr=subprocess.PIPE, encoding="utf-8")
        assert "waiting until it is done" in second.stderr.readline()
        assert second.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGKILL)
    second.stderr.read()
    assert second.wait(timeout=20) == 0


def test_finished_is_what_fairseq_says_last(tmp_path):
    log = tmp_path / "train.log"
    for text, finished in (("done training in 3 seconds\n", True), ("done training\n{}\n", False), ("", False)):
        log.write_text(text)
        assert recipe.has_finished(log) is finished
    assert not recipe.has_finished(tmp_path / "absent")


def test_check_names_the_known_criterions(monkeypatch, capsys):
    torch, criterions = types.ModuleType("torch"), types.ModuleType("fairseq.criterions")
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)
    criterions.CRITERION_REGISTRY = {"labo": None, "cross_entropy": None}
    for name, module in (
        ("torch", torch),
        ("fairseq", types.ModuleType("fairseq")),
        ("fairseq.criterions", criterions),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(labo_fairseq, "register", lambda: None)
    assert recipe.main(["check", "labo", "cross_entropy"]) == 0
    assert recipe.main(["check", "labo", "lobo"]) == 2
    assert "--criterion: lobo: unknown: choose from cross_entropy, labo" in capsys.readouterr().err
    assert recipe.main(["check", "--device", "cuda", "labo"]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err
