"""LABO (Lu et al. 2023): label smoothing whose distribution is the optimum of the inner problem, in closed form."""

import logging
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from ..compat.updates import updates_done
from ..errors import UserError, within
from ..functional import LabelSmoothing, Labo, RowLoss
from ..functional.ranges import TEMPERATURES
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
    smoothing_warmup_updates: int = field(
        default=5000,
        metadata={"help": "T_w: this many updates use uniform smoothing (α/K form) first; must lie below --max-update"},
    )
    max_update: int = II("optimization.max_update")


@register_criterion("labo", dataclass=LaboConfig)
class LaboCriterion(LabelRegularizedCriterion):
    """Uniform smoothing for T_w updates, then the objective of eq. 14 with P* of eq. 15 (Algorithm 1)."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        adaptive = str(cfg.smoothing_mass) == "adaptive"
        self.labo = Labo(cfg.smoothing_temperature, None if adaptive else cfg.label_smoothing, cfg.rho)
        self.uniform = LabelSmoothing(cfg.label_smoothing)
        self._announced = False

    def check(self, cfg: Any) -> None:
        within("--rho", cfg.rho, 0, 1)
        within("--label-smoothing", cfg.label_smoothing, 0, 1)
        within("--smoothing-temperature", cfg.smoothing_temperature, *TEMPERATURES)
        within("--smoothing-warmup-updates", cfg.smoothing_warmup_updates, 0)
        if 0 < cfg.max_update <= cfg.smoothing_warmup_updates:
            raise UserError(
                f"--smoothing-warmup-updates: {cfg.smoothing_warmup_updates} is not below --max-update "
                f"{cfg.max_update}, so LABO would never start: give at most a tenth of --max-update"
            )

    def row_loss(self, model: Any) -> RowLoss:
        """Uniform smoothing for the first T_w updates; P* after them and wherever no trainer counts updates."""
        updates = updates_done(model)
        if updates is not None and updates < self.cfg.smoothing_warmup_updates:
            return self.uniform
        if updates is not None and not self._announced:
            logger.info(
                "labo: warm-up of %d updates is over, P* in use from update %d",
                self.cfg.smoothing_warmup_updates,
                updates,
            )
            self._announced = True
        return self.labo
