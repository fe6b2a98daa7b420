"""Beta smoothing, or Beta-LS (Zhang and Sabuncu 2020)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from omegaconf import II

from ..compat.ema import follow_ema
from ..errors import UserError, within
from ..fairseq_models.projection import dense_logits
from ..functional import BetaSmoothing, CrossEntropy, RowLoss, ranked_beta, token_loss
from ..functional.ranges import SHAPES
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class BetaSmoothingConfig(LabelRegularizedConfig):
    smoothing_weight: float = field(
        default=0.6, metadata={"help": "α in [0, 1], weight of the smoothed labels; 0.6 in the released code"}
    )
    beta_shape: float = field(
        default=3.0,
        metadata={
            "help": "a, in [0.001, 1000]: the true class keeps a draw from Beta(a, 1), mean a/(a+1); 3 in their code. "
            "Needs --store-ema --ema-decay 0.999"
        },
    )
    store_ema: bool = II("ema.store_ema")


@register_criterion("beta_smoothing", dataclass=BetaSmoothingConfig)
class BetaSmoothingCriterion(LabelRegularizedCriterion):
    """(1-α)·NLL + α·H(q, p), q_k = b: draws from Beta(a, 1) in the order of the EMA model's p_k.

    Ranks are those within the batch of a worker, without padding. In evaluation it is cross entropy.
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        if not cfg.store_ema:
            raise UserError("--criterion beta_smoothing: ranks by an averaged model: add --store-ema --ema-decay 0.999")
        self._ema = (None,)  # in a tuple, as torch would take a plain attribute for a part of this module and save it

    def set_up(self, task: Any) -> None:
        super().set_up(task)
        follow_ema(task, self._receive)

    def check(self, cfg: Any) -> None:
        within("--smoothing-weight", cfg.smoothing_weight, 0, 1)
        within("--beta-shape", cfg.beta_shape, *SHAPES)

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """Label smoothing by amounts drawn for this batch."""
        if not model.training:
            return CrossEntropy()
        target = self._targets(model, sample)
        real = target.ne(self.padding_idx)
        confidence = -self._ema_nll(sample, target)[real]
        kept = torch.ones_like(target, dtype=confidence.dtype)
        kept[real] = ranked_beta(confidence, torch.rand_like(confidence), self.cfg.beta_shape)
        return BetaSmoothing(self.cfg.smoothing_weight, kept)

    def _receive(self, model):
        self._ema = (model,)

    def _ema_nll(self, sample, target):
        """−log of the EMA model's probability of each target, (N,)."""
        (ema,) = self._ema
        ema.train()  # as the released code, which averages no statistics of batch normalization
        with torch.no_grad():
            logits = self._rows(dense_logits(ema, sample["net_input"]))
            return token_loss(logits, target, CrossEntropy(), self.padding_idx).nll
