"""Focal loss (Lin et al. 2017)."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from ..errors import within
from ..functional import Focal, RowLoss
from ..functional.ranges import FOCAL_GAMMA
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion

DETACH_HELP = (
    "treat the modulating factor as a constant in the gradient, as the released code of Raunak et al. (2020) does; "
    "by default the gradient is that of the published formula"
)


@dataclass
class FocalLossConfig(LabelRegularizedConfig):
    focal_gamma: float = field(default=1.0, metadata={"help": "γ, in [0, 100]; 0 is cross entropy"})
    detach_modulator: bool = field(default=False, metadata={"help": DETACH_HELP})


@register_criterion("focal_loss", dataclass=FocalLossConfig)
class FocalLossCriterion(LabelRegularizedCriterion):
    """-(1 - p_k)^γ log p_k. The criterion of this name in Raunak et al.'s code is the anti-focal loss."""

    def check(self, cfg: Any) -> None:
        within("--focal-gamma", cfg.focal_gamma, *FOCAL_GAMMA)

    def row_loss(self, model: Any) -> RowLoss:
        return Focal(self.cfg.focal_gamma, self.cfg.detach_modulator)
