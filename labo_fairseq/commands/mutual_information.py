"""Measure how much a logit difference tells about which image it is of, checkpoint after checkpoint.

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

from ..errors import UserError
from ..files import result_folder
from .numbers import count


def add_arguments(parser):
    """Declare the arguments of `labo mutual-information`."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run of an image classifier")
    parser.add_argument("--classes", nargs=2, metavar="CLASS", required=True, help="the two classes to tell apart")
    parser.add_argument(
        "--images", type=count, default=300, metavar="N", help="number of training images of each class"
    )
    parser.add_argument(
        "--draws", type=count, default=5, metavar="L", help="number of random augmentations of each image"
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the images (default: the one the run was trained on)")
    parser.add_argument(
        "--out", metavar="DIR", default="information", help="folder to write the figure and the table to"
    )
    parser.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
    parser.add_argument(
        "--json", action="store_true", help="print JSON with unrounded numbers of each seed instead of TSV"
    )


def run(args):
    """Estimate, print, write; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..figures import style
    from ..figures.page import write_figure, write_table
    from ..inside.mutual_information import as_json, checkpoints_of, measured, table
    from ..records.run_folder import named_folders, seeds_together

    _check(args)
    register()
    folders = named_folders(args.runs)
    groups = seeds_together({name: checkpoints_of(path) for name, path in folders.items()}, folders)
    style.new_figure(1, 1)  # where matplotlib is missing, say so before the models run
    points = measured(groups, args.classes, args.images, args.draws, args.data, args.cpu)
    shown = table(points, args.classes)
    print(json.dumps(as_json(points), indent=1, ensure_ascii=False) if args.json else shown.as_tsv())
    out = result_folder(args.out)
    write_table(shown, out, "mutual_information")
    write_figure(_figure(points, args), out, "mutual_information", "mutual information against updates")
    return 0


def _check(args):
    if args.classes[0] == args.classes[1]:
        raise UserError(f"--classes: {args.classes[0]}: given twice: the logits of two different classes are compared")
    for flag, least in (("images", 2), ("draws", 2)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag}: {getattr(args, flag)}: must be {least} or more")


def _figure(points, args):
    from ..figures.style import lines

    series = {name: [(p.updates, p.information, p.error) for p in of_system] for name, of_system in points.items()}
    levels = [(math.log(2), "log 2: the label alone")]  # log N, far above, would press the curves together
    heading = f"Image and logit {args.classes[0]} − logit {args.classes[1]}"
    return lines(series, "updates", "mutual information (nats)", heading, levels=levels)
