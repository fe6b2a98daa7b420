"""F16: a checkpoint has its name only when it is whole, whatever happens while it is written."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("without_mend.py")
LIMIT = 50_000  # bytes; less than a checkpoint of the tiny model


@pytest.fixture(scope="module")
def fairseq_io():
    from fairseq import checkpoint_utils

    return checkpoint_utils


@pytest.fixture
def full_disk():
    """No file can grow beyond LIMIT while the test runs: write() fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_names_the_file(caught, path):
    assert caught.value.labo_user_error
    message = str(caught.value)
    assert message.startswith("cannot write the checkpoint (File too large): ")
    assert str(path) in message and "\n" not in message


def test_a_save_is_whole_and_leaves_nothing_else(fairseq_io, tmp_path):
    path = tmp_path / "checkpoint_best.pt"
    fairseq_io.torch_persistent_save({"a": torch.arange(3)}, str(path))
    assert torch.load(path)["a"].tolist() == [0, 1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint_best.pt"]


def test_a_save_on_a_full_disk_keeps_the_old_file(fairseq_io, tmp_path, full_disk):
    path = tmp_path / "checkpoint_best.pt"
    path.write_text("old")
    with pytest.raises(ValueError) as caught:
        fairseq_io.torch_persistent_save({"a": torch.zeros(LIMIT)}, str(path))
    assert_names_the_file(caught, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_copy_on_a_full_disk_keeps_the_old_file(fairseq_io, tmp_path, full_disk):
    source, path = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    source.write_bytes(bytes(2 * LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    path.write_text("old")
    with pytest.raises(ValueError) as caught:
        fairseq_io.PathManager.copy(str(source), str(path), overwrite=True)
    assert_names_the_file(caught, path)
    assert path.read_text() == "old" and sorted(tmp_path.iterdir()) == [source, path]


def test_what_is_no_fault_of_the_disk_keeps_its_error(fairseq_io, tmp_path):
    with pytest.raises(Exception, match="local object") as caught:
        fairseq_io.torch_persistent_save({"a": lambda: None}, str(tmp_path / "checkpoint.pt"))
    assert not hasattr(caught.value, "labo_user_error")
    assert not list(tmp_path.iterdir())


KILLED_IN_COPY = """
import os, shutil, sys
from fairseq.file_io import PathManager
def half(source, stream, length):
    stream.write(source.read(50_000)); stream.flush(); os._exit(9)
shutil.copyfileobj = half
PathManager.copy(sys.argv[1], sys.argv[2], overwrite=True)
"""


def test_a_kill_while_the_last_checkpoint_is_copied(fairseq_io, run_cli, trained, tmp_path):
    """The old checkpoint_last.pt stays, and the part that the killed run left is gone after the next copy."""
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    best, last = folder / "checkpoint_best.pt", folder / "checkpoint_last.pt"
    before = last.read_bytes()
    assert run_cli("python", "-c", KILLED_IN_COPY, best, last).returncode == 9
    assert last.read_bytes() == before
    assert (folder / "checkpoint_last.pt.tmp").stat().st_size == 50_000
    assert fairseq_io.PathManager.copy(str(best), str(last), overwrite=True)
    assert last.read_bytes() == best.read_bytes() and sorted(folder.iterdir()) == [best, last]


def train_on_a_full_disk(command, args):
    limit = (LIMIT, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    return subprocess.run(
        [*map(str, [*command, *args])],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
    )


def test_training_on_a_full_disk_ends_with_one_line(train_args, tmp_path):
    done = train_on_a_full_disk([Path(sys.executable).with_name("fairseq-train")], train_args(tmp_path / "run", 1))
    assert done.returncode == 2
    path = tmp_path / "run" / "checkpoint_best.pt"
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith(f"fairseq-train: cannot write the checkpoint (File too large): {path}: make room")
    assert "Traceback" not in done.stderr and not list((tmp_path / "run").iterdir())


@pytest.mark.slow
def test_f16_without_save_whole_files(train_args, tmp_path):
    command = [sys.executable, SCRIPT, "save_whole_files", "fairseq-train"]
    done = train_on_a_full_disk(command, train_args(tmp_path / "run", 1))
    assert "Traceback" in done.stderr
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["checkpoint_best.pt.tmp"]


def test_f16_without_copy_whole_files(run_cli, tmp_path):
    """fairseq's own copy leaves half a checkpoint under the final name."""
    source, last = tmp_path / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(bytes(2 * LIMIT))
    last.write_bytes(b"old")
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))\n"
        "import labo_fairseq_hook; labo_fairseq_hook._loader_module()\n"
        "sys.modules['_labo_fairseq_compat.mends'].MODULE_MENDS.pop('fairseq.file_io')\n"
        "from fairseq.file_io import PathManager; PathManager.copy(sys.argv[1], sys.argv[2], overwrite=True)"
    )
    assert run_cli("python", "-c", code, source, last).returncode == 1
    assert last.stat().st_size == LIMIT
