"""LABO (Lu et al. 2023): label smoothing whose distribution is the optimum of the inner problem, in closed form."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import metrics
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from ..compat.updates import follow_training, updates_done
from ..errors import UserError, within
from ..fairseq_models.projection import unwrap
from ..functional import LabelSmoothing, Labo, RowLoss
from ..functional.ranges import TEMPERATURES
from ..functional.rows import Rows
from ..measures.warmup import AUTO, total_updates, warmup_updates
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion

logger = logging.getLogger(__name__)


@dataclass
class LaboConfig(LabelRegularizedConfig):
    smoothing_mass: ChoiceEnum(["adaptive", "fixed"]) = field(
        default="adaptive",
        metadata={
            "help": "α, the mass taken from the true label: adaptive, 1 - ρ H(p)/log K per token as in the paper's "
            "experiments (eq. 16, --rho), or fixed (--label-smoothing)"
        },
    )
    rho: float = field(default=0.5, metadata={"help": "ρ of the adaptive mass, in [0, 1]; α lies in [1-ρ, 1]"})
    label_smoothing: float = field(
        default=0.1,
        metadata={"help": "α of the fixed mass, and of the uniform smoothing during the warm-up, in [0, 1]"},
    )
    smoothing_temperature: float = field(
        default=1.25, metadata={"help": "τ = β/α, in [0.001, 1000]; the paper chooses from 1.15 and 1.25"}
    )
    smoothing_warmup_updates: str = field(
        default=AUTO,
        metadata={
            "help": "T_w: this many updates use uniform smoothing (α/K form) first; must lie below --max-update; auto: "
            "3 percent of --max-update, or of the updates of --max-epoch, and the paper's 5000 where neither is given"
        },
    )
    max_update: int = II("optimization.max_update")
    max_epoch: int = II("optimization.max_epoch")
    update_freq: list[int] = II("optimization.update_freq")  # noqa: RUF009 (an interpolation is a text)


@dataclass(frozen=True)
class _WatchedLabo(Labo):
    """Labo that keeps, of every row, what the curves of a training show; only the adaptive mass knows the entropy."""

    seen: list = field(default_factory=list, compare=False, repr=False)

    def adaptive_mass(self, rows: Rows) -> torch.Tensor:
        """α of each row, (n,)."""
        alpha = super().adaptive_mass(rows)
        self.seen.append((alpha.sum(), rows.entropy.sum(), len(alpha)))
        return alpha


@register_criterion("labo", dataclass=LaboConfig)
class LaboCriterion(LabelRegularizedCriterion):
    """Uniform smoothing for T_w updates, then the objective of eq. 14 with P* of eq. 15 (Algorithm 1)."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        adaptive = str(cfg.smoothing_mass) == "adaptive"
        self.labo = _WatchedLabo(cfg.smoothing_temperature, None if adaptive else cfg.label_smoothing, cfg.rho)
        self.uniform = LabelSmoothing(cfg.label_smoothing)
        self.auto = cfg.smoothing_warmup_updates == AUTO
        self._announced = self._chosen = self._restored = False
        self.set_batches(None)

    def check(self, cfg: Any) -> None:
        within("--rho", cfg.rho, 0, 1)
        within("--label-smoothing", cfg.label_smoothing, 0, 1)
        within("--smoothing-temperature", cfg.smoothing_temperature, *TEMPERATURES)
        if cfg.smoothing_warmup_updates == AUTO:
            return
        warmup = _whole_number(cfg.smoothing_warmup_updates)
        within("--smoothing-warmup-updates", warmup, 0)
        if 0 < cfg.max_update <= warmup:
            raise UserError(
                f"--smoothing-warmup-updates: {warmup} is not below --max-update {cfg.max_update}, so LABO would never "
                "start: leave it out (auto), or give at most a tenth of --max-update"
            )

    def set_batches(self, batches: int | None) -> None:
        """Choose T_w, now that the number of batches of an epoch is known (None: not yet)."""
        if not self.auto:
            self.warmup = int(self.cfg.smoothing_warmup_updates)
            return
        if self._restored:
            return
        length = total_updates(self.cfg.max_update, self.cfg.max_epoch, batches, self.cfg.update_freq)
        self.warmup = warmup_updates(length)
        if batches is not None and not self._chosen:
            self._chosen = True
            why = f"3 % of {length}" if length else "as in the paper: neither --max-update nor --max-epoch is given"
            logger.info("labo: --smoothing-warmup-updates auto: %d updates (%s)", self.warmup, why)

    def state_to_keep(self) -> dict[str, int]:
        """What a resumed training needs: T_w, which must not move when it goes on with another --max-update."""
        return {"warmup": self.warmup}

    def restore(self, state: dict[str, int]) -> None:
        """Go on with the T_w that `auto` chose when the training began; a number that is given is what holds."""
        if self.auto and "warmup" in state:
            self.warmup, self._restored = state["warmup"], True
            logger.info("labo: --smoothing-warmup-updates auto: %d updates, as this training began", self.warmup)

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> Any:
        """As the base class; while training the log also has `alpha`, `entropy` and `under_p_star`, as sums."""
        self.labo.seen.clear()
        loss, sample_size, log = super().forward(model, sample, reduce)
        if model.training:
            log |= self._curves(unwrap(model), log["ntokens"])
        return loss, sample_size, log

    def _curves(self, model, ntokens):
        """Sums over the tokens of a batch; rows of two dropout passes count half. The keys never change."""
        under = self._in_warm_up(model) is False
        mean_alpha = mean_entropy = None
        if self.labo.seen:
            alpha, entropy, rows = zip(*self.labo.seen, strict=True)
            mean_alpha, mean_entropy = (torch.stack(sums).sum() / sum(rows) for sums in (alpha, entropy))
        elif not (under and self.labo.mass is None):
            mean_alpha = self.cfg.label_smoothing  # the fixed mass is that of the warm-up
        return {
            "alpha": ntokens * (0.0 if mean_alpha is None else mean_alpha),
            "entropy": ntokens * (0.0 if mean_entropy is None else mean_entropy),
            "entropy_tokens": 0 if mean_entropy is None else ntokens,
            "under_p_star": ntokens * under,
        }

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """Also the curves of LABO: mean α and entropy (bits) of the tokens, and the share of updates under P*."""
        super().reduce_metrics(logging_outputs)

        def total(key):
            return sum(log.get(key, 0) for log in logging_outputs)

        if any("alpha" in log for log in logging_outputs) and total("ntokens"):
            tokens, with_entropy = total("ntokens"), total("entropy_tokens")
            metrics.log_scalar("alpha", total("alpha") / tokens, tokens, round=4)
            metrics.log_scalar("under_p_star", total("under_p_star") / tokens, round=4)
            if with_entropy:
                bits = total("entropy") / with_entropy / math.log(2)
                metrics.log_scalar("entropy", bits, with_entropy, round=3)

    def set_up(self, task: Any) -> None:
        """Also let fairseq's trainer tell this criterion how long an epoch is, and keep T_w in its checkpoints."""
        super().set_up(task)
        from fairseq.trainer import Trainer  # only here: translation needs no trainer

        follow_training(Trainer)

    def row_loss(self, model: Any) -> RowLoss:
        """Uniform smoothing for the first T_w updates; P* after them and wherever no trainer counts updates."""
        if self._in_warm_up(model):
            return self.uniform
        updates = updates_done(model)
        if updates is not None and not self._announced:
            logger.info("labo: warm-up of %d updates is over, P* in use from update %d", self.warmup, updates)
            self._announced = True
        return self.labo

    def _in_warm_up(self, model):
        updates = updates_done(model)
        return updates is not None and updates < self.warmup


def _whole_number(text):
    if not text.removeprefix("-").isdecimal() or len(text) > 10:
        raise UserError(f"--smoothing-warmup-updates: {text[:40]}: give a whole number of updates, or auto")
    return int(text)
