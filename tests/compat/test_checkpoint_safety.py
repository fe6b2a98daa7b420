"""Which checkpoint files are loaded, which are refused, and what the user is told."""

import os

import numpy as np
import pytest
import torch

from labo_fairseq.compat import checkpoints


class Payload:
    """Pickled, this calls os.system when the file is loaded without weights_only."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture(scope="module")
def checkpoint_utils():
    from fairseq import checkpoint_utils

    return checkpoint_utils


@pytest.fixture(params=["zip", "legacy"])
def malicious(request, trained, tmp_path):
    """(checkpoint with a payload, the file that the payload would make)."""
    sign = tmp_path / "executed"
    state = torch.load(trained / "checkpoint_best.pt", weights_only=False)
    state["extra_state"]["payload"] = Payload(f"touch {sign}")
    path = tmp_path / "malicious.pt"
    torch.save(state, path, _use_new_zipfile_serialization=request.param == "zip")
    return path, sign


def load_error(checkpoint_utils, path):
    with pytest.raises(ValueError) as caught:
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert caught.value.labo_user_error
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_code_in_a_checkpoint_is_not_run(checkpoint_utils, malicious):
    path, sign = malicious
    message = load_error(checkpoint_utils, path)
    assert f"contains code (GLOBAL {os.system.__module__}.system), it was not loaded" in message
    assert not sign.exists()


def test_the_payload_of_these_tests_does_run_without_weights_only(malicious):
    path, sign = malicious
    torch.load(path, weights_only=False)
    assert sign.exists()


def test_a_refused_checkpoint_ends_a_command_with_one_line(run_cli, tiny_bin, tmp_path):
    path = tmp_path / "malicious.pt"
    torch.save({"cfg": Payload(f"touch {tmp_path}/executed")}, path)
    done = run_cli("fairseq-generate", tiny_bin, "--path", path, "--cpu")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"fairseq-generate: {path}: this checkpoint contains code (GLOBAL ")
    assert "Traceback" not in done.stderr and not (tmp_path / "executed").exists()


def cut_in_half(data):
    return data[: len(data) // 2]


def empty(data):
    return b""


def text_instead(data):
    return b"version https://git-lfs.github.com/spec/v1\n"


def cut_by_a_little(data):
    return data[:-100]


@pytest.mark.parametrize("damage", [cut_in_half, cut_by_a_little, empty, text_instead])
@pytest.mark.parametrize("new_format", [True, False])
def test_a_damaged_checkpoint_is_named(checkpoint_utils, tmp_path, damage, new_format):
    path = tmp_path / "checkpoint_last.pt"
    torch.save({"model": {"weight": torch.zeros(100, 100)}}, path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(damage(path.read_bytes()))
    assert "damaged or cut short, it was not loaded" in load_error(checkpoint_utils, path)


def test_other_errors_stay_what_they_are(checkpoint_utils, tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "none.pt"))


def test_loading_by_ourselves_leaves_fairseq_its_allowed_types(checkpoint_utils, trained):
    path = trained / "checkpoint_last.pt"
    ours = checkpoints.load_safely(path)["model"]
    assert ours.keys() == checkpoint_utils.load_checkpoint_to_cpu(str(path))["model"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("removed", range(6))
def test_every_allowed_type_is_needed(trained, trained_by_two, removed):
    """Without any one of them, one of two checkpoints with BLEU counts (of one process, of two) is refused."""
    current = [entry for entry in checkpoints.checkpoint_globals() if not isinstance(entry, tuple)]
    assert len(current) == 6
    del current[removed]
    ours = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(current), pytest.raises(Exception, match="Weights only load failed"):
            for folder in (trained, trained_by_two):
                torch.load(folder / "checkpoint_last.pt", weights_only=True)
    finally:
        torch.serialization.add_safe_globals(ours)


def test_a_checkpoint_written_with_numpy_1_loads(checkpoint_utils, tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"counts": np.array([1, 2])}, path, _use_new_zipfile_serialization=False)
    now, then = b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\n_reconstruct\n"
    data = path.read_bytes()
    assert data.count(now) == 1
    path.write_bytes(data.replace(now, then))
    assert torch.load(path, weights_only=True)["counts"].tolist() == [1, 2]


def test_nothing_but_data_types_is_allowed():
    names = {entry if isinstance(entry, tuple) else entry.__qualname__ for entry in checkpoints.checkpoint_globals()}
    reconstruct = np.zeros(1).__reduce__()[0]
    expected = {"Namespace", "ndarray", "dtype", "Int64DType", "Float64DType", "_reconstruct"}
    assert names == expected | {(reconstruct, "numpy.core.multiarray._reconstruct")}
