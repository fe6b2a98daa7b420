"""Where examples of three classes lie between the templates of their classes, in the layer before the last.

  labo penultimate runs/ce/seed1 runs/ls/seed1 runs/labo/seed1 --classes 0 1 2 --out penultimate
  labo penultimate --system ce=ce/checkpoint_best.pt --system labo=labo/checkpoint_best.pt --data DATA-BIN \\
    --classes man woman dog --subset valid

The activations are projected on the plane through three templates, rows of the last layer's weights (Müller et al.
2019, section 2). For translation the classes are three target tokens, as they stand in the dictionary, and activations
are the decoder's, with the reference as prefix. Images are not augmented.

RUN is the folder of a training, whose checkpoint_best.pt is used; runs that differ in the seed alone are seeds of one
system. --system names a checkpoint; a name that is given again adds a seed.

Prints how tight the clusters are; OUT gets penultimate.png (first seeds, by matplotlib), penultimate.tsv, points.tsv.
"""

import json
import tempfile
from pathlib import Path

from tqdm import tqdm

from .errors import UserError

CLASSES = 3


def add_arguments(parser):
    """Declare the arguments of `labo penultimate`."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="folder of a training run")
    parser.add_argument("--system", metavar="NAME=CKPT", action="append", default=[], help="a checkpoint; repeatable")
    parser.add_argument(
        "--classes",
        nargs=CLASSES,
        metavar="CLASS",
        required=True,
        help="three classes, or target tokens",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the data; without it the one of the training")
    parser.add_argument("--subset", nargs="+", default=["train", "valid"], help="data to look at")
    parser.add_argument("--points", type=int, default=100, metavar="N", help="examples of a class in the figure")
    parser.add_argument("--max-tokens", type=int, default=4000, help="tokens in a batch, for translation")
    parser.add_argument("--out", metavar="DIR", default="penultimate", help="folder for the figure and the tables")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers of each seed instead of TSV")


def run(args):
    """Project, print, write; returns 0. Raises UserError on bad input."""
    from . import register
    from .analysis import inside_figures, penultimate
    from .analysis.page import drawn, saved
    from .classify_report import checkpoints

    _check(args)
    register()
    groups = checkpoints(args)
    # matplotlib may be missing: say so before the models run
    inside_figures.new_figure(1, 1)
    found = _projections(groups, args)
    table = penultimate.table(found, args.classes)
    print(json.dumps(_as_json(found), indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = folder(args.out)
    saved(table, out, "penultimate")
    saved(penultimate.points_table(found, args.classes), out, "points")
    figure = inside_figures.penultimate(found, args.classes, args.points)
    drawn(figure, out, "penultimate", "activations on the plane of three templates")
    return 0


def folder(path):
    """The folder of results, made where it is missing. Raises UserError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: {path}: {error.strerror}: give a folder that can be written") from error
    return path


def _check(args):
    twice = next((name for i, name in enumerate(args.classes) if name in args.classes[:i]), None)
    if twice is not None:
        raise UserError(f"--classes: {twice}: given twice: three different ones span a plane")
    if args.points < 1:
        raise UserError(f"--points: {args.points}: must be 1 or more")


def _projections(groups, args):
    """{system: {subset: [Projection of each seed]}}."""
    found, kinds = {}, {}
    everything = [(name, checkpoint) for name, seeds in groups.items() for checkpoint in seeds]
    for name, checkpoint in tqdm(everything, desc="checkpoints", unit="checkpoint", leave=False, delay=2):
        kind, by_subset = _of_checkpoint(checkpoint, args)
        kinds[kind] = checkpoint
        if len(kinds) > 1:
            (what, first), (instead, other) = kinds.items()
            raise UserError(f"{other}: {instead}, but {first} {what}: look at them separately")
        for subset, projection in by_subset.items():
            found.setdefault(name, {}).setdefault(subset, []).append(projection)
    return found


def _of_checkpoint(checkpoint, args):
    """(what the classes are, {subset: Projection}) of one checkpoint."""
    import numpy as np
    import torch

    from .analysis.penultimate import project
    from .calibration.collect import collect, is_of_images, load_models

    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    models, task = load_models([str(checkpoint)], args.data, device)
    indices = class_indices(checkpoint, task, args.classes)
    found = {}
    for subset in dict.fromkeys(args.subset):
        with tempfile.TemporaryDirectory(prefix="labo.") as place:
            tokens = collect(models, task, subset, place, args.max_tokens, indices)
            member = tokens.members[0]
            labels = np.array([indices.index(t) for t in tokens.target.tolist()], int)
            missing = [args.classes[i] for i in range(CLASSES) if not (labels == i).any()]
            if missing:
                raise UserError(f"--classes: {', '.join(missing)}: does not occur in {subset}: choose other classes")
            found[subset] = project(np.array(member.hidden), labels, member.weight[indices].cpu().numpy())
    return ("classifies images" if is_of_images(task) else "translates"), found


def class_indices(checkpoint, task, names):
    """The numbers of classes, or of types of the target dictionary. Raises UserError for an unknown one."""
    from .calibration.collect import is_of_images

    known = list(task.classes) if is_of_images(task) else task.target_dictionary.indices
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = known if is_of_images(task) else f"a type of dict.{task.cfg.target_lang}.txt, as subwords are written"
        choose = ", ".join(listed) if isinstance(listed, list) else listed
        raise UserError(f"--classes: {', '.join(unknown)}: {checkpoint} does not know it: choose from {choose[:300]}")
    return [known.index(name) if isinstance(known, list) else known[name] for name in names]


def _as_json(found):
    return {s: {subset: [p.measures for p in seeds] for subset, seeds in by.items()} for s, by in found.items()}
