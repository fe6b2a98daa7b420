"""Label smoothing with a uniform, a unigram or a masked prior, in torch's or in fairseq's form."""

from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum

from ..errors import UserError, within
from ..fairseq_models.target_counts import masked_prior, regular_types, target_counts, unigram_prior
from ..functional import UNIFORM, LabelSmoothing, RowLoss
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class LabelSmoothingConfig(LabelRegularizedConfig):
    label_smoothing: float = field(default=0.1, metadata={"help": "mass of the smoothing, in [0, 1]"})
    smoothing_form: ChoiceEnum(["torch", "fairseq"]) = field(
        default="torch",
        metadata={"help": "torch: the prior gets mass α, α/K each if uniform; fairseq: each wrong type gets ε/(K-1)"},
    )
    smoothing_prior: ChoiceEnum(["uniform", "unigram", "masked"]) = field(
        default="uniform",
        metadata={
            "help": "uniform over the dictionary; unigram: frequencies of the target side of the training set "
            "(Pereyra et al. 2017); masked: uniform over the types that occur there (Chen et al. 2022)"
        },
    )
    prior_counts: Optional[str] = field(
        default=None,
        metadata={"help": "file of 'type count' lines to use in place of counting the binarized training set"},
    )
    prior_exponent: float = field(default=1.0, metadata={"help": "unigram prior ∝ count ** exponent, in [0.001, 10]"})
    prior_floor: float = field(
        default=0.0,
        metadata={"help": "unigram prior: counts below this are raised to it, so that unseen types get mass too"},
    )


@register_criterion("label_smoothing", dataclass=LabelSmoothingConfig)
class LabelSmoothingCriterion(LabelRegularizedCriterion):
    """Cross entropy against (1-α)·onehot + α·u (Müller et al. 2019, section 1.1; Lu et al. 2023, eq. 1)."""

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        prior: str | torch.Tensor = UNIFORM
        support = None
        if str(cfg.smoothing_prior) != "uniform":
            counts = target_counts(task, cfg.prior_counts)
            if str(cfg.smoothing_prior) == "masked":
                prior, support = masked_prior(counts)
            else:
                dictionary = task.target_dictionary
                possible = counts >= 0 if dictionary is None else regular_types(dictionary)
                prior = unigram_prior(counts, possible, cfg.prior_exponent, cfg.prior_floor)
        self.loss = LabelSmoothing(cfg.label_smoothing, str(cfg.smoothing_form), prior, support)

    def check(self, cfg: Any) -> None:
        within("--label-smoothing", cfg.label_smoothing, 0, 1)
        within("--prior-exponent", cfg.prior_exponent, 0.001, 10)
        within("--prior-floor", cfg.prior_floor, 0, 1e12)
        if str(cfg.smoothing_prior) == "unigram" and str(cfg.smoothing_form) == "fairseq":
            raise UserError(
                "--smoothing-form fairseq: ε/(K-1) is defined for equal shares only: "
                "use --smoothing-form torch with --smoothing-prior unigram"
            )

    def row_loss(self, model: Any) -> RowLoss:
        return self.loss
