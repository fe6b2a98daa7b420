"""Mutual information of an image and a logit difference, checkpoint after checkpoint (Müller et al. 2019, Figure 6)."""

import math
import statistics
from dataclasses import dataclass

import numpy as np
import torch
from fairseq import checkpoint_utils

from ..errors import UserError
from ..fairseq_models.loading import chosen_device, is_of_images, load_models
from ..progress import progress
from ..records.tables import TextTable
from .activations import class_indices
from .information import estimate

_BATCH = 256


COLUMNS = (
    "system",
    "updates",
    "seeds",
    "images",
    "draws",
    "information",
    "standard error",
    "bias",
    "corrected",
    "held out",
    "bound",
)


@dataclass(frozen=True)
class Point:
    """The estimates of the seeds of a system after as many updates."""

    updates: int
    images: int
    draws: int
    estimates: list

    @property
    def information(self):
        return sum(e.information for e in self.estimates) / len(self.estimates)

    @property
    def error(self):
        """Standard error: over the seeds where there are several, else over the images."""
        if len(self.estimates) == 1:
            return self.estimates[0].error
        return statistics.stdev(e.information for e in self.estimates) / math.sqrt(len(self.estimates))


def checkpoints_of(run):
    """The checkpoints of a run folder but for checkpoint_best.pt, which is one of the others."""
    inside = run / "checkpoints"
    checkpoints = sorted((inside if inside.is_dir() else run).glob("checkpoint*.pt"))
    checkpoints = [path for path in checkpoints if path.name != "checkpoint_best.pt"]
    if not checkpoints:
        raise UserError(f"{run}: has no checkpoints of epochs or updates: train without --no-epoch-checkpoints")
    return checkpoints


def measured(groups, classes, images, draws, data=None, cpu=False):
    """{system: [Point, …]}, sorted by updates, of {system: [checkpoints of each seed]}.

    classes: names of two classes; images: training images of each; draws: random augmentations of each image; data:
    folder of the images, None for that of the training. Raises UserError.
    """
    by_updates = {}
    everything = [(name, seed, path) for name, runs in groups.items() for seed, run in enumerate(runs) for path in run]
    for name, seed, path in progress(everything, "checkpoints", "checkpoint"):
        updates, number, estimate_ = _of_checkpoint(path, classes, images, draws, data, cpu)
        # checkpoint_last.pt is usually one of the others too
        by_updates.setdefault(name, {}).setdefault(updates, {})[seed] = (number, estimate_)
    return {
        name: [
            Point(updates, next(iter(seeds.values()))[0], draws, [estimate_ for _, estimate_ in seeds.values()])
            for updates, seeds in sorted(of_system.items())
        ]
        for name, of_system in by_updates.items()
    }


def _of_checkpoint(path, classes, images, draws, data, cpu):
    """(updates, images, Estimate) of a checkpoint."""

    (model,), task = load_models([str(path)], data, chosen_device(cpu))
    if not is_of_images(task):
        raise UserError(f"{path}: is no image classifier: mutual information needs augmented images")
    indices = class_indices(path, task, classes)
    history = checkpoint_utils.load_checkpoint_to_cpu(str(path))["optimizer_history"]
    differences = _differences(model, task, indices, images, draws)
    try:
        return history[-1]["num_updates"], len(differences), estimate(differences)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _differences(model, task, classes, images, draws):
    """Logit of the first class minus that of the second, (N, L), of augmented training images of both."""
    task.load_dataset(task.cfg.train_subset)  # as for training: with augmentation
    dataset = task.dataset(task.cfg.train_subset)
    targets = np.asarray(dataset.images.targets)
    members = [np.flatnonzero(targets == i) for i in classes]
    # spread evenly over the data; fewer where there are fewer
    chosen = [np.unique(np.linspace(0, len(one) - 1, images).round().astype(int)) for one in members]
    indices = np.concatenate([one[i] for one, i in zip(members, chosen, strict=True)])
    device = next(model.parameters()).device
    columns = []
    for draw in range(draws):
        dataset.set_epoch(draw + 1)  # what augmentation depends on
        logits = []
        for start in range(0, len(indices), _BATCH):
            batch = dataset.collater([dataset[i] for i in indices[start : start + _BATCH]])
            with torch.no_grad():
                logits.append(model(**{k: v.to(device) for k, v in batch["net_input"].items()}).double().cpu())
        logits = torch.cat(logits)
        columns.append((logits[:, classes[0]] - logits[:, classes[1]]).numpy())
    return np.stack(columns, 1)


def table(points, classes):
    rows = [list(COLUMNS)]
    for name, of_system in points.items():
        for p in of_system:
            bias, bound = p.estimates[0].bias, p.estimates[0].bound
            held_out = statistics.fmean(e.held_out for e in p.estimates)
            numbers = (p.information, p.error, bias, p.information - bias, held_out, bound)
            counts = (p.updates, len(p.estimates), p.images, p.draws)
            rows.append([name, *map(str, counts), *(f"{x:.4f}" for x in numbers)])
    notes = ["the standard error is over the seeds where there are several, else over the images"]
    return TextTable(f"mutual information of image and logit {classes[0]} − logit {classes[1]} (nats)", rows, notes)


def as_json(points):
    return {
        name: [
            {"updates": p.updates, "images": p.images, "draws": p.draws, "seeds": [vars(e) for e in p.estimates]}
            for p in of_system
        ]
        for name, of_system in points.items()
    }
