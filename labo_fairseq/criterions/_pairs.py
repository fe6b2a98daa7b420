"""What the criterions that average two images share."""

from typing import Any

import torch

from ..errors import UserError
from ..fairseq_models.projection import unwrap
from ..functional import CrossEntropy, MixedLabels, RowLoss
from ._base import LabelRegularizedCriterion


class PairedCriterion(LabelRegularizedCriterion):
    """Trains on λ·x_i + (1−λ)·x_j with the labels of both; j is a random permutation of the worker's batch.

    In evaluation it is cross entropy. A subclass says how large λ is.
    """

    def __init__(self, cfg: Any, task: Any):
        super().__init__(cfg, task)
        if not hasattr(task, "feature_size"):
            raise UserError(
                f"--criterion {cfg._name}: averages images, which tokens are not: use --task torchvision_classification"
            )

    def share(self, model: Any) -> float:
        """λ of this batch, in [0, 1]; 1 leaves the images as they are."""
        raise NotImplementedError

    def pair_log(self, sample: dict) -> dict:
        """What is logged of the pairs, as sums."""
        return {}

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> Any:
        """As that of every criterion; where the model is in training, of the batch's pairs."""
        if not model.training:
            return super().forward(model, sample, reduce)
        sample = self._paired(unwrap(model), sample)
        loss, sample_size, log = super().forward(model, sample, reduce)
        return loss, sample_size, {**log, **self.pair_log(sample)}

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """Cross entropy against the labels of both images."""
        return MixedLabels(sample["partner_target"], sample["share"]) if model.training else CrossEntropy()

    def _paired(self, model, sample):
        share, images, target = self.share(model), sample["net_input"]["images"], sample["target"]
        if share == 1:
            return {**sample, "partner_target": target, "share": share}
        # on the CPU, whose generator fairseq seeds by the update: the same pairs on any device, and after a resume
        order = torch.randperm(len(target)).to(target.device)
        images = share * images + (1 - share) * images[order]
        return {**sample, "net_input": {"images": images}, "partner_target": target[order], "share": share}
