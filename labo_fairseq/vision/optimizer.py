"""The optimizer `torch_sgd`: torch's SGD with all of its options, and settings of single layers."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import List, Optional  # noqa: UP035  fairseq reads the flags' types from these

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from ..errors import UserError, within


@dataclass
class TorchSGDConfig(FairseqDataclass):
    """Flags of torch_sgd."""

    momentum: float = field(default=0.9, metadata={"help": "momentum, in [0, 1)"})
    weight_decay: float = field(default=0.0, metadata={"help": "L2 decay of all weights, at least 0"})
    nesterov: bool = field(default=False, metadata={"help": "Nesterov's momentum"})
    dampening: float = field(
        default=0.0, metadata={"help": "share of the gradient that does not enter the momentum, in [0, 1]"}
    )
    layer_lr: Optional[str] = field(
        default=None,
        metadata={
            "help": "factors of --lr for layers, such as classifier=0.1,body.fc1=0.5; names as in the state dict"
        },
    )
    layer_weight_decay: Optional[str] = field(
        default=None, metadata={"help": "--weight-decay of layers, such as body.fc2=0.04,classifier=0.04"}
    )
    lr: List[float] = II("optimization.lr")  # noqa: UP006, RUF009


@register_optimizer("torch_sgd", dataclass=TorchSGDConfig)
class TorchSGD(FairseqOptimizer):
    """torch.optim.SGD. Parameters are told apart by `param.param_group`, their name, which image models set.

    fairseq's `sgd` has neither Nesterov's momentum, nor dampening, nor settings of layers.
    """

    def __init__(self, cfg, params):
        super().__init__(cfg)
        within("--momentum", cfg.momentum, 0, 1)
        within("--weight-decay", cfg.weight_decay, 0)
        within("--dampening", cfg.dampening, 0, 1)
        if cfg.nesterov and (cfg.momentum == 0 or cfg.dampening != 0):
            raise UserError("--nesterov: needs --momentum above 0 and --dampening 0")
        options = {"momentum": cfg.momentum, "dampening": cfg.dampening, "nesterov": cfg.nesterov}
        self._optimizer = torch.optim.SGD(self._groups(list(params)), lr=self._lr, **options)
        self.set_lr(self._lr)

    @property
    def _lr(self):
        return self.cfg.lr[0] if isinstance(self.cfg.lr, Collection) else self.cfg.lr

    @property
    def optimizer_config(self):
        """What a resumed run takes from its own flags rather than from the checkpoint."""
        return {"lr": self._lr, "momentum": self.cfg.momentum}

    def set_lr(self, lr):
        """Set the learning rate; a layer gets it times its factor."""
        self._current_lr = lr
        for group in self.param_groups:
            group["lr"] = lr * group["lr_factor"]

    def get_lr(self):
        """The learning rate without the factors of layers."""
        return self._current_lr

    @property
    def supports_flat_params(self):
        """One flat tensor of all parameters has no layers."""
        return not (self.cfg.layer_lr or self.cfg.layer_weight_decay)

    @property
    def supports_memory_efficient_fp16(self):
        return True

    def _groups(self, params):
        """Parameter groups of torch, one for each pair of settings that occurs."""
        factors = _layers("--layer-lr", self.cfg.layer_lr)
        decays = _layers("--layer-weight-decay", self.cfg.layer_weight_decay)
        names = [getattr(param, "param_group", None) for param in params]
        for flag, layers in (("--layer-lr", factors), ("--layer-weight-decay", decays)):
            _check_names(flag, layers, names)
        groups = {}
        for param, name in zip(params, names, strict=True):
            settings = (_setting(name, factors, 1.0), _setting(name, decays, self.cfg.weight_decay))
            groups.setdefault(settings, []).append(param)
        return [
            {"params": members, "lr_factor": factor, "weight_decay": decay}
            for (factor, decay), members in groups.items()
        ]


def _layers(flag, text):
    """{layer: number} of 'layer=number,layer=number'."""
    layers = {}
    for entry in text.split(",") if text else ():
        name, _, value = entry.partition("=")
        try:
            layers[name.strip()] = float(value)
        except ValueError:
            raise UserError(f"{flag}: '{entry}' is not LAYER=NUMBER") from None
        within(f"{flag} {name}", layers[name.strip()], 0)
    return layers


def _check_names(flag, layers, names):
    if layers and not any(names):
        raise UserError(
            f"{flag}: the parameters have no names here: it needs --task torchvision_classification, and with --fp16 "
            "also --fp16-no-flatten-grads"
        )
    for layer in layers:
        if not any(_belongs(name, layer) for name in names):
            known = sorted({".".join(name.split(".")[:-1][:2]) for name in names if name})
            raise UserError(f"{flag}: no layer {layer}: the state dict has {', '.join(known)}")


def _belongs(name, layer):
    return name is not None and (name == layer or name.startswith(layer + "."))


def _setting(name, layers, default):
    """The value of the longest entry that the parameter's name begins with."""
    matching = [layer for layer in layers if _belongs(name, layer)]
    return layers[max(matching, key=len)] if matching else default
