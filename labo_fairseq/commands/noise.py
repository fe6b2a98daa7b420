"""Estimate how much label noise there is, or compare trained models with the theory of label smoothing.

  labo noise estimate runs/mnist/seed1
  labo noise compare runs/chen_figures.small/mnist10k/*/seed1 --out noise

estimate: the share of right labels among those of --subset, from a model that never saw them, and from it the best
label smoothing for clean test labels (alpha) and for equally noisy ones (beta). "mean field" is ours: clean rate and
temperature by maximum likelihood, with a 95 % bootstrap interval. It takes the noise to be uniform, and counts mistakes
that the model is sure of as noise. "agreement" is the share of labels that the model predicts; where the estimate is
far above it, the noise may be of another kind, and a warning says so. "confident joint" is cleanlab's, where that is
installed (`labo doctor` says how). Where the run itself made labels wrong, the true rate stands beside them.

compare: the loss that Chen et al. (2020) predict for a model that fits its noisy, smoothed training labels, beside what
each RUN reaches on its training images and on held-out ones: with their clean labels (alpha), or, for a run with
--valid-label-noise, with labels that are noisy anew, in expectation over that noise (beta). "excess" is how far the
training loss is from its least, "memorised" the share of training labels that are predicted. "averaging" is what a
model would reach that averages over the noise instead of fitting each label. Writes comparison.tsv and, after the
paper's figures, slices (6, 7), landscape (5), optima (8), accuracy (9) and curves (10, 11).

RUN is the folder of a training of `labo experiment` (it reads command.json), of --criterion label_smoothing or
cross_entropy. Checkpoints are run over their images once (see labo classify-report); the last checkpoint is wanted for
compare, see scripts/experiments/chen_figures.yaml.
"""

import json
import sys

import numpy as np

from ..errors import UserError
from ..files import result_folder
from ..noise import estimate as noise_estimate
from ..progress import progress
from ..records.tables import TextTable, shown
from ..vision.stored_predictions import predictions_of
from .numbers import seed

_GAP = 0.1  # of the estimate and the model's agreement with the labels, above which a warning tells of it


def add_arguments(parser):
    """Declare the arguments of `labo noise`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="{estimate,compare}")
    for name, line in (
        ("estimate", "estimate the share of right labels"),
        ("compare", "compare trained models with the theory"),
    ):
        sub = commands.add_parser(name, help=line, description=line, formatter_class=parser.formatter_class)
        sub.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run")
        sub.add_argument("--data", metavar="DIR", help="folder of the images (default: the one the run was trained on)")
        sub.add_argument("--cpu", action="store_true", help="run on the CPU even if there is a GPU")
        sub.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")
        if name == "estimate":
            sub.add_argument(
                "--subset",
                default="valid",
                help="images whose labels are judged; the model must not have been trained on them",
            )
            sub.add_argument("--samples", type=int, default=200, help="number of bootstrap samples for the interval")
            sub.add_argument("--seed", type=seed, default=1, help="random seed of the bootstrap")
        else:
            sub.add_argument("--subset", default="test", help="held-out images with clean labels")
            sub.add_argument(
                "--out", metavar="DIR", help="write the table and the figures to this folder, made if missing"
            )


def run(args):
    """Measure and print; returns 0. Raises UserError on bad input."""
    if args.command == "estimate":
        return _estimate(args)
    return _compare(args)


def _estimate(args):
    if args.samples < 1:
        raise UserError(f"--samples: {args.samples}: must be 1 or more")
    rows = []
    for folder in progress(args.runs, "runs", "run"):
        (images,) = predictions_of(folder, [args.subset], args.data, args.cpu)
        rows.append({"run": folder, **_estimate_row(images, args)})
    for row in rows:
        _warn_of_disagreement(row)
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    heading = ["run", "images", "clean rate", "low", "high", "agreement", "confident joint", "true", "error"]
    heading += [f"{kind} {form}" for kind in ("alpha", "beta") for form in ("p", "α torch", "ε fairseq")]
    texts = [[row["run"], str(row["images"]), *(shown(v, ".4f") for v in list(row.values())[2:])] for row in rows]
    note = f"mean field, 95 % bootstrap interval ({args.samples} samples), on {args.subset}"
    print(TextTable("estimated share of right labels", [heading, *texts], [note]).as_tsv())
    return 0


def _compare(args):
    from ..noise import compare
    from ..noise.optimal import uniform_losses

    comparisons = []
    for folder in progress(args.runs, "runs", "run"):
        train, test = predictions_of(folder, ["train", args.subset], args.data, args.cpu)
        comparisons.append(compare.comparison(folder, train, test))
    comparisons.sort(key=lambda one: (one.type, one.clean_rate, one.p))
    table = compare.table(comparisons)
    print(json.dumps(compare.as_json(comparisons), indent=1) if args.json else table.as_tsv())
    if args.out:
        from ..figures import noise_comparison
        from ..figures.page import write_table

        def predicted(kind, masses, rate, classes):
            return uniform_losses([kind], np.array([rate]), masses, classes)[kind][:, 0]

        out = result_folder(args.out)
        write_table(table, out, "comparison")
        noise_comparison.draw(comparisons, out, predicted)
    return 0


def _warn_of_disagreement(row):
    """Noise that is not uniform looks like doubts of the model, which the mean field does not count."""
    if row["clean_rate"] - row["agreement"] > _GAP:
        print(
            f"labo noise: warning: {row['run']}: estimates {100 * row['clean_rate']:.1f} % right labels, but the model "
            f"agrees with {100 * row['agreement']:.1f} % only: it is a poor judge, or the noise is not uniform",
            file=sys.stderr,
        )


def _estimate_row(images, args):
    from ..noise.optimal import amounts

    estimate = noise_estimate.mean_field(images, args.samples, args.seed)
    true = None if images.clean_labels is None else float((images.clean_labels == images.labels).mean())
    row = {
        "images": len(images),
        "clean_rate": estimate.clean_rate,
        "low": estimate.low,
        "high": estimate.high,
        "agreement": float((images.logits.argmax(1) == images.labels).mean()),
        "confident_joint": noise_estimate.confident_joint(images),
        "true": true,
        "error": None if true is None else estimate.clean_rate - true,
    }
    for kind in ("alpha", "beta"):
        best = amounts(kind, estimate.clean_rate, len(images.classes))
        row |= {f"{kind}_{form}": best[form] for form in ("p", "torch", "fairseq")}
    return row
