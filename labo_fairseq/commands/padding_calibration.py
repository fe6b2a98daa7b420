"""What counting padding does to the calibration of a translation model: one figure, two curves.

  labo padding-calibration data-bin --path checkpoint_best.pt --subset valid --out padding

Sentences of a batch are filled up to the longest one. A model never learns what to predict there, so every such place
counts as a confident mistake where a program forgets to leave it out, and the ECE says how the sentences were batched.
Wagner et al. (2023) count padding on Multi30k, in batches of 128 sentences in the order of the file: their ECE and
temperature are those of the padding. Every other command here leaves it out.

Prints a row per temperature; OUT gets padding.tsv, reliability.tsv and padding.png (by matplotlib).
"""

import json

from ..errors import UserError
from ..files import result_folder
from .calibrate import TEMPERATURES


def add_arguments(parser):
    """Declare the arguments of `labo padding-calibration`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT", help="a checkpoint")
    parser.add_argument("--subset", default="valid", help="subset to measure on")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=128,
        metavar="N",
        help="number of sentences in a batch, padded to the longest one",
    )
    parser.add_argument(
        "--temperatures",
        nargs="+",
        type=float,
        default=[*TEMPERATURES, 2.5, 3.0],
        metavar="T",
        help="temperatures to measure at",
    )
    parser.add_argument("--out", metavar="DIR", default="padding", help="folder to write the figure and the tables to")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure, print, write; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..figures import inside as inside_figures
    from ..figures.page import write_figure, write_table
    from ..inside import padding

    if args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size}: must be 1 or more")
    wanted = sorted({1.0, *args.temperatures})
    if not wanted[0] > 0:
        raise UserError(f"--temperatures: {wanted[0]}: must be above 0")
    inside_figures.new_figure(1, 1)  # where matplotlib is missing, say so before the model runs
    register()
    sums = padding.sums_by_temperature(args.path, args.data, args.subset, wanted, args.batch_size, args.cpu)
    rows = [padding.row(t, way, sums[way][t]) for way in padding.WAYS for t in wanted]
    bins = [row for way in padding.WAYS for row in padding.bins(way, sums[way][1.0])]
    tables = [padding.table("ECE with and without padding", rows), padding.table("reliability at T = 1", bins)]
    print(json.dumps({"ece": rows, "reliability": bins}, indent=1) if args.json else tables[0].as_tsv())
    out = result_folder(args.out)
    for table, name in zip(tables, ("padding", "reliability"), strict=True):
        write_table(table, out, name)
    write_figure(inside_figures.padding(rows, bins), out, "padding", "ECE with and without padding")
    return 0
