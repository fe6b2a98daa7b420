"""The mathematics in plain torch: losses as rows of algebra, of given logits (dense) or with the projection (fused)."""

from .dense import TokenLoss, token_loss
from .fused import ProjectionLoss, projection_loss
from .generalized_entropy import GeneralizedEntropy
from .penalties import AntiFocal, ConfidencePenalty, Focal, WithZLoss
from .rdrop import RDrop
from .smoothing import UNIFORM, CrossEntropy, LabelSmoothing, Labo

__all__ = [
    "UNIFORM",
    "AntiFocal",
    "ConfidencePenalty",
    "CrossEntropy",
    "Focal",
    "GeneralizedEntropy",
    "LabelSmoothing",
    "Labo",
    "ProjectionLoss",
    "RDrop",
    "TokenLoss",
    "WithZLoss",
    "projection_loss",
    "token_loss",
]
