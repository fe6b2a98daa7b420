"""The optimizer `torch_adam`: fairseq's Adam, its arithmetic by torch's kernels for many tensors at once.

fairseq's `adam` without apex is a Python loop with a dozen small operations for each parameter. The numbers are the
same up to rounding, and so is what a checkpoint holds: a run goes on under either of the two.
"""

import ast
import functools
import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, List  # noqa: UP035  fairseq reads the flags' types from these

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import Adam, FairseqAdam
from omegaconf import II, OmegaConf
from torch.optim.adam import adam

from ..errors import UserError, above, within


@dataclass
class TorchAdamConfig(FairseqDataclass):
    """Flags of torch_adam; the first three are those of fairseq's adam."""

    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "β1 and β2, in [0, 1), as '(0.9, 0.98)'"})
    adam_eps: float = field(
        default=1e-8, metadata={"help": "ε, added to √v before the bias of v is corrected, as fairseq's adam does"}
    )
    weight_decay: float = field(default=0.0, metadata={"help": "weight decay λ, at least 0"})
    weight_decay_form: ChoiceEnum(["decoupled", "l2"]) = field(
        default="decoupled",
        metadata={
            "help": "decoupled: w ← w − lr·λ·w beside Adam's step (AdamW, and fairseq's adam); l2: λ·w is added to the "
            "gradient, before the moments"
        },
    )
    adam_kernel: ChoiceEnum(["auto", "fused", "foreach"]) = field(
        default="auto",
        metadata={
            "help": "torch's kernel: one for the whole update, or one for each operation; auto: fused if it runs"
        },
    )
    lr: List[float] = II("optimization.lr")  # noqa: UP006, RUF009


@register_optimizer("torch_adam", dataclass=TorchAdamConfig)
class TorchAdam(FairseqAdam):
    """Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019) or L2 decay.

    Raises UserError for a flag out of its range.
    """

    def __init__(self, cfg: Any, params: Any):
        FairseqOptimizer.__init__(self, cfg)  # FairseqAdam's own would build its optimizer
        within("--weight-decay", cfg.weight_decay, 0)
        above("--adam-eps", cfg.adam_eps, 0)
        decoupled, kernel = str(cfg.weight_decay_form) == "decoupled", str(cfg.adam_kernel)
        self._optimizer = ManyTensorsAdam(params, decoupled, kernel, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict:
        """What a resumed run takes from its own flags rather than from the checkpoint."""
        lr = self.cfg.lr[0] if isinstance(self.cfg.lr, Collection) else self.cfg.lr
        betas = _betas(self.cfg.adam_betas)
        return {"lr": lr, "betas": betas, "eps": self.cfg.adam_eps, "weight_decay": self.cfg.weight_decay}


# fairseq resumes an optimizer whose class has the name in the checkpoint: under this one, runs of its adam go on here
# and back. Set once it is registered, since fairseq's registry wants names of classes to differ.
TorchAdam.__name__ = FairseqAdam.__name__


class ManyTensorsAdam(Adam):
    """fairseq's Adam, with its state, for which torch's functional Adam does the arithmetic of all parameters at once.

    decoupled: the form of the weight decay; kernel: auto, fused or foreach. Parameters and gradients in half precision
    are updated in float32, as there.
    """

    def __init__(self, params: Any, decoupled: bool, kernel: str, **defaults: Any):
        super().__init__(params, **defaults)
        self._decoupled, self._kernel = decoupled, kernel

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for (device, step), params in self._together(group).items():
                self._update(params, device, step, group)
        return loss

    def _together(self, group):
        """{(device, number of this update): parameters}: one entry, unless some had no gradient in earlier updates."""
        together = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse:
                raise UserError("--optimizer torch_adam: a gradient is sparse: use --optimizer adagrad")
            state = self.state[p]
            if not state:
                wide = torch.zeros_like(p, dtype=_wide(p.dtype), memory_format=torch.preserve_format)
                state.update(step=0, exp_avg=wide, exp_avg_sq=wide.clone())
            state["step"] += 1
            together.setdefault((p.device, state["step"]), []).append(p)
        return together

    def _update(self, params, device, step, group):
        wide = [p.to(_wide(p.dtype)) for p in params]
        states = [self.state[p] for p in params]
        for state, p in zip(states, wide, strict=True):
            # torch gives loaded moments the type of their parameter, which may be half precision
            state["exp_avg"], state["exp_avg_sq"] = state["exp_avg"].to(p), state["exp_avg_sq"].to(p)
        beta1, beta2 = group["betas"]
        fused = self._kernel == "fused" or (self._kernel == "auto" and _fused_runs(device.type))
        decay = group["weight_decay"]
        if self._decoupled and decay:
            # as fairseq does: torch's own multiplies by 1 − lr·λ, which float32 rounds by up to 3e-8 in every update
            for w in wide:
                w.add_(w, alpha=-group["lr"] * decay)
        adam(
            wide,
            [p.grad.to(w.dtype) for p, w in zip(params, wide, strict=True)],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            # counted up in there
            list(torch.full((len(params),), step - 1.0, device=device).unbind()),
            foreach=not fused,
            fused=fused,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=0.0 if self._decoupled else decay,
            # torch adds ε to √v after the correction of v's bias, fairseq before
            eps=group["eps"] / math.sqrt(1 - beta2**step),
            maximize=False,
        )
        for p, w in zip(params, wide, strict=True):
            if w is not p:
                p.copy_(w)


def _wide(dtype):
    return dtype if dtype == torch.float64 else torch.float32


def _betas(value):
    """(β1, β2) of a flag, which is text, or of a configuration, which is a list."""
    try:
        betas = ast.literal_eval(value) if isinstance(value, str) else value
        first, second = OmegaConf.to_container(betas) if OmegaConf.is_config(betas) else betas
        if 0 <= first < 1 and 0 <= second < 1:
            return float(first), float(second)
    except (ValueError, TypeError, SyntaxError):
        pass
    raise UserError(f"--adam-betas: '{value}' is not two numbers in [0, 1): write them like '(0.9, 0.98)'")


@functools.cache
def _fused_runs(device_type):
    """Whether this torch has its fused kernel for the type of device."""
    one = [torch.ones(1, device=device_type) for _ in range(5)]
    flags = {"amsgrad": False, "maximize": False, "foreach": False, "fused": True}
    numbers = {"beta1": 0.9, "beta2": 0.999, "lr": 0.0, "weight_decay": 0.0, "eps": 1e-8}
    try:
        adam(*([x] for x in one[:4]), [], [one[4][0]], **flags, **numbers)
    except RuntimeError:
        return False
    return True
