"""Label noise: estimate how much there is, compare trained models with the theory of label smoothing.

  labo noise estimate runs/mnist/seed1
  labo noise compare runs/chen_figures.small/mnist10k/*/seed1 --out noise

estimate: the share of right labels among those of --subset, from a model that never saw them, and from it the best
label smoothing for clean test labels (alpha) and for equally noisy ones (beta). "mean field" is ours: clean rate and
temperature by maximum likelihood, with a 95 % bootstrap interval. It takes the noise to be uniform, and counts mistakes
that the model is sure of as noise. "confident joint" is cleanlab's, where that is installed
(pip install 'labo_fairseq[noise]'). Where the run itself made labels wrong, the true rate stands beside them.

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
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .analysis import noise_estimate, predictions
from .analysis.tables import TextTable, shown
from .classify_report import ensure_predictions
from .errors import UserError
from .files import write_aside


def add_arguments(parser):
    """Declare the arguments of `labo noise`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="{estimate,compare}")
    for name, line in (("estimate", "the clean rate of labels"), ("compare", "theory beside trained models")):
        sub = commands.add_parser(name, help=line, description=line, formatter_class=parser.formatter_class)
        sub.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run")
        sub.add_argument("--data", metavar="DIR", help="folder of the images; without it the one of the training")
        sub.add_argument("--cpu", action="store_true", help="do not use a GPU")
        sub.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")
        if name == "estimate":
            sub.add_argument("--subset", default="valid", help="images whose labels are judged, unseen in training")
            sub.add_argument("--samples", type=int, default=200, help="bootstrap samples of the interval")
            sub.add_argument("--seed", type=int, default=1, help="of the bootstrap")
        else:
            sub.add_argument("--subset", default="test", help="held-out images, with clean labels")
            sub.add_argument("--out", metavar="DIR", help="folder for table and figures, made if missing")


def run(args):
    """Measure and print; returns 0. Raises UserError on bad input."""
    return (_estimate if args.command == "estimate" else _compare)(args)


# --- estimate ---


def _estimate(args):
    if args.samples < 1:
        raise UserError(f"--samples: {args.samples}: must be 1 or more")
    rows = []
    for folder in tqdm(args.runs, desc="runs", unit="run", leave=False, delay=2):
        (found,) = _predictions(folder, [args.subset], args)
        rows.append({"run": folder, **_estimate_row(found, args)})
    if args.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    heading = ["run", "images", "clean rate", "low", "high", "confident joint", "true", "error"]
    heading += [f"{kind} {form}" for kind in ("alpha", "beta") for form in ("p", "α torch", "ε fairseq")]
    texts = [[row["run"], str(row["images"]), *(shown(v, ".4f") for v in list(row.values())[2:])] for row in rows]
    note = f"mean field, 95 % bootstrap interval ({args.samples} samples), on {args.subset}"
    print(TextTable("estimated share of right labels", [heading, *texts], [note]).as_tsv())
    return 0


def _estimate_row(found, args):
    from .optimal_smoothing import amounts

    estimate = noise_estimate.mean_field(found, args.samples, args.seed)
    true = None if found.clean_labels is None else float((found.clean_labels == found.labels).mean())
    row = {
        "images": len(found),
        "clean_rate": estimate.clean_rate,
        "low": estimate.low,
        "high": estimate.high,
        "confident_joint": noise_estimate.confident_joint(found),
        "true": true,
        "error": None if true is None else estimate.clean_rate - true,
    }
    for kind in ("alpha", "beta"):
        best = amounts(kind, estimate.clean_rate, len(found.classes))
        row |= {f"{kind}_{form}": best[form] for form in ("p", "torch", "fairseq")}
    return row


def _predictions(folder, subsets, args):
    checkpoint = predictions.checkpoint_of(folder)
    ensure_predictions(checkpoint, subsets, args.data, args.cpu)
    return [predictions.read(predictions.path_beside(checkpoint, subset)) for subset in subsets]


# --- compare ---


@dataclass(frozen=True)
class Comparison:
    """One run beside the theory; losses in nats, shares in [0, 1]."""

    run: str
    type: str
    clean_rate: float
    p: float
    predicted: float  #: of the theory, infinite without smoothing
    fitted: float  #: on the training images
    held_out: float
    averaging: float
    excess: float  #: training loss above the entropy of the targets
    memorised: float
    accuracy: float  #: held out
    best_accuracy: float | None  #: of the best epoch, on validation images

    def deviation(self, measured):
        """(measured − predicted)/predicted in percent; None where the prediction is infinite."""
        return 100 * (measured / self.predicted - 1) if np.isfinite(self.predicted) else None


def _compare(args):
    found = [_comparison(folder, args) for folder in tqdm(args.runs, desc="runs", unit="run", leave=False, delay=2)]
    found.sort(key=lambda one: (one.type, one.clean_rate, one.p))
    table = _comparison_table(found)
    print(json.dumps([vars(one) for one in found], indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    if args.out:
        out = Path(args.out)
        try:
            out.mkdir(parents=True, exist_ok=True)
            with write_aside(out / "comparison.tsv") as stream:
                stream.write(table.as_tsv() + "\n")
        except OSError as error:
            raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
        _draw(found, out)
    return 0


def _comparison(folder, args):
    import torch

    from .functional import label_noise
    from .functional.transition import noise_matrix

    flags = _flags(folder)
    train, test = _predictions(folder, ["train", args.subset], args)
    classes = len(train.classes)
    p = _mass_on_label(folder, flags, classes)
    kind = "beta" if "valid-label-noise" in flags else "alpha"
    transition = noise_matrix(flags.get("label-noise", "symmetric:0"), classes)
    smoothing = label_noise.uniform_smoothing(classes, p)
    posterior = smoothing @ transition  # what a model predicts that averages over the noise
    # column k: the labels that an image of class k is tested with
    tested = torch.eye(classes, dtype=torch.float64) if kind == "alpha" else transition
    target = smoothing.numpy()
    log_p = predictions.log_probabilities(train.logits)
    entropy = -float(torch.xlogy(smoothing[:, 0], smoothing[:, 0]).sum())
    return Comparison(
        str(folder),
        kind,
        float(transition.trace()) / classes,
        p,
        float(label_noise.matrix_loss(kind, smoothing, transition)) + 0.0,
        _loss(train, tested.numpy()),
        _loss(test, tested.numpy()),
        -float(torch.xlogy(tested, posterior).sum()) / classes + 0.0,
        float(-(target[:, train.labels].T * log_p).sum(1).mean() - entropy),
        float((log_p.argmax(1) == train.labels).mean()),
        float((test.logits.argmax(1) == _clean(test)).mean()),
        _best_accuracy(folder),
    )


def _flags(folder):
    """{flag: value} of the training command."""
    path = Path(folder) / "command.json"
    try:
        command = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path}: cannot be read: RUN must be a folder of `labo experiment`") from None
    pairs = zip(command, [*command[1:], "--"], strict=True)
    return {flag[2:]: value for flag, value in pairs if flag.startswith("--") and not value.startswith("--")}


def _mass_on_label(folder, flags, classes):
    from .functional import label_noise

    if flags.get("criterion") == "cross_entropy":
        return 1.0
    if flags.get("criterion") != "label_smoothing" or flags.get("smoothing-prior", "uniform") != "uniform":
        raise UserError(f"{folder}: was not trained with uniform label smoothing: the theory is of that alone")
    amount, form = float(flags.get("label-smoothing", 0.1)), flags.get("smoothing-form", "torch")
    return label_noise.conventions(amount, form, classes).target


def _clean(found):
    return found.labels if found.clean_labels is None else found.clean_labels


def _loss(found, tested):
    """Mean cross entropy against column k of `tested` for an image of the clean class k, in nats."""
    return float(-(tested[:, _clean(found)].T * predictions.log_probabilities(found.logits)).sum(1).mean())


def _best_accuracy(folder):
    """The highest accuracy of an epoch on validation images, by their true labels; None where none was logged."""
    try:
        text = (Path(folder) / "train.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for name in ("clean_accuracy", "accuracy"):
        values = [float(x) for x in re.findall(rf'"valid_{name}": "([\d.]+)"', text)]
        if values:
            return max(values) / 100
    return None


def _comparison_table(found):
    heading = ["run", "type", "clean rate", "p", "predicted", "fitted", "deviation %", "held out", "deviation %"]
    heading += ["averaging", "excess", "memorised %", "accuracy %", "best epoch %"]
    rows = [heading]
    for one in found:
        row = [one.run, one.type, f"{one.clean_rate:.3f}", f"{one.p:.3f}", f"{one.predicted:.4f}", f"{one.fitted:.4f}"]
        row += [shown(one.deviation(one.fitted), "+.1f"), f"{one.held_out:.4f}"]
        row += [shown(one.deviation(one.held_out), "+.1f"), f"{one.averaging:.4f}", f"{one.excess:.4f}"]
        row += [f"{100 * one.memorised:.2f}", f"{100 * one.accuracy:.2f}"]
        rows.append([*row, shown(None if one.best_accuracy is None else 100 * one.best_accuracy, ".2f")])
    return TextTable("loss (nats) by theory and measured", rows)


def _draw(found, out):
    from .analysis import figures, noise_figures

    for kind in dict.fromkeys(one.type for one in found):
        mine = [one for one in found if one.type == kind]
        name = noise_figures.NAMES[kind]
        figures.save(noise_figures.slices(*_slices(mine, kind), f"{name} type"), out / f"slices_{kind}.png")
        rates, masses = (sorted({round(getattr(one, key), 6) for one in mine}) for key in ("clean_rate", "p"))
        if len(rates) < 2 or len(masses) < 2:
            print(f"labo noise: {name} type: one clean rate or p alone: no landscape", file=sys.stderr)
            continue
        fields = {key: _field(mine, rates, masses, key) for key in Comparison.__annotations__ if key not in _TEXTS}
        rates, masses = np.array(rates), np.array(masses)
        losses = {"predicted loss (nats)": "predicted", "on training images": "fitted", "held out": "held_out"}
        shares = {"accuracy": "accuracy", "accuracy of the best epoch": "best_accuracy"}
        losses = {heading: (fields[key], "lowest") for heading, key in losses.items()}
        shares = {heading: (100 * fields[key], "highest") for heading, key in shares.items()}
        figures.save(noise_figures.heatmaps(rates, masses, losses), out / f"landscape_{kind}.png")
        figures.save(noise_figures.heatmaps(rates, masses, shares), out / f"accuracy_{kind}.png")
        best = {heading: _best(rates, masses, *field) for heading, field in {**losses, **shares}.items()}
        figures.save(noise_figures.lines({f"Best p, {name} type": best}, "clean rate a", "p"), out / f"optima_{kind}.png")
        errors = 100 - 100 * fields["accuracy"]
        panels = {"Error by p": {f"a = {a:g}": _points(masses, errors[:, i]) for i, a in enumerate(rates)}}
        figures.save(noise_figures.lines(panels, "p on the label", "error (%)"), out / f"errors_{kind}.png")
        panels = {"Accuracy by clean rate": {f"p = {p:g}": _points(rates, 100 - errors[i]) for i, p in enumerate(masses)}}
        figures.save(noise_figures.lines(panels, "clean rate a", "accuracy (%)"), out / f"curves_{kind}.png")


_TEXTS = ("run", "type", "clean_rate", "p")


def _slices(mine, kind):
    """(curves, points) of noise_figures.slices; of several seeds each has its mark."""
    import torch

    from .functional import label_noise

    masses = np.linspace(0.02, 0.995, 200)
    curves, points = {}, {}
    for rate in sorted({one.clean_rate for one in mine}):
        here = [one for one in mine if one.clean_rate == rate]
        classes = len(predictions.read(predictions.path_beside(predictions.checkpoint_of(here[0].run), "train")).classes)
        loss = label_noise.uniform_loss(kind, torch.from_numpy(masses), rate, classes)
        curves[rate] = (masses, loss.numpy())
        points[rate] = {
            "training images": [(one.p, one.fitted) for one in here],
            "held-out images": [(one.p, one.held_out) for one in here],
            "averaging over the noise": [(one.p, one.averaging) for one in here],
        }
    return curves, points


def _field(mine, rates, masses, key):
    """(P, A) means over the runs of a cell; NaN without one."""
    field = np.full((len(masses), len(rates)), np.nan)
    for i, p in enumerate(masses):
        for j, rate in enumerate(rates):
            cell = [getattr(o, key) for o in mine if round(o.p, 6) == p and round(o.clean_rate, 6) == rate]
            cell = [value for value in cell if value is not None]
            if cell:
                field[i, j] = np.mean(cell)
    return field


def _best(rates, masses, values, which):
    ranked = np.where(np.isfinite(values), values if which == "lowest" else -values, np.inf)
    return [(rate, masses[column.argmin()]) for rate, column in zip(rates, ranked.T, strict=True)]


def _points(x, y):
    return [(a, b) for a, b in zip(x, y, strict=True) if np.isfinite(b)]
