"""Averaging the parameters of checkpoints of one training, as fairseq's scripts/average_checkpoints.py does."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from ..compat import checkpoints
from ..errors import UserError

NAMES = {"epoch": re.compile(r"checkpoint(\d+)\.pt"), "update": re.compile(r"checkpoint_\d+_(\d+)\.pt")}


def average_checkpoints(paths: Iterable) -> dict:
    """The content of the first checkpoint with the averaged parameters of all of them. Raises UserError."""
    state: dict = {}
    first, count = None, 0
    for path in paths:
        other_state = _load(path)
        count += 1
        if not state:
            state, first = other_state, path
            sums = {name: _summable(tensor).clone() for name, tensor in other_state["model"].items()}
            owners = _owners(other_state["model"])
            continue
        _check_alike(sums, other_state["model"], first, path)
        for name, tensor in other_state["model"].items():
            sums[name] += _summable(tensor)
        # tied in one file and untied in another: the values differ, so they cannot share memory
        other = _owners(other_state["model"])
        owners = {name: owner if other[name] == owner else name for name, owner in owners.items()}
    for tensor in sums.values():
        if tensor.is_floating_point():
            tensor.div_(count)
        else:
            tensor //= count
    state["model"] = {name: sums[owner] for name, owner in owners.items()}
    return state


def last_checkpoints(folder: str | Path, kind: str, number: int, upper_bound: int | None = None) -> list[Path]:
    """Paths of the last `number` checkpoints by "epoch" or "update", newest first. Raises UserError if too few."""
    if not Path(folder).is_dir():
        raise UserError(f"--inputs: {folder}: no such folder: --num-{kind}-checkpoints needs that of a training")
    numbered = [(int(match[1]), path) for path in Path(folder).iterdir() if (match := NAMES[kind].fullmatch(path.name))]
    numbered = sorted((n, path) for n, path in numbered if upper_bound is None or n <= upper_bound)
    if len(numbered) < number:
        have = f"--inputs: {folder}: has {len(numbered)} {kind} checkpoints, not {number}"
        raise UserError(f"{have}: {_advice(Path(folder), kind, len(numbered), upper_bound)}")
    return [path for _, path in reversed(numbered[-number:])]


def _advice(folder, kind, number, upper_bound):
    """What works in a folder with too few checkpoints of a kind."""
    if number > 1:
        return f"ask for {number}, or fewer"
    if upper_bound is not None:
        return "give a higher --checkpoint-upper-bound, or leave it out"
    other = "update" if kind == "epoch" else "epoch"
    of_other = sum(bool(NAMES[other].fullmatch(path.name)) for path in folder.iterdir())
    if of_other > 1:
        return f"it has {of_other} by {other}: --num-{other}-checkpoints {of_other}"
    keep = "train with --save-interval-updates N --keep-interval-updates M to keep the last M"
    named = sorted(str(path) for path in folder.glob("checkpoint*.pt"))
    return f"name them, --inputs {shlex.join(named)}, or {keep}" if len(named) > 1 else keep


def _load(path):
    state = checkpoints.load_safely(path)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict) or not state["model"]:
        raise UserError(f"{path}: holds no parameters under 'model': give a checkpoint of fairseq-train")
    for name, tensor in state["model"].items():
        if not isinstance(name, str) or not hasattr(tensor, "is_floating_point"):
            raise UserError(f"{path}: holds no tensor under 'model', {name!r}: give a checkpoint of fairseq-train")
    return state


def _check_alike(sums, model, first, path):
    for here, there, where in ((sums, model, path), (model, sums, first)):
        missing = [name for name in here if name not in there]
        if missing:
            raise UserError(f"{where}: has no parameter {missing[0]}: average checkpoints of one architecture only")
    for name, tensor in model.items():
        if tensor.shape != sums[name].shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, in {first} {tuple(sums[name].shape)}: "
                "average checkpoints of one architecture only"
            )


def _summable(tensor):
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor


def _owners(model):
    """{name: the first name of the same memory}."""
    first = {}
    return {
        name: first.setdefault((t.data_ptr(), t.shape, t.stride(), t.dtype) if t.numel() else name, name)
        for name, t in model.items()
    }
