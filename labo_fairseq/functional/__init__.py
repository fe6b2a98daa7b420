"""The mathematics in plain torch: losses as rows of algebra, of given logits (dense) or with the projection (fused)."""

from .dense import TokenLoss, token_loss
from .fused import ProjectionLoss, projection_loss
from .smoothing import UNIFORM, CrossEntropy, LabelSmoothing, Labo

__all__ = [
    "UNIFORM",
    "CrossEntropy",
    "LabelSmoothing",
    "Labo",
    "ProjectionLoss",
    "TokenLoss",
    "projection_loss",
    "token_loss",
]
