"""Logit smoothing (Chen et al. 2020, section 6.2): the smoothing matrix applied to the logits."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion

from ..errors import UserError, within
from ..functional import LogitSmoothing, MatrixLogitSmoothing, RowLoss
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion
from ._matrix import class_matrix


@dataclass
class LogitSmoothingConfig(LabelRegularizedConfig):
    label_smoothing: float = field(
        default=0.1,
        metadata={"help": "α of the uniform matrix, in [0, 1): cross entropy at the temperature 1/(1-α), no more"},
    )
    smoothing_matrix: Optional[str] = field(
        default=None, metadata={"help": "file of any other matrix, as for matrix_smoothing"}
    )


@register_criterion("logit_smoothing", dataclass=LogitSmoothingConfig)
class LogitSmoothingCriterion(LabelRegularizedCriterion):
    """−log softmax(S z)_k (Chen et al. 2020, eq. 19)."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.loss: RowLoss = LogitSmoothing(cfg.label_smoothing)
        if cfg.smoothing_matrix is not None:
            self.loss = MatrixLogitSmoothing(class_matrix(cfg.smoothing_matrix, task))
            self.needs_logits = "--smoothing-matrix mixes the logits of all classes"

    def check(self, cfg: Any) -> None:
        within("--label-smoothing", cfg.label_smoothing, 0, 1)
        if cfg.label_smoothing == 1:
            raise UserError("--label-smoothing: 1 makes all logits equal, so nothing is learned: give less")

    def row_loss(self, model: Any) -> RowLoss:
        return self.loss
