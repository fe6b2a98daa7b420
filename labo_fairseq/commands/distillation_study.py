"""Accuracy of teachers and students against the smoothness γ of their targets: Figures 5, 7 and 8 of two papers.

  labo experiment run scripts/experiments/distillation_study.yaml --profile small --raw-dir DIR --jobs 2
  labo distillation-study runs/distillation_study.small/mnist10k --out study

DIR is a data set's folder in what `labo experiment` wrote, METHOD/seedN below it. A run whose checkpoint another one
has as --teacher-path is a teacher. The curves of Müller et al. (2019) and Wagner et al. (2023):

  M1  teachers by their label smoothing α      M3  students of the teacher with hard labels, by temperature
  M2  students alone, by α                     M4  students of smoothed teachers, by α, usually at T = 1

and the same with LABO, and students that match logits. γ is the mass that a teacher gives to wrong classes on the
training images, times K/(K−1) (Wagner et al., equation 3); of M1 and M2 it is α; of LABO's own runs that of their
outputs.

Prints a row per method; OUT gets distillation_study.tsv and distillation_study.png (by matplotlib).
"""

import json

from ..files import result_folder


def add_arguments(parser):
    """Declare the arguments of `labo distillation-study`."""
    parser.add_argument(
        "folder", metavar="DIR", help="folder OUT/DATASET of an experiment, with a folder for each method"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the images (default: the one the runs were trained on)"
    )
    parser.add_argument("--out", metavar="DIR", default="study", help="folder to write the figure and the table to")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure γ where it is missing, print, write; returns 0. Raises UserError on bad input."""
    from ..figures import style
    from ..figures.page import write_figure, write_table
    from ..inside import distillation

    style.new_figure(1, 1)  # where matplotlib is missing, say so before the models run
    points = distillation.points(args.folder, args.data, args.cpu)
    table = distillation.table(points)
    print(json.dumps([vars(p) for p in points], indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = result_folder(args.out)
    write_table(table, out, "distillation_study")
    heading = "Distillation: accuracy by smoothness"
    figure = style.lines(distillation.series(points), "smoothness γ", "test accuracy (%)", heading)
    write_figure(figure, out, "distillation_study", "accuracy of teachers and students against γ")
    return 0
