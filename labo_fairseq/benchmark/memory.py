"""Memory of projection and loss, and of the projection's weight with Adam, by vocabulary and width: computed, and
measured where asked for.

Computed is what the code asks for at its peak, in bytes by the number of tokens N, types V and width D; the buffers of
the libraries below it come on top.
"""

import argparse
import re

import torch

from ..errors import UserError
from ..functional import Labo, fused
from ..functional.half_precision import cpu_has_bf16
from ..progress import progress
from .candidates import BASELINE

_BYTES = {"float32": 4, "bfloat16": 2}
DENSE, FUSED = "dense labo adaptive", "fused labo adaptive"
# bytes for each parameter: weight, gradient, two moments of Adam in float32; with --fp16 and --bf16 also a copy and a
# gradient in float32; the memory-efficient ones make those two for one tensor at a time
ADAM = {
    "weight with Adam": 16,
    "weight with Adam, --fp16 or --bf16": 20,
    "weight with Adam, --memory-efficient-fp16 or -bf16": 12,
}


def run(args):
    """The table of `labo benchmark memory`: (list of rows, the setting)."""
    from . import measure

    sizes = [_size(text) for text in args.sizes]
    if args.rows < 1:
        raise UserError(f"--rows: {args.rows}: must be at least 1")
    if args.measure:
        measure.prepare(args)
    rows = []
    for types, width in progress(sizes, "sizes", "size"):
        bytes_of = loss_bytes(args.rows, types, width, args.dtype, args.device)
        bytes_of |= {name: per_parameter * types * width for name, per_parameter in ADAM.items()}
        here = argparse.Namespace(**{**vars(args), "what": "loss", "vocabulary": types, "width": width})
        for name, count in bytes_of.items():
            row = {"vocabulary": types, "width": width, "rows": args.rows, "what": name, "computed_MB": count / 1e6}
            if args.measure:
                row["measured_MB"] = None if name in ADAM else measure.peak_memory(here, name)
            rows.append(row)
    setting = {"dtype": args.dtype, "computed for": args.device}
    return rows, setting | measure.environment(args.device if args.measure else "cpu")


def loss_bytes(count, types, width, dtype, device):
    """{candidate: bytes at the peak of one forward and backward pass, gradients included}."""
    logits, gradients = count * types, (count + types) * width
    size = _BYTES[dtype]
    end = size * (logits + gradients)  # the last product of a dense path: gradient of the logits to the others
    copied = size if size < 4 else 0  # of the gradient in float32, rounded to the type of the weight
    chunk = _chunk_bytes(count, types, width, dtype, device)
    return {
        # log-probabilities, and the gradients of their two sums, all in float32 whatever the logits are
        BASELINE: max(12 * logits, end),
        # the gradient, and the gradient times the incoming one; half precision is a third copy
        DENSE: max((8 + copied) * logits, end),
        FUSED: max(4 * gradients + chunk, (4 + copied) * gradients),
    }


def _chunk_bytes(count, types, width, dtype, device):
    """Logits of a chunk and the buffer of the row pass, on a GPU as many as the fused path wants if memory is free."""
    half = device == "cpu" and dtype == "bfloat16" and cpu_has_bf16()[0]
    rows, block = fused.chunk_sizes(count, types, width, torch.device(device), Labo(), free=1 << 62, half=half)
    if half:  # two blocks in float32, and a chunk's product with the gradient of the weight
        return (2 * rows + 8 * block) * types + 2 * types * width
    if device == "cuda":  # and the copy in half precision
        return (4 * (rows + block) + (2 * rows if dtype != "float32" else 0)) * types
    widened = 4 * (count + types) * width if dtype != "float32" else 0  # the products run in float32
    return 4 * (rows + block) * types + widened


def _size(text):
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not (int(match[1]) and int(match[2])):
        raise UserError(f"--sizes: '{text}': must read VxD, types times width, like 32000x512")
    return int(match[1]), int(match[2])
