"""The mathematics in plain torch: losses as rows of algebra, of given logits (dense) or with the projection (fused)."""

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
from .penalties import AntiFocal, ConfidencePenalty, Focal, WithZLoss, ZLossAround
from .rdrop import RDrop
from .smoothing import UNIFORM, CrossEntropy, LabelSmoothing, Labo

__all__ = [
    "UNIFORM",
    "AntiFocal",
    "ConfidencePenalty",
    "CrossEntropy",
    "Distillation",
    "Focal",
    "GeneralizedEntropy",
    "LabelSmoothing",
    "Labo",
    "LogitMatching",
    "ProjectionLoss",
    "RDrop",
    "SoftTargets",
    "TokenLoss",
    "WithZLoss",
    "ZLossAround",
    "given_logits",
    "mean_teacher",
    "projected_logits",
    "projection_loss",
    "stored_logits",
    "token_loss",
]
