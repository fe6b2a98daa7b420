"""The precision of a training where the experiment file has `train: {precision: auto}`: what this machine does faster.

The choice is kept in the cell's folder (precision.json), because a training must go on in the precision that it began
with, on whatever machine it is resumed.
"""

import functools


@functools.cache
def chosen(asked, cpu):
    """(precision, reason): "bf16" or "float32". asked: "auto", or one of the two; cpu: whether no GPU is used."""
    if asked != "auto":
        return asked, "the experiment file asks for it"
    import torch

    from ..functional.half_precision import cpu_has_bf16

    if not cpu:
        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU computes in bfloat16"
        return "float32", "this GPU does not compute in bfloat16"
    has, reason = cpu_has_bf16()
    return "bf16" if has else "float32", reason


def settle(cell, recorded, cpu):
    """Give a cell its precision: the recorded one where it has begun, else what is chosen here.

    recorded: the content of the cell's precision.json, or None. Returns None, or a line that says why the cell does not
    train as this machine alone would.
    """
    asked = cell.experiment.precision
    if asked is None:
        return None
    here, reason = chosen(asked, cpu)
    kept = recorded.get("precision") if isinstance(recorded, dict) and asked == "auto" else None
    cell.precision = kept if kept in ("bf16", "float32") else here
    if cell.precision == here:
        return None
    began = f"began in {kept} ({recorded.get('reason')})"
    return f"{cell.name}: {began} and goes on in it; here it would be {here}, because {reason}"


def record(cell, cpu):
    """What precision.json holds about a cell that begins here."""
    asked = cell.experiment.precision
    return {"precision": cell.precision, "asked": asked, "reason": chosen(asked, cpu)[1]}
