"""Compute the label smoothing that is best under label noise, by the theory of Chen et al. (2020); no training.

  labo optimal-smoothing --clean-rate 0.9 --classes 10
  labo optimal-smoothing --type beta --clean-rate 0.8 --classes 100 --out optimal
  labo optimal-smoothing --transition T.txt --out optimal

  alpha  noisy training labels, clean test labels
  beta   test labels as noisy as the training labels, independently
  gamma  smoothed test labels

p is what the target keeps for its label; then the same amount as --label-smoothing of each form: torch (α/K for every
class), fairseq (ε/(K-1) for each wrong class), joeynmt (ε/(K-2), K counting padding). The loss is in nats, of a model
that fits its noisy, smoothed training labels, on the same images.

--transition names a file of the matrix T, row i, column j: P(noisy label i | clean label j). Uniform smoothing is then
chosen by its mean (eq. 17), and S* is the best matrix (not for gamma, which has no closed form).

With --out: optimal.tsv, the figures landscape, optimum and optimum_classes (Figures 1 to 4 of the paper), and with
--transition matrix.alpha.txt and matrix.beta.txt, for --criterion matrix_smoothing --smoothing-matrix FILE.
"""

import json
from pathlib import Path

from ..errors import UserError
from ..files import write_aside
from ..records.tables import TextTable

TYPES = ("alpha", "beta", "gamma")
_CLASSES = (2, 10, 100)  # of the figure that compares numbers of classes


def add_arguments(parser):
    """Declare the arguments of `labo optimal-smoothing`."""
    parser.add_argument("--type", choices=TYPES, help="kind of test labels, see above (default: all three)")
    parser.add_argument("--clean-rate", type=float, metavar="A", help="share of right training labels, in [0, 1]")
    parser.add_argument("--classes", type=int, metavar="M", help="number of classes, 2 or more")
    parser.add_argument(
        "--transition", metavar="FILE", help="file of the noise matrix, in place of --clean-rate and --classes"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="write the table, figures and matrices to this folder, made if missing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Print and write; returns 0. Raises UserError on bad input."""
    from ..noise import optimal
    from ..noise.transition import read_matrix

    transition = None
    if args.transition is not None:
        if args.clean_rate is not None or args.classes is not None:
            raise UserError("--transition: holds the clean rate and the classes: leave --clean-rate and --classes out")
        transition = read_matrix(args.transition)
    elif args.clean_rate is None or args.classes is None:
        raise UserError("--clean-rate, --classes: both are needed, or --transition FILE")
    elif args.classes < 2:
        raise UserError(f"--classes: {args.classes}: label noise needs 2 or more")
    elif not 0 <= args.clean_rate <= 1:
        raise UserError(f"--clean-rate: {args.clean_rate:g} is out of range: give a number in [0, 1]")
    kinds = [args.type] if args.type else list(TYPES)
    if transition is None:
        rows, matrices = [optimal.amounts(kind, args.clean_rate, args.classes) for kind in kinds], {}
    else:
        matrices = optimal.matrices(kinds, transition)
        rows = optimal.uniform_rows(kinds, transition)
        rows += [optimal.matrix_row(kind, matrix, transition) for kind, matrix in matrices.items()]
    print(json.dumps(rows, indent=1) if args.json else _table(rows).as_tsv())
    if args.out:
        _write(Path(args.out), rows, matrices)
    return 0


def _table(rows):
    def shown(value):
        if value is None:
            return "–"
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    heading = ["type", "smoothing", "clean rate", "classes", "p", "α torch", "ε fairseq", "ε joeynmt", "loss"]
    return TextTable("best label smoothing (loss in nats)", [heading, *(map(shown, row.values()) for row in rows)])


def _write(out, rows, matrices):
    try:
        out.mkdir(parents=True, exist_ok=True)
        with write_aside(out / "optimal.tsv") as stream:
            stream.write(_table(rows).as_tsv() + "\n")
        for kind, matrix in matrices.items():
            with write_aside(out / f"matrix.{kind}.txt") as stream:
                stream.writelines(" ".join(f"{x:.9g}" for x in row) + "\n" for row in matrix.tolist())
    except OSError as error:
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
    _draw(out, [row["type"] for row in rows if row["smoothing"] == "uniform"], rows[0]["classes"])


def _draw(out, kinds, classes):
    import numpy as np

    from ..figures import noise as noise_figures
    from ..figures import style
    from ..noise.optimal import uniform_losses
    from ..noise.theory import optimal_mass

    rates, masses = np.linspace(0.5, 1, 101), np.linspace(0.01, 0.999, 200)
    losses = uniform_losses(kinds, rates, masses, classes)

    def best(kind, size, at=rates):
        return np.array([optimal_mass(kind, float(rate), size) for rate in at])

    optimum = {kind: best(kind, classes) for kind in kinds}
    style.save(noise_figures.landscapes(rates, masses, losses, optimum, classes), out / "landscape.png")
    named = {f"{noise_figures.NAMES[kind]} type": values for kind, values in optimum.items()}
    style.save(noise_figures.optima(rates, named, f"Best smoothing, {classes} classes"), out / "optimum.png")
    wide = np.linspace(0, 1, 201)
    several = {f"{noise_figures.NAMES[k]}, M = {m}": best(k, m, wide) for k in kinds for m in _CLASSES}
    if "alpha" in kinds:  # the same for every M
        several = {"α, any M": wide} | {name: v for name, v in several.items() if not name.startswith("α, M")}
    style.save(noise_figures.optima(wide, several, "Best smoothing by number of classes"), out / "optimum_classes.png")
