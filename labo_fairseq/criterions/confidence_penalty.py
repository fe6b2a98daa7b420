"""Confidence penalty (Pereyra et al. 2017): cross entropy minus the weighted entropy of the model."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from ..errors import within
from ..functional import ConfidencePenalty, RowLoss
from ..functional.ranges import LARGEST_WEIGHT
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class ConfidencePenaltyConfig(LabelRegularizedConfig):
    confidence_penalty: float = field(
        default=0.1, metadata={"help": "β, weight of the entropy, in [0, 1000]; LABO's paper does not give its value"}
    )


@register_criterion("confidence_penalty", dataclass=ConfidencePenaltyConfig)
class ConfidencePenaltyCriterion(LabelRegularizedCriterion):
    """-log p_k - β H(p) (Lu et al. 2023, eq. 2)."""

    def check(self, cfg: Any) -> None:
        within("--confidence-penalty", cfg.confidence_penalty, 0, LARGEST_WEIGHT)

    def row_loss(self, model: Any) -> RowLoss:
        return ConfidencePenalty(self.cfg.confidence_penalty)
