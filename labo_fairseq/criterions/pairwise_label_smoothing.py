"""Pairwise label smoothing, PLS (Guo 2020), for images. No code was released: what the paper leaves open we chose."""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq import metrics, utils
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from torch import nn

from ..compat.updates import updates_done
from ..errors import UserError, within
from ..fairseq_models.projection import unwrap
from ..functional import CrossEntropy, MixedLabels, RowLoss, distribution_loss, learned_distribution
from ._base import LabelRegularizedConfig
from ._pairs import PairedCriterion

# logged means over the pairs of two classes: the larger and the smaller true one, the five largest of the others
TARGETS = ("target_true_1", "target_true_2", *(f"target_other_{i}" for i in range(1, 6)))
_PAIRS = "_target_pairs"


@dataclass
class PairwiseLabelSmoothingConfig(LabelRegularizedConfig):
    smoothing_weight: float = field(
        default=0.5,
        metadata={"help": "α in [0, 1], mass of the smoothing distribution; the labels keep 1-α; 0: no smoothing"},
    )
    smoothing_distribution: ChoiceEnum(["learned", "uniform"]) = field(
        default="learned",
        metadata={"help": "learned: softmax(sigmoid(W_t S)) of a second layer on the features; uniform: 1/K"},
    )
    pairs_only: bool = field(
        default=False, metadata={"help": "every batch is of pairs; otherwise every second one, the others of originals"}
    )
    report_target_mass: bool = field(
        default=False,
        metadata={"help": "training: log the mean target of the two true classes and of the five largest others"},
    )


@register_criterion("pairwise_label_smoothing", dataclass=PairwiseLabelSmoothingConfig)
class PairwiseLabelSmoothingCriterion(PairedCriterion):
    """H((1-α)·q + α·u', p) of (x_i + x_j)/2 with q = (y_i + y_j)/2, and of x_i with q = y_i, in turn (eq. 7-15).

    u' is learned along: its gradient reaches the second layer and the network. That layer belongs to the criterion, so
    it is saved and resumed, and a model for inference has none. Originals come at even numbers of updates.
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        self._learned: Any = None  # u' of the batch, a tensor (N, K)
        self.smoothing_head: Any = None
        self._types = len(task.classes)
        if str(cfg.smoothing_distribution) == "learned" and cfg.smoothing_weight > 0:
            if task.feature_size is None:
                raise UserError(f"--criterion {cfg._name}: adds a layer to a model: build the task's model first")
            self.smoothing_head = nn.Linear(task.feature_size, self._types)
            for name, parameter in self.smoothing_head.named_parameters():
                setattr(parameter, "param_group", f"smoothing_head.{name}")  # noqa: B010 - for --layer-lr of torch_sgd

    def check(self, cfg: Any) -> None:
        within("--smoothing-weight", cfg.smoothing_weight, 0, 1)

    def share(self, model: Any) -> float:
        """1/2 for pairs, 1 for originals."""
        is_of_pairs = self.cfg.pairs_only or (updates_done(model) or 0) % 2 == 1
        return 0.5 if is_of_pairs else 1.0

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """Cross entropy against the labels of both images and the smoothing distribution."""
        if not model.training:
            return CrossEntropy()
        distribution = None if self.smoothing_head is None else lambda rows: self._learned.detach()[rows]
        return MixedLabels(sample["partner_target"], sample["share"], self.cfg.smoothing_weight, distribution)

    def parameter_loss(self, model: Any, logits: torch.Tensor, target: torch.Tensor) -> float | torch.Tensor:
        """The gradient through u', with p as a constant; it adds nothing to the value."""
        if self.smoothing_head is None or not model.training:
            return 0.0
        passes = len(logits) // len(self._learned)
        loss = distribution_loss(self._learned.repeat_interleave(passes, 0), logits, self.cfg.smoothing_weight)
        return loss - loss.detach()

    def pair_log(self, sample: dict) -> dict:
        """With --report-target-mass sums over the pairs of two classes: what Figure 4 shows, and their number."""
        if not self.cfg.report_target_mass:
            return {}
        weight, both = self.cfg.smoothing_weight, torch.stack([sample["target"], sample["partner_target"]], 1)
        u = both.new_full((len(both), self._types), 1 / self._types, dtype=torch.float)
        if self.smoothing_head is not None:
            u = self._learned.detach()
        true = (1 - weight) / 2 + weight * u.gather(1, both).sort(descending=True).values
        others = weight * u.scatter(1, both, 0.0).topk(len(TARGETS[2 : self._types])).values
        differ = both[:, 0] != both[:, 1]
        sums = torch.cat([true, others], 1)[differ].sum(0)
        return {_PAIRS: differ.sum(), **dict(zip(TARGETS, sums, strict=False))}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """As that of every criterion, with the mean targets."""
        super().reduce_metrics(logging_outputs)
        pairs = utils.item(sum(log.get(_PAIRS, 0) for log in logging_outputs))
        for name in TARGETS:
            if pairs and name in logging_outputs[0]:
                total = utils.item(sum(log[name] for log in logging_outputs))
                metrics.log_scalar(name, total / pairs, pairs, round=4)

    def _dense(self, model, net_input, target, loss, passes):
        if self.smoothing_head is None or not model.training:
            return super()._dense(model, net_input, target, loss, passes)

        def learn(_classifier, inputs):
            u = learned_distribution(self.smoothing_head(inputs[0]).float())
            self._learned = u.view(-1, passes, u.size(-1)).mean(1)  # both passes of R-Drop have one target

        # what enters the last layer is the same features S, whatever the architecture
        handle = unwrap(model).classifier.register_forward_pre_hook(learn)
        try:
            return super()._dense(model, net_input, target, loss, passes)
        finally:
            handle.remove()
