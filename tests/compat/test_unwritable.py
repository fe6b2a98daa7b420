"""F35: fairseq's commands where a folder, a file or a stream cannot be written, or the user ends them: one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
slow = pytest.mark.slow
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(redirect, command, *arguments, cwd=None):
    """A command with redirected streams; standard error is caught."""
    line = ["bash", "-c", f'exec "$0" "$@" {redirect}', str(BIN / command), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def assert_one_line(done, beginning):
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(beginning)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def make_file(path):
    path.write_text("x")
    return path


PLACES = {
    "a file": make_file,
    "in a file": lambda path: make_file(path) / "run",
    "nowhere in /proc": lambda path: Path("/proc/nothing/run"),
    "a device": lambda path: Path("/dev/null/run"),
    "a name that is too long": lambda path: path / ("a" * 300),
}


@pytest.mark.parametrize("place", [*list(PLACES)[:1], *(pytest.param(name, marks=slow) for name in list(PLACES)[1:])])
def test_a_save_dir_that_cannot_be_written(place, train_args, tmp_path, run_cli):
    path = PLACES[place](tmp_path / "place")
    assert_one_line(run_cli("fairseq-train", *train_args(path, 1)), f"fairseq-train: --save-dir: {path}: ")


@slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_save_dir_that_is_read_only(train_args, tmp_path, run_cli):
    tmp_path.chmod(0o555)
    assert_one_line(run_cli("fairseq-train", *train_args(tmp_path, 1)), f"fairseq-train: --save-dir: {tmp_path}: ")


@pytest.mark.parametrize("place", ["a folder", *(pytest.param(n, marks=slow) for n in ("in a file", "in no folder"))])
def test_a_log_file_that_cannot_be_written(place, train_args, tmp_path, run_cli):
    path = {
        "a folder": tmp_path,
        "in a file": make_file(tmp_path / "f") / "log",
        "in no folder": tmp_path / "no" / "log",
    }
    done = run_cli("fairseq-train", *train_args(tmp_path / "run", 1, "--log-file", path[place]))
    assert_one_line(done, f"fairseq-train: --log-file: {path[place]}: ")
    assert not (tmp_path / "run").exists()


def assert_trained(done, folder):
    """The training went on to its end, and no more than a line tells of the log."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "--- Logging error ---" not in done.stderr
    assert (folder / "checkpoint_last.pt").exists()
    assert done.stderr.count("the log cannot be written any more") == 1


@needs_full
def test_a_log_on_a_full_disk_does_not_end_a_training(train_args, tmp_path):
    assert_trained(shell(">/dev/full", "fairseq-train", *train_args(tmp_path, 1)), tmp_path)


@slow
@needs_full
def test_a_log_file_on_a_full_disk_does_not_end_a_training(train_args, tmp_path):
    assert_trained(shell("", "fairseq-train", *train_args(tmp_path, 1, "--log-file", "/dev/full")), tmp_path)


@slow
def test_a_reader_of_the_log_that_has_gone_does_not_end_a_training(train_args, tmp_path):
    assert_trained(shell("> >(head -1 >/dev/null)", "fairseq-train", *train_args(tmp_path, 3)), tmp_path)


@slow
def test_a_closed_standard_output_does_not_end_a_training(train_args, tmp_path):
    done = shell(">&-", "fairseq-train", *train_args(tmp_path, 1))
    assert done.returncode == 0 and (tmp_path / "checkpoint_last.pt").exists() and "Traceback" not in done.stderr


@needs_full
@pytest.mark.parametrize("redirect", [">/dev/full", pytest.param(">&-", marks=slow)])
def test_translations_that_nobody_gets(redirect, tiny_bin, trained):
    done = shell(redirect, "fairseq-generate", tiny_bin, "--path", trained / "checkpoint_best.pt", "--cpu")
    beginning = "fairseq-generate: " + ("standard output is closed" if "&-" in redirect else "No space left on device")
    assert_one_line(done, beginning)


@slow
@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_scores_that_nobody_gets(redirect, tiny_text):
    same = ["--sys", tiny_text / "test.en", "--ref", tiny_text / "test.en"]
    done = shell(redirect, "fairseq-score", *same)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@slow
@pytest.mark.parametrize(
    ("command", "flag"), [("fairseq-generate", "--results-path"), ("fairseq-preprocess", "--destdir")]
)
def test_results_that_cannot_be_written(command, flag, tiny_bin, tiny_text, trained, tmp_path, run_cli):
    place = make_file(tmp_path / "file") / "out"
    if command == "fairseq-generate":
        arguments = [tiny_bin, "--path", trained / "checkpoint_best.pt", "--cpu"]
    else:
        arguments = ["-s", "de", "-t", "en", "--trainpref", tiny_text / "train"]
    assert_one_line(run_cli(command, *arguments, flag, place), f"{command}: {flag}: {place}: ")


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_the_user_ends_a_training(number, train_args, tmp_path):
    arguments = train_args(tmp_path, 10**6, "--save-interval-updates", 2, "--keep-interval-updates", 1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    line = [str(word) for word in [BIN / "fairseq-train", *arguments]]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for text in process.stdout:
        if "Saved checkpoint" in text:
            break
    process.send_signal(number)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 130 and "Traceback" not in rest
    assert rest.splitlines()[-1].startswith("fairseq-train: interrupted: checkpoints are whole: ")
    assert not list(tmp_path.glob("*.tmp"))


@slow
def test_the_user_ends_a_translation(tiny_bin, trained):
    code = (
        "import sys, os, signal, fairseq_cli.generate as g; sys.argv[0] = 'fairseq-generate'\n"
        "def main(*_): os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)\n"
        "g._main = main; g.cli_main()"
    )
    line = [sys.executable, "-c", code, tiny_bin, "--path", trained / "checkpoint_best.pt", "--cpu"]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True, timeout=120)
    assert done.returncode == 130 and done.stderr.splitlines()[-1] == "fairseq-generate: interrupted"
    assert "Traceback" not in done.stderr


def test_parts_of_killed_runs_are_swept_and_nothing_else(train_args, tmp_path, run_cli):
    parts = ["checkpoint_last.pt.tmp", "checkpoint_best.pt.tmp", "checkpoint3.pt.tmp", "checkpoint_2_40.pt.tmp"]
    others = ["notes.tmp", "checkpoint_last.pt.tmp.keep", "my_checkpoint.pt.tmp"]
    for name in [*parts, *others]:
        (tmp_path / name).write_text("half")
    done = run_cli("fairseq-train", *train_args(tmp_path, 1))
    assert done.returncode == 0, done.stderr
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoint_last.pt", "checkpoint_best.pt", *others}
