"""Knowledge distillation at word level (Hinton et al. 2015; Kim and Rush 2016, section 3.1; docs/distillation.md)."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from ..errors import UserError, within
from ..fairseq_models.stored_teacher import StoredTeacher
from ..fairseq_models.teacher import ModelTeacher
from ..functional import Distillation, LogitMatching, RowLoss
from ..functional.ranges import TEMPERATURES
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class KnowledgeDistillationConfig(LabelRegularizedConfig):
    teacher_path: Optional[str] = field(
        default=None,
        metadata={
            "help": "checkpoint of the teacher, trained with the same dictionaries (images: classes); several, "
            "separated by ':', are an ensemble whose probabilities are averaged"
        },
    )
    teacher_probs: Optional[str] = field(
        default=None,
        metadata={"help": "file of `labo distill-targets` to use in place of the teacher: its top probabilities"},
    )
    distill_weight: float = field(
        default=0.5, metadata={"help": "α in [0, 1], weight of the teacher; the true labels keep 1-α"}
    )
    teacher_temperature: float = field(
        default=1.0, metadata={"help": "divides the teacher's logits: T, in [0.001, 1000]"}
    )
    student_temperature: Optional[float] = field(
        default=None,
        metadata={"help": "divides the student's logits in the teacher's term, in [0.001, 1000]; else the teacher's"},
    )
    distill_scale: ChoiceEnum(["t2", "none"]) = field(
        default="t2",
        metadata={"help": "t2: the teacher's term times T² (Hinton et al. 2015), T the teacher's temperature"},
    )
    distill_match: ChoiceEnum(["probs", "logits"]) = field(
        default="probs",
        metadata={
            "help": "probs: KL from the teacher's distribution; logits: half the mean squared distance of logits"
        },
    )
    save_dir: str = II("checkpoint.save_dir")


@register_criterion("knowledge_distillation", dataclass=KnowledgeDistillationConfig)
class KnowledgeDistillationCriterion(LabelRegularizedCriterion):
    """(1-α)·NLL + α·s·KL(softmax(t/T) ‖ softmax(z/τ)), t the logits of a teacher, which is no part of this module."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        # neither teacher is a torch module: the student's checkpoint and optimizer know nothing of it
        if cfg.teacher_path:
            self._teacher: ModelTeacher | StoredTeacher = ModelTeacher.load(cfg.teacher_path, task, cfg.save_dir)
        else:
            self._teacher = StoredTeacher(cfg.teacher_probs, task)

    def check(self, cfg: Any) -> None:
        if bool(cfg.teacher_path) == bool(cfg.teacher_probs):
            raise UserError("--teacher-path: give the teacher's checkpoint, or --teacher-probs FILE, and not both")
        within("--distill-weight", cfg.distill_weight, 0, 1)
        within("--teacher-temperature", cfg.teacher_temperature, *TEMPERATURES)
        if cfg.student_temperature is not None:
            within("--student-temperature", cfg.student_temperature, *TEMPERATURES)
        if str(cfg.distill_match) == "logits":
            if cfg.teacher_probs:
                raise UserError("--distill-match logits: stored top probabilities hold no logits: give --teacher-path")
            if cfg.teacher_temperature != 1 or cfg.student_temperature not in (None, 1):
                raise UserError("--distill-match logits: compares logits at no temperature: leave temperatures out")

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """The loss against the teacher's predictions for the batch."""
        teacher = self._teacher.logits(model, sample, self._rows)
        if str(self.cfg.distill_match) == "logits":
            return LogitMatching(self.cfg.distill_weight, teacher)
        temperature = self.cfg.teacher_temperature
        own = temperature if self.cfg.student_temperature is None else self.cfg.student_temperature
        scale = temperature**2 if str(self.cfg.distill_scale) == "t2" else 1.0
        return Distillation(self.cfg.distill_weight, teacher, temperature, own, scale)
