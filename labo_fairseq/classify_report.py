"""Accuracy, top-5, ECE before and after temperature scaling, NLL, risk and coverage, confusion of image classifiers.

  labo classify-report runs/cifar10/label_smoothing/seed1 runs/cifar10/labo/seed1 --out report
  labo classify-report --system ls=ls/checkpoint_best.pt --system labo=labo/checkpoint_best.pt --data DIR --json

RUN is the folder of a training (its checkpoints/checkpoint_best.pt or checkpoint_best.pt is measured); runs whose
commands differ in nothing but the seed and the places of files are training seeds of one system. --system names a
checkpoint; a name that is given again adds a seed. The first system is what the others are compared with.

Each checkpoint is run over --subset and --fit-subset once; its logits are kept beside it (checkpoint_best.test.npz) and
read from there the next time, also where the checkpoint itself is gone. The temperature is fitted to --fit-subset;
`--fit-subset train --fit-share 0.1` takes a tenth of the training images instead, as Guo (2020) does.

Prints the table, and writes OUT/report.html with all figures and tables, also as PNG and TSV. Figures need matplotlib
(pip install 'labo_fairseq[plot]'), the first measuring of a checkpoint torchvision ('labo_fairseq[vision]').
"""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from .analysis import class_training, classification, predictions, report
from .analysis.page import page
from .errors import UserError
from .files import sha256, write_aside


def add_arguments(parser):
    """Declare the arguments of `labo classify-report`."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="folder of a training run")
    parser.add_argument("--system", metavar="NAME=CKPT", action="append", default=[], help="a checkpoint; repeatable")
    parser.add_argument("--data", metavar="DIR", help="folder of the images; without it the one of the training")
    parser.add_argument("--subset", default="test", help="images to measure")
    parser.add_argument("--fit-subset", default="valid", help="images that the temperature is fitted to")
    parser.add_argument(
        "--fit-share", type=float, default=1.0, metavar="S",
        help="share of these images, in (0, 1]; with `--fit-subset train` images that the model has learned",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", default="report", help="folder for the page, figures and tables")
    parser.add_argument("--no-page", action="store_true", help="only print the table")
    parser.add_argument("--title", default="Image classifiers compared", help="of the page")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure, print, and write the page; returns 0. Raises UserError on bad input."""
    if not 0 < args.fit_share <= 1:
        raise UserError(f"--fit-share: {args.fit_share} is out of range: give a number in (0, 1]")
    groups = checkpoints(args)
    everything = [checkpoint for found in groups.values() for checkpoint in found]
    for checkpoint in tqdm(everything, desc="checkpoints", unit="checkpoint", leave=False, delay=2):
        ensure_predictions(checkpoint, (args.subset, args.fit_subset), args.data, args.cpu)
    subsets = (args.subset, args.fit_subset, args.fit_share)
    systems = {name: [classification.seed_of(c, *subsets) for c in found] for name, found in groups.items()}
    classification.check_same_images(systems)
    for note in dict.fromkeys(note for seeds in systems.values() for seed in seeds for note in seed.warnings):
        print(f"labo classify-report: warning: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps(classification.as_json(systems), indent=1, ensure_ascii=False))
    else:
        print(classification.table(systems).as_tsv())
    if not args.no_page:
        folders = report.named_folders(args.runs)
        _write_page(systems, report.seeds_together(folders, folders), args)
    return 0


def _write_page(systems, folders, args):
    out = Path(args.out)
    first = next(iter(systems.values()))[0].test
    text = f"{len(first)} images of {len(first.classes)} classes ({args.subset} of {Path(first.data).name or '.'}). "
    text += f"Temperatures are fitted to {100 * args.fit_share:g}% of the {args.fit_subset} images."
    try:
        out.mkdir(parents=True, exist_ok=True)
        builders = tqdm(classification.SECTIONS, desc="report", unit="section", leave=False, disable=None)
        sections = [build(systems, out) for build in builders]
        sections += filter(None, [class_training.training(folders, systems, out)])
        with write_aside(out / "report.html") as stream:
            stream.write(page(args.title, text, sections))
    except OSError as error:
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
    print(out / "report.html", file=sys.stderr)


def checkpoints(args):
    """{name of a system: [checkpoint of each seed]} of the arguments RUN and --system. Raises UserError."""
    if not args.runs and not args.system:
        raise UserError("RUN: none given: name run folders, or checkpoints with --system NAME=CKPT")
    folders = report.named_folders(args.runs)
    names = {name: predictions.checkpoint_of(folder) for name, folder in folders.items()}
    groups = report.seeds_together(names, folders)
    for argument in args.system:
        name, equals, file = argument.partition("=")
        if not (name and equals and file) or not name.isprintable() or name.startswith("#"):
            raise UserError(f"--system: {argument}: must read NAME=CKPT, the name printable and not beginning with '#'")
        if name in folders:
            raise UserError(f"--system: {name}: is the name of a RUN too: choose another")
        if Path(file) in groups.get(name, []):
            raise UserError(f"--system: {argument}: given twice: each training seed has a checkpoint of its own")
        groups.setdefault(name, []).append(Path(file))
    return groups


def ensure_predictions(checkpoint, subsets, data=None, cpu=False):
    """Run the model where its predictions are not there, or are of other bytes or other data. Raises UserError."""
    missing = [subset for subset in dict.fromkeys(subsets) if not _is_current(checkpoint, subset, data)]
    if not missing:
        return
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file, and no {missing[0]} predictions beside it: give a checkpoint")
    try:
        from . import register
        from .vision.predict import predict
    except ImportError as error:
        raise UserError(f"{checkpoint}: {error}: running a model needs fairseq and torch: install them") from error
    register()
    try:
        predict(checkpoint, missing, data, cpu)
    except OSError as error:
        raise UserError(f"{error.filename or checkpoint.parent}: {error.strerror}: must be writable") from error


def _is_current(checkpoint, subset, data):
    path = predictions.path_beside(checkpoint, subset)
    if not path.exists():
        return False
    found = predictions.read(path)
    same_model = not checkpoint.exists() or sha256(checkpoint) == found.checkpoint
    return same_model and data in (None, found.data)
