"""Which implementation of the row pass runs: plain torch, or the Triton kernel."""

import functools
from collections.abc import Callable

import torch

from . import rows

# auto takes Triton only once a run on a real card is recorded in docs/performance.md; none is yet
RECORDED_ON_A_CARD = False


def row_pass_of(kernel: str) -> Callable:
    """The row pass of a kernel's name: "torch" or "triton"."""
    if kernel == "torch":
        return rows.row_pass
    from . import triton_rows

    return triton_rows.row_pass


def choose_kernel(wanted: str, device: torch.device) -> tuple[str, str]:
    """("torch" or "triton", why) for `--loss-kernel auto|torch|triton` on a torch.device."""
    if wanted != "auto":
        return wanted, f"--loss-kernel {wanted}"
    if not RECORDED_ON_A_CARD:
        return "torch", "no measurement of the Triton kernel on a card is recorded yet"
    if device.type != "cuda":
        return "torch", "the Triton kernel is for GPUs"
    difference = self_check(device)
    if difference is None:
        return "torch", "Triton is not installed"
    if difference > 1e-5:
        return "torch", f"the Triton kernel differs by {difference:.1e} on this card"
    return "triton", "the self-check passed"


@functools.cache
def self_check(device: torch.device) -> float | None:
    """Largest difference between the two kernels on a few random rows of LABO, or None where there is no Triton."""
    from .smoothing import Labo

    try:
        from . import triton_rows
    except ImportError:
        return None
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(8, 1000, generator=generator).mul_(3).to(device)
    target = torch.randint(1000, (8,), generator=generator).to(device)
    other = z.clone()
    ours = triton_rows.row_pass(z, target, Labo())
    theirs = rows.row_pass(other, target, Labo())
    return max((z - other).abs().max().item(), (ours.value - theirs.value).abs().max().item())
