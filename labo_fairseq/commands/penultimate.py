"""Show where examples of three classes lie between the templates of their classes, in the layer before the last.

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

from ..errors import UserError
from ..files import result_folder
from .numbers import count

CLASSES = 3  # that span a plane


def add_arguments(parser):
    """Declare the arguments of `labo penultimate`."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="folder of a training run")
    parser.add_argument(
        "--system",
        metavar="NAME=CKPT",
        action="append",
        default=[],
        help="a checkpoint under a name of yours; may be repeated",
    )
    parser.add_argument(
        "--classes",
        nargs=CLASSES,
        metavar="CLASS",
        required=True,
        help="three classes, or target tokens",
    )
    parser.add_argument("--data", metavar="DIR", help="folder of the data (default: the one the run was trained on)")
    parser.add_argument("--subset", nargs="+", default=["train", "valid"], help="subsets to project")
    parser.add_argument(
        "--points", type=int, default=100, metavar="N", help="number of examples of each class in the figure"
    )
    parser.add_argument("--max-tokens", type=count, default=4000, help="tokens in a batch, for translation")
    parser.add_argument(
        "--out", metavar="DIR", default="penultimate", help="folder to write the figure and the tables to"
    )
    parser.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
    parser.add_argument(
        "--json", action="store_true", help="print JSON with unrounded numbers of each seed instead of TSV"
    )


def run(args):
    """Project, print, write; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..figures import inside as inside_figures
    from ..figures.page import write_figure, write_table
    from ..inside import penultimate
    from ..inside.activations import projections
    from .arguments import checkpoints_of

    _check(args)
    register()
    groups = checkpoints_of(args)
    # matplotlib may be missing: say so before the models run
    inside_figures.new_figure(1, 1)
    projected = projections(groups, args.classes, args.subset, args.data, args.max_tokens, args.cpu)
    table = penultimate.table(projected, args.classes)
    print(json.dumps(_as_json(projected), indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = result_folder(args.out)
    write_table(table, out, "penultimate")
    write_table(penultimate.points_table(projected, args.classes), out, "points")
    figure = inside_figures.penultimate(projected, args.classes, args.points)
    write_figure(figure, out, "penultimate", "activations on the plane of three templates")
    return 0


def _check(args):
    twice = next((name for i, name in enumerate(args.classes) if name in args.classes[:i]), None)
    if twice is not None:
        raise UserError(f"--classes: {twice}: given twice: three different ones span a plane")
    if args.points < 1:
        raise UserError(f"--points: {args.points}: must be 1 or more")


def _as_json(projected):
    return {s: {subset: [p.measures for p in seeds] for subset, seeds in by.items()} for s, by in projected.items()}
