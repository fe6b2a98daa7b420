"""Average the parameters of checkpoints of one training, as fairseq's scripts/average_checkpoints.py does.

  labo average --inputs run/checkpoints --num-epoch-checkpoints 10 --output run/checkpoint_average.pt
  labo average --inputs checkpoint8.pt checkpoint9.pt checkpoint10.pt --output average.pt

The numbers are those of fairseq's script: float16 is summed as float32, whole numbers are divided with floor,
everything but the parameters comes from the first checkpoint, which is the newest of --num-*-checkpoints. Three things
differ: files are loaded without running code in them (torch.load with weights_only=True), bfloat16 is summed as float32
too, and parameters that share memory, such as tied embeddings, still do in the output.
"""

import re
import sys
from pathlib import Path

from tqdm import tqdm

from .errors import UserError
from .files import write_aside

NAMES = {"epoch": re.compile(r"checkpoint(\d+)\.pt"), "update": re.compile(r"checkpoint_\d+_(\d+)\.pt")}


def add_arguments(parser):
    """Declare the arguments of `labo average`."""
    parser.add_argument("--inputs", required=True, nargs="+", metavar="FILE", help="checkpoints, or one folder of them")
    parser.add_argument("--output", required=True, metavar="FILE", help="the averaged checkpoint")
    number = parser.add_mutually_exclusive_group()
    for kind, name in (("epoch", "checkpoint7.pt"), ("update", "checkpoint_7_4000.pt")):
        number.add_argument(
            f"--num-{kind}-checkpoints",
            type=int,
            metavar="N",
            help=f"average the last N files such as {name} of the folder in --inputs",
        )
    parser.add_argument(
        "--checkpoint-upper-bound", type=int, metavar="N", help="of these leave out later epochs (or updates) than N"
    )


def run(args):
    """Write the average; returns 0. Raises UserError on bad input."""
    paths = _chosen(args)
    state = average_checkpoints(tqdm(paths, desc="average", unit="file", leave=False, disable=None))
    _save(state, args.output)
    for path in paths:
        print(f"averaged {path}", file=sys.stderr)
    print(args.output)
    return 0


def average_checkpoints(paths):
    """The content of the first checkpoint with the averaged parameters of all of them. Raises UserError."""
    state, first, count = None, None, 0
    for path in paths:
        found = _load(path)
        count += 1
        if state is None:
            state, first = found, path
            sums = {name: _summable(tensor).clone() for name, tensor in found["model"].items()}
            owners = _owners(found["model"])
            continue
        _check_alike(sums, found["model"], first, path)
        for name, tensor in found["model"].items():
            sums[name] += _summable(tensor)
        # tied in one file and untied in another: the values differ, so they cannot share memory
        other = _owners(found["model"])
        owners = {name: owner if other[name] == owner else name for name, owner in owners.items()}
    for tensor in sums.values():
        if tensor.is_floating_point():
            tensor.div_(count)
        else:
            tensor //= count
    state["model"] = {name: sums[owner] for name, owner in owners.items()}
    return state


def last_checkpoints(folder, kind, number, upper_bound=None):
    """Paths of the last `number` checkpoints by "epoch" or "update", newest first. Raises UserError if too few."""
    if not Path(folder).is_dir():
        raise UserError(f"--inputs: {folder}: no such folder: --num-{kind}-checkpoints needs that of a training")
    found = [(int(match[1]), path) for path in Path(folder).iterdir() if (match := NAMES[kind].fullmatch(path.name))]
    found = sorted((n, path) for n, path in found if upper_bound is None or n <= upper_bound)
    if len(found) < number:
        raise UserError(f"--inputs: {folder}: has {len(found)} {kind} checkpoints, not {number}: ask for fewer")
    return [path for _, path in reversed(found[-number:])]


def _chosen(args):
    for kind in NAMES:
        number = getattr(args, f"num_{kind}_checkpoints")
        if number is None:
            continue
        if number < 1:
            raise UserError(f"--num-{kind}-checkpoints: {number}: must be 1 or more")
        if len(args.inputs) > 1:
            raise UserError(f"--inputs: with --num-{kind}-checkpoints give one folder, not {len(args.inputs)} paths")
        return last_checkpoints(args.inputs[0], kind, number, args.checkpoint_upper_bound)
    if args.checkpoint_upper_bound is not None:
        raise UserError("--checkpoint-upper-bound: needs --num-epoch-checkpoints or --num-update-checkpoints")
    return args.inputs


def _load(path):
    from .compat import checkpoints

    state = checkpoints.load_safely(path)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict) or not state["model"]:
        raise UserError(f"{path}: holds no parameters under 'model': give a checkpoint of fairseq-train")
    for name, tensor in state["model"].items():
        if not hasattr(tensor, "is_floating_point"):
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


def _save(state, output):
    import torch

    try:
        with write_aside(output, "wb") as stream:
            torch.save(state, stream)
    except OSError as error:
        raise UserError(f"--output: {output}: {error.strerror or error}: choose a place that can be written") from None
