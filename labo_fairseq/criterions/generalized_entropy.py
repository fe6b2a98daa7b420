"""Generalized entropy regularization (Meister et al. 2020)."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from ..errors import UserError, within
from ..functional import GeneralizedEntropy, RowLoss
from ..functional.ranges import LARGEST_WEIGHT, NEAR_A_LIMIT, is_near_a_limit
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class GeneralizedEntropyConfig(LabelRegularizedConfig):
    entropy_alpha: float = field(
        default=0.5, metadata={"help": "α in [0, 1]: 0 is the confidence penalty, 1 label smoothing"}
    )
    entropy_weight: float = field(default=0.7, metadata={"help": "β, weight of the divergence, in [0, 1000]"})


@register_criterion("generalized_entropy", dataclass=GeneralizedEntropyConfig)
class GeneralizedEntropyCriterion(LabelRegularizedCriterion):
    """-log p_k + β J_α(U||p), the skew Jensen divergence from the uniform distribution."""

    def check(self, cfg: Any) -> None:
        within("--entropy-alpha", cfg.entropy_alpha, 0, 1)
        if is_near_a_limit(cfg.entropy_alpha):
            raise UserError(
                f"--entropy-alpha: {cfg.entropy_alpha} is so near to a limit that float32 cannot tell them apart: "
                f"give 0, 1 or a number in [{NEAR_A_LIMIT}, {1 - NEAR_A_LIMIT}]"
            )
        within("--entropy-weight", cfg.entropy_weight, 0, LARGEST_WEIGHT)

    def row_loss(self, model: Any) -> RowLoss:
        return GeneralizedEntropy(self.cfg.entropy_alpha, self.cfg.entropy_weight)
