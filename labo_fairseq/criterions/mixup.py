"""Mixup (Zhang et al. 2018), for images."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion

from ..errors import within
from ..functional.ranges import SHAPES
from ._base import LabelRegularizedConfig
from ._pairs import PairedCriterion


@dataclass
class MixupConfig(LabelRegularizedConfig):
    mixup_alpha: float = field(
        default=1.0,
        metadata={"help": "a of Beta(a, a), from which λ of a batch is drawn, in [0.001, 1000]; 1: uniform in [0, 1]"},
    )


@register_criterion("mixup", dataclass=MixupConfig)
class MixupCriterion(PairedCriterion):
    """λ·NLL(y_i) + (1−λ)·NLL(y_j) of λ·x_i + (1−λ)·x_j; one λ for a batch, as in the released code."""

    def check(self, cfg: Any) -> None:
        within("--mixup-alpha", cfg.mixup_alpha, *SHAPES)

    def share(self, model: Any) -> float:
        """A draw from Beta(a, a)."""
        a = torch.tensor(self.cfg.mixup_alpha)
        return float(torch.distributions.Beta(a, a).sample())
