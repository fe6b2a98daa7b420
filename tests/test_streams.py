"""What a command owes where a stream, a folder or the user ends it: one line, and nothing half-written."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from _analysis import labo, prepared_corpus, write

from labo_fairseq import cli, files
from labo_fairseq.errors import UserError

COMMANDS = {
    "score": ["--reference", "ref", "--system", "a=gen"],
    "splits": ["--dict", "dict", "--source", "ref", "--reference", "ref", "--system", "a=gen", "--parts", "1"],
    "confidence": ["--system", "a=gen"],
    "compare": ["--reference", "ref", "--system", "a=gen", "--system", "b=ref"],
    "table": ["run"],
    "inference-calibration": ["gen"],
    "doctor": ["--help"],
    "targets": ["--help"],
    "noise": ["estimate", "--help"],
}


@pytest.fixture
def folder(tmp_path):
    log = "S-0\ta b\nT-0\ta b c d\nH-0\t-1.0\ta b c d\nD-0\t-1.0\ta b c d\nP-0\t-1.0 -1.0 -1.0 -1.0 -1.0\n"
    write(tmp_path / "gen", log)
    write(tmp_path / "ref", "a b c d\n")
    write(tmp_path / "dict", "a 4\nb 3\nc 2\nd 1\n")
    (tmp_path / "run").mkdir()
    return tmp_path


def run(folder, line, **options):
    code = "from labo_fairseq.cli import main; import sys; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **options.pop("env", {})}
    shell = f'exec "$0" -c "$1" "${{@:2}}" {options.pop("redirect", "")}'
    arguments = [sys.executable, code, *line]
    return subprocess.run(
        ["bash", "-c", shell, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_behind_standard_output(folder, command):
    done = run(folder, [command, *COMMANDS[command]], redirect=">/dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"labo {command}: standard output: No space left on device: ")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_standard_output(folder, command):
    done = run(folder, [command, *COMMANDS[command]], redirect=">&-")
    assert (done.returncode, done.stderr) == (2, f"labo {command}: standard output: closed: redirect it to a file\n")


def test_a_closed_standard_error_changes_no_result(folder):
    write(folder / "half", "a b\n")
    done = run(folder, ["score", "--reference", "ref", "--system", "a=ref", "--system", "b=gen"], redirect="2>&-")
    assert done.returncode == 0 and done.stdout.startswith("system\tBLEU")
    done = run(folder, ["score", "--reference", "none", "--system", "a=ref"], redirect="2>&-")
    assert done.returncode == 2 and done.stdout == ""


def test_a_terminal_that_cannot_show_a_character(folder):
    line = ["score", "--reference", "ref", "--system", "a=gen", "--significance", "bootstrap", "--samples", "5"]
    done = run(folder, line, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2 and done.stderr.startswith("labo score: standard output cannot show")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("out", ["/dev/null/x", "/proc/nothing/x", "gen/x", "a" * 300, "gen/new\nline"])
@pytest.mark.parametrize(
    "line",
    [
        ["inference-calibration", "gen", "--out"],
        ["splits", *COMMANDS["splits"], "--write-splits"],
        ["report", "run", "--out"],
        ["confidence", "--system", "a=gen", "--figure"],
    ],
    ids=lambda line: line[0],
)
def test_places_that_cannot_be_written(folder, line, out):
    if line[0] == "report":
        corpus = prepared_corpus(folder / "data", number=4)
        from _analysis import finished_run

        (folder / "run").rmdir()
        finished_run(folder / "run", corpus, 0.5)
    out = f"{out}/f.png" if line[0] == "confidence" else out
    before = sorted(folder.rglob("*"))
    done = labo(*line, out, cwd=folder)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"labo {line[0]}: ") and "Traceback" not in done.stderr
    assert len([text for text in done.stderr.splitlines() if not text.startswith(("warning", "note"))]) == 1
    assert sorted(folder.rglob("*")) == before


WAITING = """
import sys, time
from labo_fairseq import cli
from labo_fairseq.analysis import systems
def wait(*_, **__):
    print("ready", flush=True)
    time.sleep(60)
systems.{name} = wait
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("command", "name"),
    [("score", "read_systems"), ("splits", "read_lines"), ("compare", "read_systems"), ("confidence", "read_systems")],
)
def test_control_c_is_one_line_and_130(folder, command, name):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.format(name=name), command, *COMMANDS[command]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, f"labo {command}: interrupted\n")


def test_control_c_while_a_command_is_imported(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", interrupted)
    assert cli.main(["table", "x"]) == 130 and capsys.readouterr().err == "labo table: interrupted\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "f"), "f: No space left on device: free some space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "f"),
            "f: Permission denied: give a file or folder that can be used",
        ),
        (OSError("odd"), "standard output: odd: give a file or folder that can be used"),
        (UserError("a: b:\nc"), "a: b: c"),
    ],
)
def test_every_error_of_the_system_is_one_line(monkeypatch, capsys, error, line):
    class Module:
        add_arguments = staticmethod(lambda parser: parser.add_argument("runs"))

        @staticmethod
        def run(_):
            raise error

    monkeypatch.setattr(cli.importlib, "import_module", lambda _: Module)
    assert cli.main(["table", "x"]) == 2 and capsys.readouterr().err == f"labo table: {line}\n"


def test_a_bug_is_no_mistake_of_the_user(monkeypatch):
    def broken(_):
        raise ValueError("a bug")

    monkeypatch.setattr(cli.importlib, "import_module", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["table", "x"])


@pytest.mark.parametrize("command", cli.SUBCOMMANDS)
def test_no_parser_takes_abbreviations(command, monkeypatch):
    made = []
    monkeypatch.setattr(cli.Parser, "parse_args", lambda self, _: made.append(self) or sys.exit(0))
    with pytest.raises(SystemExit):
        cli.main([command])
    (parser,) = made
    below = [p for action in parser._actions if hasattr(action, "_name_parser_map") for p in action.choices.values()]
    assert not any(one.allow_abbrev for one in (parser, *below))


# files.write_aside

KILLED = """
import os, signal, sys
from labo_fairseq.files import write_aside
with write_aside(sys.argv[1]) as stream:
    stream.write("half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED, path], env=environment)
    assert done.returncode == -signal.SIGKILL


def parts(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".part")


def test_the_next_run_sweeps_what_a_killed_one_left(tmp_path):
    for _ in range(2):
        killed_writer(tmp_path / "out.txt")
        assert len(parts(tmp_path)) == 1 and not (tmp_path / "out.txt").exists()
    with files.write_aside(tmp_path / "out.txt") as stream:
        stream.write("whole")
    assert parts(tmp_path) == [] and (tmp_path / "out.txt").read_text() == "whole"


def test_parts_of_living_writers_and_of_other_files_stay(tmp_path):
    killed_writer(tmp_path / "out.txt.gz")
    killed_writer(tmp_path / "other")
    write(tmp_path / ".out.txt.mine.part", "no part of ours: its name is the user's")
    left = parts(tmp_path)
    with files.write_aside(tmp_path / "out.txt") as first:
        first.write("first")
        with files.write_aside(tmp_path / "out.txt") as second:
            second.write("second")
        assert (tmp_path / "out.txt").read_text() == "second"
    assert (tmp_path / "out.txt").read_text() == "first" and parts(tmp_path) == left


def test_parts_that_an_older_version_left_are_swept(tmp_path):
    write(tmp_path / ".out.txt.a1b2_c3d.part", "")
    with files.write_aside(tmp_path / "out.txt"):
        pass
    assert parts(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_writer_leaves_the_old_file(tmp_path, error):
    path = Path(write(tmp_path / "out.txt", "old"))
    with (
        pytest.raises(type(error) if isinstance(error, OSError) else error) as caught,
        files.write_aside(path) as stream,
    ):
        stream.write("new")
        raise error
    assert path.read_text() == "old" and parts(tmp_path) == []
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "none" / "out.txt"
    with pytest.raises(OSError) as caught, files.write_aside(path):
        pass
    assert caught.value.filename == str(path)


def test_permissions_are_those_of_open(tmp_path):
    mask = os.umask(0o027)
    try:
        with files.write_aside(tmp_path / "out.txt"):
            pass
    finally:
        os.umask(mask)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o640


def test_writers_side_by_side_lose_nothing(tmp_path):
    """Births, locks and sweeps of several processes in one folder; every one of them ends without an error."""
    code = (
        "import sys; from labo_fairseq.files import write_aside\n"
        "for i in range(200):\n    with write_aside(sys.argv[1]) as stream: stream.write(sys.argv[2] * 1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    line = [sys.executable, "-c", code, tmp_path / "out.txt"]
    running = [subprocess.Popen([*line, letter], env=environment) for letter in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    assert len(set((tmp_path / "out.txt").read_text())) == 1 and parts(tmp_path) == []
