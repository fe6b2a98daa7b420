"""The mathematics in plain torch: losses as rows of algebra, of given logits (dense) or with the projection (fused)."""

from .beta_smoothing import BetaSmoothing, ranked_beta
from .class_table import ClassTable, table_divergence
from .contract import PassLoss, RowLoss
from .dense import TokenLoss, token_loss
from .distillation import (
    Distillation,
    LogitMatching,
    SoftTargets,
    given_logits,
    mean_teacher,
    projected_logits,
    stored_logits,
)
from .fused import ProjectionLoss, projection_loss
from .generalized_entropy import GeneralizedEntropy
from .mixed_labels import MixedLabels, distribution_loss, learned_distribution
from .noisy_targets import (
    ForwardCorrection,
    LogitSmoothing,
    MatrixLogitSmoothing,
    MatrixSmoothing,
    TransitionCorrection,
)
from .penalties import AntiFocal, ConfidencePenalty, Focal, WithZLoss, ZLossAround, with_z_loss
from .rdrop import RDrop
from .shapes import class_rows
from .smoothing import UNIFORM, CrossEntropy, LabelSmoothing, Labo
from .virtual_teacher import VirtualTeacher

__all__ = [
    "UNIFORM",
    "AntiFocal",
    "BetaSmoothing",
    "ClassTable",
    "ConfidencePenalty",
    "CrossEntropy",
    "Distillation",
    "Focal",
    "ForwardCorrection",
    "GeneralizedEntropy",
    "LabelSmoothing",
    "Labo",
    "LogitMatching",
    "LogitSmoothing",
    "MatrixLogitSmoothing",
    "MatrixSmoothing",
    "MixedLabels",
    "PassLoss",
    "ProjectionLoss",
    "RDrop",
    "RowLoss",
    "SoftTargets",
    "TokenLoss",
    "TransitionCorrection",
    "VirtualTeacher",
    "WithZLoss",
    "ZLossAround",
    "class_rows",
    "distribution_loss",
    "given_logits",
    "learned_distribution",
    "mean_teacher",
    "projected_logits",
    "projection_loss",
    "ranked_beta",
    "stored_logits",
    "table_divergence",
    "token_loss",
    "with_z_loss",
]
