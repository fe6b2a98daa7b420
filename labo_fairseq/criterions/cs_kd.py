"""CS-KD, class-wise self-knowledge distillation (Yun et al. 2020), for images."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion

from ..errors import UserError, within
from ..fairseq_models.projection import dense_logits
from ..functional import CrossEntropy, Distillation, RowLoss, given_logits
from ..functional.ranges import LARGEST_WEIGHT, TEMPERATURES
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class CSKDConfig(LabelRegularizedConfig):
    pair_weight: float = field(
        default=1.0,
        metadata={"help": "λ, weight of the divergence within the pair, in [0, 1000]; 1 in their code, 3 for CUB"},
    )
    pair_temperature: float = field(
        default=4.0, metadata={"help": "T, which divides the logits of both, in [0.001, 1000]; 4 in the released code"}
    )


@register_criterion("cs_kd", dataclass=CSKDConfig)
class CSKDCriterion(LabelRegularizedCriterion):
    """NLL(x) + λT²·KL(softmax(z(x')/T) ‖ softmax(z(x)/T)), x' another image of x's class, z(x') without gradient.

    The task draws x' and hands it over as sample["partner"]. In evaluation it is cross entropy.
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        if not hasattr(task, "draws_pairs"):
            raise UserError(
                "--criterion cs_kd: only --task torchvision_classification draws pairs of a class: use that task"
            )
        task.draws_pairs = True

    def check(self, cfg: Any) -> None:
        within("--pair-weight", cfg.pair_weight, 0, LARGEST_WEIGHT)
        within("--pair-temperature", cfg.pair_temperature, *TEMPERATURES)

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """Distillation from the model's own predictions for the partners."""
        if not model.training:
            return CrossEntropy()
        with torch.no_grad():
            partner = self._rows(dense_logits(model, sample["partner"]))
        temperature = self.cfg.pair_temperature
        return Distillation(
            self.cfg.pair_weight, given_logits(partner), temperature, temperature, temperature**2, hard_weight=1.0
        )
