"""Label smoothing with any matrix (Chen et al. 2020, eq. 2)."""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion

from ..errors import UserError
from ..functional import MatrixSmoothing, RowLoss
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion
from ._matrix import class_matrix


@dataclass
class MatrixSmoothingConfig(LabelRegularizedConfig):
    smoothing_matrix: Optional[str] = field(
        default=None,
        metadata={"help": "file of the matrix, row i, column j: share of class i in the target of an image labelled j"},
    )


@register_criterion("matrix_smoothing", dataclass=MatrixSmoothingConfig)
class MatrixSmoothingCriterion(LabelRegularizedCriterion):
    """Cross entropy against S·onehot(k)."""

    needs_logits = "--smoothing-matrix gives every label a distribution of its own"

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self.loss = MatrixSmoothing(class_matrix(cfg.smoothing_matrix, task))

    def check(self, cfg: Any) -> None:
        if cfg.smoothing_matrix is None:
            raise UserError("--smoothing-matrix: missing: name a file, as `labo optimal-smoothing --out` writes it")

    def row_loss(self, model: Any) -> RowLoss:
        return self.loss
