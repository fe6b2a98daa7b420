"""Average the parameters of checkpoints of one training, as fairseq's scripts/average_checkpoints.py does.

  labo average --inputs run/checkpoints --num-epoch-checkpoints 10 --output run/checkpoint_average.pt
  labo average --inputs checkpoint8.pt checkpoint9.pt checkpoint10.pt --output average.pt

The numbers are those of fairseq's script: float16 is summed as float32, whole numbers are divided with floor,
everything but the parameters comes from the first checkpoint, which is the newest of --num-*-checkpoints. Three things
differ: files are loaded without running code in them (torch.load with weights_only=True), bfloat16 is summed as float32
too, and parameters that share memory, such as tied embeddings, still do in the output.
"""

import sys

from ..errors import UserError
from ..fairseq_models.averaging import NAMES, average_checkpoints, last_checkpoints
from ..files import write_aside
from ..progress import progress


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
    state = average_checkpoints(progress(paths, "average", "file"))
    _save(state, args.output)
    for path in paths:
        print(f"averaged {path}", file=sys.stderr)
    print(args.output)
    return 0


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


def _save(state, output):
    import torch

    try:
        with write_aside(output, "wb") as stream:
            torch.save(state, stream)
    except OSError as error:
        raise UserError(f"--output: {output}: {error.strerror or error}: choose a place that can be written") from None
