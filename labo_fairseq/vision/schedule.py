"""The learning rate schedule `multi_step`: a constant factor at given epochs or updates.

fairseq's `fixed` needs a learning rate for every epoch, its `step` has equal distances only, and its `manual` logs a
warning at each update.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import List  # noqa: UP035  fairseq reads the flags' types from this

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II, MISSING

from ..errors import UserError, above


@dataclass
class MultiStepConfig(FairseqDataclass):
    """Flags of multi_step."""

    lr_milestones: List[int] = field(  # noqa: UP006
        default=MISSING,
        metadata={"help": "epochs (or updates) after which --lr is multiplied by the factor, such as 60,120,160"},
    )
    lr_factor: float = field(default=0.1, metadata={"help": "factor at each milestone, above 0"})
    lr_milestone_unit: ChoiceEnum(["epoch", "update"]) = field(
        default="epoch", metadata={"help": "what the milestones count"}
    )
    lr: List[float] = II("optimization.lr")  # noqa: UP006, RUF009


@register_lr_scheduler("multi_step", dataclass=MultiStepConfig)
class MultiStepSchedule(FairseqLRScheduler):
    """torch's MultiStepLR in fairseq: milestone 60 means that epochs 1 to 60 run at the former rate."""

    def __init__(self, cfg, optimizer):
        super().__init__(cfg, optimizer)
        above("--lr-factor", cfg.lr_factor, 0)
        self.milestones = list(cfg.lr_milestones)
        if self.milestones != sorted(set(self.milestones)) or self.milestones[0] < 1:
            raise UserError(f"--lr-milestones: {self.milestones}: give increasing numbers above 0, such as 60,120,160")
        self.lr = cfg.lr[0] if isinstance(cfg.lr, Collection) else cfg.lr
        self._set(0)

    def step_begin_epoch(self, epoch):
        """Set the rate of this epoch, the first of which is 1."""
        if str(self.cfg.lr_milestone_unit) == "epoch":
            self._set(epoch - 1)
        return self.optimizer.get_lr()

    def step_update(self, num_updates):
        """Set the rate after this number of updates."""
        if str(self.cfg.lr_milestone_unit) == "update":
            self._set(num_updates)
        return self.optimizer.get_lr()

    def _set(self, done):
        passed = sum(milestone <= done for milestone in self.milestones)
        self.optimizer.set_lr(self.lr * self.cfg.lr_factor**passed)
