"""The smoothed target of one position under label smoothing and under LABO, as in Figure 1c of Lu et al. (2023).

  labo targets data-bin --path checkpoint_best.pt --source "ein mann" --target "a man" --token man --out targets
  labo targets data-bin --path checkpoint_best.pt --subset valid --sentence 17 --position 4

LABO's target depends on what the model thinks, given the source and the target's tokens before the position. Texts are
written as in the data: tokens and subwords with spaces between them. </s> is the end of the sentence.

Prints the --top types of LABO's distribution P* = softmax(z/τ) and the true one, with their probabilities under the
model and in each target; OUT gets them as targets.tsv and targets.png (by matplotlib).
"""

import json

from ..errors import UserError
from ..files import result_folder


def add_arguments(parser):
    """Declare the arguments of `labo targets`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT", help="a checkpoint")
    parser.add_argument("--source", metavar="TEXT", help="a source sentence of your own; needs --target")
    parser.add_argument("--target", metavar="TEXT", help="the translation of --source")
    parser.add_argument("--sentence", type=int, metavar="ID", help="number of a sentence of the data, from 0")
    parser.add_argument("--subset", default="valid", help="subset that --sentence is taken from")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--token", help="show the target at the first place of this token")
    place.add_argument(
        "--position", type=int, metavar="N", help="show the target at this place of the target sentence, from 1"
    )
    parser.add_argument(
        "--label-smoothing",
        type=float,
        default=0.1,
        metavar="α",
        help="smoothing mass of label smoothing and fixed LABO",
    )
    parser.add_argument(
        "--smoothing-temperature",
        type=float,
        default=1.25,
        metavar="τ",
        help="temperature of LABO's smoothing distribution",
    )
    parser.add_argument("--rho", type=float, default=0.5, metavar="ρ", help="ρ of LABO's adaptive mass")
    parser.add_argument("--top", type=int, default=8, metavar="K", help="number of types to show")
    parser.add_argument("--out", metavar="DIR", default="targets", help="folder to write the figure and the table to")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Compute, print, write; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..figures import inside as inside_figures
    from ..figures.page import write_figure, write_table
    from ..inside.targets import Place, Smoothing, distributions
    from ..records.tables import TextTable

    _check(args)
    inside_figures.new_figure(1, 1)  # where matplotlib is missing, say so before the model runs
    register()
    place = Place(args.source, args.target, args.subset, args.sentence, args.token, args.position)
    smoothing = Smoothing(args.label_smoothing, args.smoothing_temperature, args.rho)
    heading, rows = distributions(args.path, args.data, place, smoothing, args.top, args.cpu)
    names = list(next(iter(rows.values())))
    cells = [[token, *(f"{row[name]:.4g}" for name in names)] for token, row in rows.items()]
    table = TextTable(heading, [["type", *names], *cells])
    content = {"position": heading, "targets": rows}
    print(json.dumps(content, indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = result_folder(args.out)
    write_table(table, out, "targets")
    write_figure(inside_figures.targets(rows, heading), out, "targets", "target distributions of one position")
    return 0


def _check(args):
    if (args.source is None) != (args.target is None) or (args.source is None) == (args.sentence is None):
        raise UserError("--source: give both --source and --target, or --sentence, and not all of them")
    for flag, value in (("--label-smoothing", args.label_smoothing), ("--rho", args.rho)):
        if not 0 <= value <= 1:
            raise UserError(f"{flag}: {value} is out of range: give a number in [0, 1]")
    if not 0 < args.smoothing_temperature < float("inf"):
        raise UserError(f"--smoothing-temperature: {args.smoothing_temperature}: must be finite and above 0")
    if args.top < 1:
        raise UserError(f"--top: {args.top}: must be 1 or more")
