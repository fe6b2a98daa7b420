"""Checkpoints that are damaged, odd or malicious: every reader gives a result, or one line that names the file."""

import argparse
import copy
import os
import random
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labo_fairseq.cli import main
from labo_fairseq.compat import checkpoints
from labo_fairseq.fairseq_models.averaging import average_checkpoints

MIB = 1 << 20


def mistake_of(read, path):
    """The line of a UserError that `read` raises on a path; None if it reads it. Any other error fails the test."""
    try:
        read(path)
    except ValueError as error:
        assert getattr(error, "labo_user_error", False), error
        message = str(error)
        assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 700
        return message
    return None


def readers():
    """{name: function of a path} of all that reads a checkpoint."""
    from fairseq import checkpoint_utils

    return {
        "load_safely": checkpoints.load_safely,
        "average": lambda path: average_checkpoints([path, path]),
        "load_checkpoint_to_cpu": lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path)),
        "load_model": lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
    }


@pytest.fixture(scope="module")
def good(trained):
    """Content of a checkpoint of fairseq-train; not to be changed."""
    return checkpoints.load_safely(trained / "checkpoint_best.pt")


# archives that unpack to far more than they hold


def with_records(path, records, compression=zipfile.ZIP_DEFLATED):
    """A zip archive like torch's whose records are {name: bytes}."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/version", "3\n")
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)


BOMBS = {
    "50 MB of empty lists": lambda path: with_records(path, {"data.pkl": b"\x80\x02" + b"]0" * (25 * MIB) + b"N."}),
    "50 MB of numbers, in bzip2": lambda path: with_records(
        path, {"data.pkl": b"\x80\x02" + b"K\x010" * (17 * MIB) + b"N."}, zipfile.ZIP_BZIP2
    ),
    "50 MB of a text": lambda path: with_records(
        path, {"data.pkl": b"\x80\x02X" + (50 * MIB).to_bytes(4, "little") + b"a" * (50 * MIB) + b"."}
    ),
    "20 MB stored as they are": lambda path: with_records(
        path, {"data.pkl": b"\x80\x02" + b"K\x010" * (7 * MIB) + b"N."}, zipfile.ZIP_STORED
    ),
    "a tensor of 64 MB of zeros": lambda path: with_records(
        path, {"data.pkl": b"\x80\x02}.", "data/0": bytes(64 * MIB)}, zipfile.ZIP_LZMA
    ),
    "forty records of a megabyte": lambda path: with_records(
        path, {"data.pkl": b"\x80\x02}.", **{f"data/{i}": bytes(MIB) for i in range(40)}}
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_that_unpacks_to_too_much_is_not_opened_at_all(bomb, tmp_path, monkeypatch):
    path = tmp_path / "bomb.pt"
    BOMBS[bomb](path)
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("was loaded"))
    for name, read in readers().items():
        assert "this archive unpacks to" in mistake_of(read, path), name


@pytest.mark.slow
def test_commands_refuse_such_an_archive_in_one_line(tmp_path, tiny_bin, run_cli, train_args, capsys):
    path = tmp_path / "bomb.pt"
    BOMBS["50 MB of empty lists"](path)
    for command in (
        ["fairseq-generate", tiny_bin, "--path", path, "--cpu"],
        ["fairseq-train", *train_args(tmp_path / "run", 1), "--restore-file", path],
        ["fairseq-train", *train_args(tmp_path / "run", 1), "--finetune-from-model", path],
    ):
        done = run_cli(*command)
        assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout
        assert done.stderr.splitlines()[-1].startswith(f"{command[0]}: {path}: this archive unpacks to 50 MiB")
    for command in (["calibrate", tiny_bin, "--path", path, "--out", tmp_path / "out", "--cpu"],
                    ["average", "--inputs", path, "--output", tmp_path / "average.pt"]):  # fmt: skip
        assert main([str(word) for word in command]) == 2
        assert f"{path}: this archive unpacks to 50 MiB" in capsys.readouterr().err


def test_archives_as_torch_writes_them_pass(good, tmp_path):
    # 40,000 tensors, more than any model of fairseq has, are a pickle of some megabytes
    state = {**good, "model": {**good["model"], **{f"w{i}": torch.zeros(1) for i in range(40_000)}}}
    torch.save(state, tmp_path / "many.pt")
    checkpoints.check_archive(tmp_path / "many.pt")
    torch.save({"model": {"w": torch.zeros(10 * MIB)}}, tmp_path / "large.pt")
    checkpoints.check_archive(tmp_path / "large.pt")


# files that are no checkpoint


def saved(content):
    return lambda path: torch.save(content, path)


def written(data):
    return lambda path: path.write_bytes(data)


def folder(path):
    path.mkdir()


def foreign_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")


OTHER_FILES = {
    "text": written(b"dear reader,\nthis is no checkpoint\n"),
    "text that begins like a pickle": written(b"(lp0\nS'a'\np1\na."),
    "random bytes": written(random.Random(1).randbytes(5000)),
    "zeros": written(bytes(5000)),
    "nothing": written(b""),
    "a folder": folder,
    "a foreign zip": foreign_zip,
    "an empty zip": written(b"PK\x05\x06" + bytes(18)),
    "gzip": written(b"\x1f\x8b\x08\x00" + bytes(50)),
    "a pickle of a number": written(b"\x80\x04K\x01."),
    "a page of HTML": written(b"<!DOCTYPE html><title>404</title>"),
    "a list": saved([1, 2]),
    "a tensor": saved(torch.zeros(3)),
    "a text": saved("checkpoint"),
    "None": saved(None),
    "an empty dict": saved({}),
    "parameters alone": saved({"encoder.weight": torch.zeros(2)}),
    "no parameters": saved({"model": {}}),
    "parameters in a list": saved({"model": [torch.zeros(2)]}),
    "numbers as parameters": saved({"model": {"a": 1.0}}),
    "names that are numbers": saved({"model": {1: torch.zeros(2)}}),
    "numpy as parameters": saved({"model": {"a": np.zeros(2)}}),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_that_is_no_checkpoint(kind, tmp_path):
    path = tmp_path / "checkpoint.pt"
    OTHER_FILES[kind](path)
    for name, read in readers().items():
        message = mistake_of(read, path)
        loads_by_itself = name == "load_safely" and ("parameters" in kind or kind in LOADED)
        # what is loaded safely need not be a checkpoint: who reads it says so
        assert message or loads_by_itself, name


LOADED = ("a list", "a tensor", "a text", "None", "an empty dict", "names that are numbers", "a pickle of a number")


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("random bytes", "a folder", "a list", "a foreign zip")
        ),
    ],
)
@pytest.mark.slow
def test_commands_say_so_in_one_line(kind, tmp_path, tiny_bin, run_cli, train_args):
    path = tmp_path / "checkpoint.pt"
    OTHER_FILES[kind](path)
    for command in (
        ["fairseq-generate", tiny_bin, "--path", path, "--cpu"],
        ["fairseq-train", *train_args(tmp_path / "run", 1), "--restore-file", path],
        ["fairseq-train", *train_args(tmp_path / "run", 1), "--finetune-from-model", path],
    ):
        done = run_cli(*command)
        assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout, done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"{command[0]}: ") and str(path) in last


# checkpoints with something missing, of another type or of another shape


def changed(good, change):
    state = copy.deepcopy(good)
    change(state)
    return state


def first_of(state):
    return next(name for name, tensor in state["model"].items() if tensor.dim() == 2)


def remove(state):
    del state["model"][first_of(state)]


def add(state):
    state["model"]["decoder.layers.7.fc1.weight"] = torch.zeros(2, 2)


def reshape(state):
    state["model"][first_of(state)] = torch.zeros(3, 5)


def flatten(state):
    state["model"][first_of(state)] = torch.zeros(3)


def rename(state):
    state["model"] = {f"module.{name}": tensor for name, tensor in state["model"].items()}


def no_settings(state):
    state["cfg"] = state["args"] = None


def another_architecture(state):
    state["cfg"]["model"].arch = state["cfg"]["model"]._name = "no_such_model"


def heads_of_text(state):
    state["cfg"]["model"].encoder_attention_heads = "two"


def no_layers(state):
    state["cfg"]["model"].decoder_layers = None


def another_task(state):
    state["cfg"]["task"]["_name"] = "no_such_task"


def list_of_settings(state):
    state["cfg"] = [1, 2]


CHANGES = [remove, add, reshape, flatten, rename, no_settings, another_architecture, heads_of_text, no_layers,
           another_task, list_of_settings]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        reshape,
        no_settings,
        *(pytest.param(c, marks=pytest.mark.slow) for c in CHANGES if c is not reshape),
    ],
    ids=lambda change: change.__name__,
)
def test_a_checkpoint_that_does_not_fit_itself(change, good, tmp_path, tiny_bin, run_cli):
    path = tmp_path / "checkpoint.pt"
    torch.save(changed(good, change), path)
    assert mistake_of(readers()["load_model"], path)
    if change is another_task:
        return  # fairseq-generate takes the task from the command line
    done = run_cli("fairseq-generate", tiny_bin, "--path", path, "--cpu")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"fairseq-generate: {path}: ")


SLOW = [pytest.param(change, marks=pytest.mark.slow) for change in (add, reshape, flatten, rename)]


@pytest.mark.parametrize("change", [remove, *SLOW], ids=lambda change: change.__name__)
def test_a_training_does_not_go_on_from_it(change, good, tmp_path, run_cli, train_args):
    path = tmp_path / "checkpoint.pt"
    torch.save(changed(good, change), path)
    done = run_cli("fairseq-train", *train_args(tmp_path / "run", 8), "--restore-file", path)
    assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout
    assert done.stderr.splitlines()[-1].startswith(f"fairseq-train: {path}: does not fit this training (")


# anything at all

ODD = [None, 1, -1, 1 << 70, 0.5, float("nan"), "x", "", "__import__('os').system('true')", b"x", [], {}, [1], {"a": 1},
       (1, 2), True, "${oc.env:HOME}", "???", "${"]  # fmt: skip
ODD_OBJECTS = [lambda: torch.zeros(2), lambda: torch.zeros(0), lambda: np.arange(2), lambda: argparse.Namespace(a=1)]
REMOVED = object()


def places(value, at=()):
    """Every place in a checkpoint: a tuple of keys, indices and names of attributes."""
    yield at
    if isinstance(value, argparse.Namespace):
        value = vars(value)
        keys = [("attribute", key) for key in value]
        inside = list(value.values())
    elif isinstance(value, dict):
        keys, inside = list(value), list(value.values())
    elif isinstance(value, list):
        keys, inside = range(len(value)), value
    else:
        return
    for key, part in zip(keys, inside, strict=True):
        yield from places(part, (*at, key))


def inside_of(value):
    return vars(value) if isinstance(value, argparse.Namespace) else value


def put(state, place, value):
    *path, last = [key[1] if isinstance(key, tuple) and key[0] == "attribute" else key for key in place]
    for key in path:
        state = inside_of(state)[key]
    if value is REMOVED:
        del inside_of(state)[last]
    else:
        inside_of(state)[last] = value


@st.composite
def odd_states(draw, good):
    state = copy.deepcopy(good)
    everywhere = [place for place in places(good) if place]
    shallow = [place for place in everywhere if len(place) < 4 and place[0] != "cfg"]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(draw(st.sampled_from([everywhere, shallow]))))
        value = draw(st.sampled_from([*ODD, REMOVED]) | st.sampled_from(ODD_OBJECTS).map(lambda make: make()))
        try:
            put(state, place, value if value is REMOVED else copy.deepcopy(value))
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    return state


@st.composite
def damaged_bytes(draw, whole):
    """A whole file with some bytes changed, taken out or doubled."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)) | st.integers(0, min(2000, len(data))))
        end = min(len(data), start + draw(st.integers(0, 40)))
        data[start:end] = draw(st.binary(max_size=8) | st.just(bytes(data[start:end]) * 2))
    if draw(st.integers(0, 4)) == 0:
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


def fuzz(test, examples):
    profile = settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=examples < 100
    )
    return profile(given(st.data())(test))


def read_all(path):
    for read in readers().values():
        mistake_of(read, path)


@pytest.mark.parametrize("examples", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_odd_content(good, tmp_path, examples):
    def any_state(data):
        torch.save(data.draw(odd_states(good)), tmp_path / "odd.pt")
        read_all(tmp_path / "odd.pt")

    fuzz(any_state, examples)()


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("examples", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_bytes(good, tmp_path, examples, new_format):
    path = tmp_path / "damaged.pt"
    small = {**good, "last_optimizer_state": None}
    torch.save(small, path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()

    def any_bytes(data):
        path.write_bytes(data.draw(damaged_bytes(whole)))
        read_all(path)

    fuzz(any_bytes, examples)()


@pytest.mark.parametrize("examples", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_odd_content_in_a_restart(good, train_args, tmp_path, examples):
    from fairseq import checkpoint_utils, options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    path = tmp_path / "odd.pt"
    words = [str(word) for word in train_args(tmp_path / "run", 8, "--restore-file", path)]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), words))
    task = tasks.setup_task(cfg.task)

    def restart(_):
        trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
        batches = checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)[1]
        trainer.train_step([next(iter(batches.next_epoch_itr()))])

    def any_state(data):
        torch.save(data.draw(odd_states(good)), path)
        mistake_of(restart, path)

    fuzz(any_state, examples)()


def test_none_of_the_odd_texts_has_run_as_code(good, tmp_path):
    sign = tmp_path / "executed"
    code = f"__import__('os').system('touch {sign}') or [50]"
    names = [place for place in places(good) if place[:2] == ("cfg", "model") and len(place) == 3]
    assert len(names) > 50
    for place in names:
        state = copy.deepcopy(good)
        put(state, place, code)
        torch.save(state, tmp_path / "odd.pt")
        mistake_of(readers()["load_model"], tmp_path / "odd.pt")
    assert not os.path.exists(sign)
