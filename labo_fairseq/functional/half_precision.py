"""Where half precision pays: the type in which the products of the fused path run, and why."""

import functools

import torch

# names in torch.cpu.get_capabilities(): what multiplies bfloat16 and sums in float32
FASTER = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}


def cpu_has_bf16() -> tuple[bool, str]:
    """(whether this CPU multiplies bfloat16 faster than float32, what torch says about it, in words)."""
    # older versions of torch do not tell
    capabilities: dict = getattr(torch.cpu, "get_capabilities", dict)()
    has = [name for key, name in FASTER.items() if capabilities.get(key)]
    if has:
        return True, f"this CPU has {' and '.join(has)}"
    return False, f"torch sees neither {' nor '.join(FASTER.values())} in this CPU"


def operand_type(device: torch.device, dtype: torch.dtype) -> tuple[torch.dtype | None, str]:
    """(the half-precision type of the operands, or None for float32 or float64; why, in words).

    dtype: of the hidden states. On a CPU, bfloat16 states, and float32 ones where torch's setting allows bfloat16
    inside products of float32 matrices (`torch.backends.mkldnn.matmul.fp32_precision`), are multiplied in bfloat16 if
    the CPU has instructions for it. On a GPU half-precision states are, if torch sums them in float32.
    """
    name = str(dtype).removeprefix("torch.")
    if device.type == "cpu":
        setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        allowed = dtype == torch.float32 and setting.fp32_precision == "bf16"
        if dtype == torch.bfloat16 or allowed:
            has, reason = cpu_has_bf16()
            return (torch.bfloat16 if has else None), reason
        return None, f"{name} hidden states on a CPU"
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None, f"{name} hidden states"
    if _keeps_float32(device, dtype):
        return dtype, f"{name} hidden states"
    return None, f"torch does not multiply {name} matrices into a float32 result on this GPU"


@functools.cache
def _keeps_float32(device, dtype):
    """Whether this torch multiplies half matrices into a float32 result on the device."""
    a = torch.full((16, 16), 1.0, device=device, dtype=dtype)
    b = torch.full((16, 16), 1.0 + 2.0**-7, device=device, dtype=dtype)
    try:
        result = torch.mm(a, b, out_dtype=torch.float32)
    except (RuntimeError, TypeError):
        return False
    return bool((result == 16 * (1.0 + 2.0**-7)).all())
