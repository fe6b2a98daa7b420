"""`labo experiment` where nothing can be written, where a run was killed: one line, and no file half-written."""

import errno
import json
import os
import resource
import subprocess
import sys

import pytest

from labo_fairseq.cli import main
from labo_fairseq.experiment import cells, schedule, spec, steps, table
from labo_fairseq.files import write_aside


@pytest.mark.parametrize("kind", ["file", "below a file", "device", "proc", "too long"])
def test_out_cannot_be_made(content, write, tmp_path, capsys, kind):
    (tmp_path / "file").write_text("mine")
    places = {"file": tmp_path / "file", "below a file": tmp_path / "file/out", "device": "/dev/null/out",
              "proc": "/proc/nowhere/out", "too long": tmp_path / ("x" * 300)}  # fmt: skip
    assert main(["experiment", "run", str(write(content)), "--out", str(places[kind])]) == 2
    out, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if "cells at a time" not in line and "cell at a time" not in line]
    assert len(lines) == 1 and lines[0].startswith("labo experiment: --out: ") and not out
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "missing", "device"])
def test_status_of_a_folder_that_is_none(content, write, tmp_path, capsys, kind):
    (tmp_path / "file").write_text("mine")
    place = {"file": tmp_path / "file", "missing": tmp_path / "none", "device": "/dev/null"}[kind]
    assert main(["experiment", "status", str(write(content)), "--out", str(place)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--out" in error


@pytest.fixture
def begun(content, write, tmp_path, monkeypatch):
    """Function: begun(names) -> statuses of a run in which files of these names cannot be written."""
    monkeypatch.setattr(steps.Runner, "_call", lambda *args, **options: None)

    def run(module, *names):
        inner = module.write_aside

        def full(path, *mode):
            if os.path.basename(path) in names:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return inner(path, *mode)

        monkeypatch.setattr(module, "write_aside", full)
        return schedule.run(spec.read(write(content)), tmp_path / "out", jobs=1)

    return run


@pytest.mark.parametrize("name", ["command.json", "decode.json", "versions.json", "commands.json", "status.json"])
def test_a_full_disk_fails_the_cell_and_says_so(begun, tmp_path, name):
    for _, status in begun(cells, name).values():
        assert status["state"] == "failed" and "No space left on device" in status["message"]
        assert "\n" not in status["message"]
    assert not list((tmp_path / "out").rglob(name)) and not list((tmp_path / "out").rglob("*.part"))


def test_a_full_disk_while_tables_are_written(content, write, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(schedule, "run", lambda *args: {c.name: (c, {"state": "failed"}) for c in
                                                        cells.first_cells(spec.read(write(content)))})  # fmt: skip

    def full(path, *mode):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(table, "write_aside", full)
    assert main(["experiment", "run", str(write(content)), "--out", str(tmp_path / "out"), "--no-report"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("labo experiment: --out: ") and "No space left on device: make room" in last


def test_files_may_not_grow(content, write, tmp_path):
    """A real limit on the size of files, as a full disk or a quota: no traceback, nothing half-written."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "labo_fairseq.cli", "experiment", "run", str(write(content)), "--out", str(out)]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))

    done = subprocess.run([*command, "--no-report"], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert "File too large" in done.stdout + done.stderr
    for path in out.rglob("*.json"):
        json.loads(path.read_text())  # whole, or not there
    assert not list(out.rglob("*.part"))


def test_parts_of_a_killed_run_are_swept(content, write, tmp_path):
    """A process that dies inside write_aside leaves its part; the next run under the lock takes it away."""
    out = tmp_path / "out"
    cell = out / "de-en/labo/seed1"
    cell.mkdir(parents=True)
    (out / "data").mkdir()
    code = f"""
import os
from labo_fairseq.files import write_aside
kept = []
for path in ({str(cell / "status.json")!r}, {str(out / "data/manifest.json")!r}, {str(out / "de-en/table.tsv")!r}):
    kept.append(write_aside(path))
    stream = kept[-1].__enter__()
    stream.write("half")
    stream.flush()
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert len(list(out.rglob("*.part"))) == 3
    mine = [out / "de-en/notes.part", cell / ".hidden.part", out / "other/.a.abcdefgh.part", cell / "model.pt"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    outside = tmp_path / "images"
    outside.mkdir()
    (outside / ".b.abcdefgh.part").write_text("another run's")
    (out / "de-en/link").symlink_to(outside)
    schedule.sweep_parts(spec.read(write(content)), out)
    assert sorted(out.rglob("*.part")) == sorted(mine[:3]) and mine[3].exists()
    assert (outside / ".b.abcdefgh.part").exists()


def test_a_run_sweeps_only_under_its_lock(content, write, tmp_path):
    experiment, out = spec.read(write(content)), tmp_path / "out"
    (out / "de-en").mkdir(parents=True)
    with schedule._lock(out), write_aside(out / "de-en/table.tsv") as stream:
        stream.write("another run writes this")
        with pytest.raises(ValueError, match="works here"):
            schedule.run(experiment, out)
    assert (out / "de-en/table.tsv").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"state": 3}', '"done"', "\x00\x00", '{"state": "done"}'])
def test_a_damaged_status_is_none(content, write, tmp_path, capsys, text):
    """Files of a disk that lost power: status and run go on as if the cell had not ended."""
    out = tmp_path / "out"
    cell = out / "de-en/labo/seed1"
    cell.mkdir(parents=True)
    (cell / "status.json").write_text(text)
    assert main(["experiment", "status", str(write(content)), "--out", str(out)]) == 0
    assert "de-en/labo/seed1\t" in capsys.readouterr().out
