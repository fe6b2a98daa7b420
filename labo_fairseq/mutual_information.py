"""How much a logit difference tells about which image it is of, checkpoint after checkpoint.

  labo mutual-information runs/ce/seed1 runs/ls/seed1 runs/labo/seed1 --classes 0 1 --out information

Müller et al. (2019), section 4 and Figure 6: the mutual information, in nats, between the number of a training image of
two classes and the difference of their two logits, with augmentation as the only chance. All checkpoints of a RUN are
measured, in the order of their updates (train with --save-interval N or --save-interval-updates N); runs that differ in
the seed alone are seeds of one system.

The estimate is biased upwards where --draws is small: the column `bias` says by how much (docs/inside.md). `held out`
leaves each draw out of its own image's mean, is biased downwards and may be negative. Both are below log N, the bound.
log 2 is what the two labels alone tell.

Prints a row per system and checkpoint; OUT gets mutual_information.tsv and mutual_information.png (by matplotlib).
"""

import json
import math
import statistics
from dataclasses import dataclass

from tqdm import tqdm

from .errors import UserError

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


def add_arguments(parser):
    """Declare the arguments of `labo mutual-information`."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run of an image classifier")
    parser.add_argument("--classes", nargs=2, metavar="CLASS", required=True, help="two classes")
    parser.add_argument("--images", type=int, default=300, metavar="N", help="training images of each class")
    parser.add_argument("--draws", type=int, default=5, metavar="L", help="random augmentations of each image")
    parser.add_argument("--data", metavar="DIR", help="folder of the images; without it the one of the training")
    parser.add_argument("--out", metavar="DIR", default="information", help="folder for the figure and the table")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers of each seed instead of TSV")


def run(args):
    """Estimate, print, write; returns 0. Raises UserError on bad input."""
    from . import register
    from .analysis import figures, report
    from .analysis.page import drawn, saved
    from .penultimate import folder

    _check(args)
    register()
    folders = report.named_folders(args.runs)
    groups = report.seeds_together({name: _checkpoints(path) for name, path in folders.items()}, folders)
    figures.new_figure(1, 1)  # where matplotlib is missing, say so before the models run
    points = _measured(groups, args)
    table = _table(points, args.classes)
    print(json.dumps(_as_json(points), indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = folder(args.out)
    saved(table, out, "mutual_information")
    drawn(_figure(points, args), out, "mutual_information", "mutual information against updates")
    return 0


@dataclass(frozen=True)
class _Point:
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


def _check(args):
    if args.classes[0] == args.classes[1]:
        raise UserError(f"--classes: {args.classes[0]}: given twice: the logits of two different classes are compared")
    for flag, least in (("images", 2), ("draws", 2)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag}: {getattr(args, flag)}: must be {least} or more")


def _checkpoints(run):
    """The checkpoints of a run folder but for checkpoint_best.pt, which is one of the others."""
    inside = run / "checkpoints"
    found = sorted((inside if inside.is_dir() else run).glob("checkpoint*.pt"))
    found = [path for path in found if path.name != "checkpoint_best.pt"]
    if not found:
        raise UserError(f"{run}: has no checkpoints but perhaps the best one: train without --no-epoch-checkpoints")
    return found


def _measured(groups, args):
    """{system: [_Point, …]}, sorted by updates."""
    by_updates = {}
    everything = [(name, seed, path) for name, runs in groups.items() for seed, run in enumerate(runs) for path in run]
    for name, seed, path in tqdm(everything, desc="checkpoints", unit="checkpoint", leave=False, delay=2):
        updates, images, found = _of_checkpoint(path, args)
        # checkpoint_last.pt is usually one of the others too
        by_updates.setdefault(name, {}).setdefault(updates, {})[seed] = (images, found)
    return {
        name: [
            _Point(updates, next(iter(seeds.values()))[0], args.draws, [found for _, found in seeds.values()])
            for updates, seeds in sorted(of_system.items())
        ]
        for name, of_system in by_updates.items()
    }


def _of_checkpoint(path, args):
    """(updates, images, Estimate) of a checkpoint."""
    import torch
    from fairseq import checkpoint_utils

    from .analysis.information import estimate
    from .calibration.collect import is_of_images, load_models
    from .penultimate import class_indices

    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    (model,), task = load_models([str(path)], args.data, device)
    if not is_of_images(task):
        raise UserError(f"{path}: is no image classifier: mutual information needs augmented images")
    classes = class_indices(path, task, args.classes)
    history = checkpoint_utils.load_checkpoint_to_cpu(str(path))["optimizer_history"]
    draws = _differences(model, task, classes, args)
    try:
        return history[-1]["num_updates"], len(draws), estimate(draws)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _differences(model, task, classes, args):
    """Logit of the first class minus that of the second, (N, L), of augmented training images of both."""
    import numpy as np
    import torch

    task.load_dataset(task.cfg.train_subset)  # as for training: with augmentation
    dataset = task.dataset(task.cfg.train_subset)
    targets = np.asarray(dataset.images.targets)
    members = [np.flatnonzero(targets == i) for i in classes]
    # spread evenly over the data; fewer where there are fewer
    chosen = [np.unique(np.linspace(0, len(one) - 1, args.images).round().astype(int)) for one in members]
    indices = np.concatenate([one[i] for one, i in zip(members, chosen, strict=True)])
    device = next(model.parameters()).device
    columns = []
    for draw in range(args.draws):
        dataset.set_epoch(draw + 1)  # what augmentation depends on
        logits = []
        for start in range(0, len(indices), _BATCH):
            batch = dataset.collater([dataset[i] for i in indices[start : start + _BATCH]])
            with torch.no_grad():
                logits.append(model(**{k: v.to(device) for k, v in batch["net_input"].items()}).double().cpu())
        logits = torch.cat(logits)
        columns.append((logits[:, classes[0]] - logits[:, classes[1]]).numpy())
    return np.stack(columns, 1)


def _table(points, classes):
    from .analysis.tables import TextTable

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


def _as_json(points):
    return {
        name: [
            {"updates": p.updates, "images": p.images, "draws": p.draws, "seeds": [vars(e) for e in p.estimates]}
            for p in of_system
        ]
        for name, of_system in points.items()
    }


def _figure(points, args):
    from .analysis.figures import lines

    series = {name: [(p.updates, p.information, p.error) for p in found] for name, found in points.items()}
    levels = [(math.log(2), "log 2: the label alone")]  # log N, far above, would press the curves together
    heading = f"Image and logit {args.classes[0]} − logit {args.classes[1]}"
    return lines(series, "updates", "mutual information (nats)", heading, levels=levels)
