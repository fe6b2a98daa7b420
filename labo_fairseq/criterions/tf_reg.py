"""TF-reg, teacher-free regularization by a hand-made teacher (Tf-KD_reg of Yuan et al. 2020)."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum

from ..errors import within
from ..functional import RowLoss, VirtualTeacher
from ..functional.ranges import LARGEST_WEIGHT, TEMPERATURES
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class TFRegConfig(LabelRegularizedConfig):
    distill_weight: float = field(
        default=0.1, metadata={"help": "α in [0, 1], weight of the teacher; the true labels keep 1-α"}
    )
    teacher_temperature: float = field(default=20.0, metadata={"help": "T, softens the teacher, in [0.001, 1000]"})
    teacher_confidence: float = field(
        default=0.99, metadata={"help": "the teacher's probability of the true class, in [0, 1]; the others share"}
    )
    teacher_softening: ChoiceEnum(["probs", "log_probs"]) = field(
        default="probs",
        metadata={
            "help": "what T divides before the softmax: probs: the teacher's probabilities, as the released code; "
            "log_probs: their logarithms, as temperature does elsewhere (our reading of the paper)"
        },
    )
    student_temperature: float = field(
        default=1.0,
        metadata={"help": "divides the student's logits in the teacher's term, in [0.001, 1000]; 1 in their code"},
    )
    distill_multiplier: float = field(
        default=1.0,
        metadata={"help": "factor of the teacher's term, in [0, 1000]: the released code's multiplier divided by K"},
    )


@register_criterion("tf_reg", dataclass=TFRegConfig)
class TFRegCriterion(LabelRegularizedCriterion):
    """(1-α)·NLL + α·s·KL(u ‖ softmax(z/τ)), u the hand-made teacher, softened."""

    def check(self, cfg: Any) -> None:
        within("--distill-weight", cfg.distill_weight, 0, 1)
        within("--teacher-temperature", cfg.teacher_temperature, *TEMPERATURES)
        within("--teacher-confidence", cfg.teacher_confidence, 0, 1)
        within("--student-temperature", cfg.student_temperature, *TEMPERATURES)
        within("--distill-multiplier", cfg.distill_multiplier, 0, LARGEST_WEIGHT)

    def row_loss(self, model: Any) -> RowLoss:
        cfg = self.cfg
        return VirtualTeacher(
            cfg.distill_weight,
            cfg.teacher_temperature,
            cfg.teacher_confidence,
            str(cfg.teacher_softening),
            cfg.student_temperature,
            cfg.distill_multiplier,
        )
