"""KR-LS, Knowledge Refinery (Ding et al. 2021). No code was released: where its Algorithm 1 is silent, our reading."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import register_criterion
from torch import nn

from ..errors import UserError, within
from ..functional import ClassTable, CrossEntropy, RowLoss, table_divergence
from ..functional.ranges import LARGEST_WEIGHT
from ._base import LabelRegularizedConfig, LabelRegularizedCriterion


@dataclass
class KRLSConfig(LabelRegularizedConfig):
    table_weight: float = field(
        default=0.5,
        metadata={"help": "α of both divergences, in [0, 1000] (our reading: the paper's value was not at hand)"},
    )
    table_limit: int = field(
        default=4096, metadata={"help": "largest number K of classes for which a K×K table is made (64 MB for 4096)"}
    )


@register_criterion("kr_ls", dataclass=KRLSConfig)
class KRLSCriterion(LabelRegularizedCriterion):
    """Model: NLL + α·KL(p_res‖q_res); table S: α·KL(q_res‖p_res), each with the other one as a constant.

    p_res is the model's distribution over the wrong classes, q_res = softmax(S_k) over the same. S is trained by the
    same optimizer, whose weight decay it gets too (our reading). In evaluation it is cross entropy.
    """

    needs_logits = "the class table learns from the logits"

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        types = _types(task)
        if types > cfg.table_limit:
            raise UserError(
                f"--criterion kr_ls: the table of {types} classes takes {types**2 * 4 / 2**20:.0f} MB, and the "
                f"optimizer as much again: give --table-limit {types} to allow it"
            )
        self.class_table = nn.Parameter(torch.zeros(types, types))
        setattr(self.class_table, "param_group", "class_table")  # noqa: B010 - for --layer-lr of torch_sgd

    def check(self, cfg: Any) -> None:
        within("--table-weight", cfg.table_weight, 0, LARGEST_WEIGHT)

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """The model's loss, with the table as a constant."""
        return ClassTable(self.cfg.table_weight, self.class_table.detach()) if model.training else CrossEntropy()

    def parameter_loss(self, model: Any, logits: torch.Tensor, target: torch.Tensor) -> float | torch.Tensor:
        """The table's loss, with the model as a constant; it adds nothing to the value that is logged."""
        if not model.training:
            return 0.0
        real = target.ne(self.padding_idx)
        loss = self.cfg.table_weight * table_divergence(self.class_table, logits[real], target[real])
        return loss - loss.detach()


def _types(task):
    dictionary = getattr(task, "target_dictionary", None)
    return len(task.classes) if dictionary is None else len(dictionary)
