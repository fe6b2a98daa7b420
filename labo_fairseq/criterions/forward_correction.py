"""Forward correction (Patrini et al. 2017): the likelihood of the noisy label, by a model of the clean one."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion

from ..errors import within
from ..functional import ForwardCorrection, RowLoss, TransitionCorrection
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion
from ._matrix import class_matrix


@dataclass
class ForwardCorrectionConfig(LabelRegularizedConfig):
    noise_rate: float = field(
        default=0.1, metadata={"help": "probability that a label is wrong, each wrong one alike, in [0, 1]"}
    )
    transition: Optional[str] = field(
        default=None,
        metadata={"help": "file of any transition matrix, row i, column j: P(noisy label i | clean label j)"},
    )


@register_criterion("forward_correction", dataclass=ForwardCorrectionConfig)
class ForwardCorrectionCriterion(LabelRegularizedCriterion):
    """−log (T p)_k (Chen et al. 2020, section 4.1)."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.loss: RowLoss = ForwardCorrection(cfg.noise_rate)
        if cfg.transition is not None:
            self.loss = TransitionCorrection(class_matrix(cfg.transition, task))
            self.needs_logits = "--transition mixes the logits of all classes"

    def check(self, cfg: Any) -> None:
        within("--noise-rate", cfg.noise_rate, 0, 1)

    def row_loss(self, model: Any) -> RowLoss:
        return self.loss
