"""The precision of a training where the experiment file has `train: {precision: auto}`: what this machine does faster.

The choice is kept in the cell's folder (precision.json), because a training must go on in the precision that it began
with, on whatever machine it is resumed.
"""

import functools

FASTER = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}  # names in torch.cpu.get_capabilities()


@functools.cache
def chosen(asked, cpu):
    """(precision, reason): "bf16" or "float32". asked: "auto", or one of the two; cpu: whether no GPU is used."""
    if asked != "auto":
        return asked, "the experiment file asks for it"
    import torch

    if not cpu:
        if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU computes in bfloat16"
        return "float32", "this GPU does not compute in bfloat16"
    # older versions of torch do not tell
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    has = [name for key, name in FASTER.items() if capabilities.get(key)]
    if has:
        return "bf16", f"this CPU has {' and '.join(has)}"
    return "float32", f"torch sees neither {' nor '.join(FASTER.values())} in this CPU"


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
