"""Anti-focal loss (Raunak et al. 2020)."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from ..errors import within
from ..functional import AntiFocal, RowLoss
from ..functional.ranges import ANTI_FOCAL_ALPHA, ANTI_FOCAL_GAMMA
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion
from .focal_loss import DETACH_HELP


@dataclass
class AntiFocalLossConfig(LabelRegularizedConfig):
    focal_gamma: float = field(default=1.0, metadata={"help": "γ, in [0, 10]; 0 is cross entropy"})
    focal_alpha: float = field(default=0.5, metadata={"help": "α, in [0, 100]; 0 is cross entropy"})
    detach_modulator: bool = field(default=False, metadata={"help": DETACH_HELP})


@register_criterion("anti_focal_loss", dataclass=AntiFocalLossConfig)
class AntiFocalLossCriterion(LabelRegularizedCriterion):
    """-(1 + α p_k)^γ log p_k, in training and in validation (the released code leaves the factor out in validation)."""

    def check(self, cfg: Any) -> None:
        within("--focal-gamma", cfg.focal_gamma, *ANTI_FOCAL_GAMMA)
        within("--focal-alpha", cfg.focal_alpha, *ANTI_FOCAL_ALPHA)

    def row_loss(self, model: Any) -> RowLoss:
        return AntiFocal(self.cfg.focal_gamma, self.cfg.focal_alpha, self.cfg.detach_modulator)
