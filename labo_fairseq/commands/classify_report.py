"""Compare image classifiers: accuracy, top-5, ECE and NLL before and after temperature scaling, risk, confusion.

  labo classify-report runs/cifar10/label_smoothing/seed1 runs/cifar10/labo/seed1 --out report
  labo classify-report --system ls=ls/checkpoint_best.pt --system labo=labo/checkpoint_best.pt --data DIR --json

RUN is the folder of a training (its checkpoints/checkpoint_best.pt or checkpoint_best.pt is measured); runs whose
commands differ in nothing but the seed and the places of files are training seeds of one system. --system names a
checkpoint; a name that is given again adds a seed. The first system is what the others are compared with.

Each checkpoint is run over --subset and --fit-subset once; its logits are kept beside it (checkpoint_best.test.npz) and
read from there the next time, also where the checkpoint itself is gone. The temperature is fitted to --fit-subset;
`--fit-subset train --fit-share 0.1` takes a tenth of the training images instead, as Guo (2020) does.

Prints the table, and writes OUT/report.html with all figures and tables, also as PNG and TSV, and with pictures of the
surest mistakes. The first measuring of a checkpoint, and the pictures, need torchvision; `labo doctor` says how to
install it.
"""

import json
import sys
from pathlib import Path

from ..analysis import classification
from ..errors import UserError
from ..figures import image_sections, image_training
from ..figures.page import write_page
from ..progress import progress
from ..records.run_folder import named_folders, seeds_together
from ..vision.stored_predictions import ensure_predictions
from .arguments import checkpoints_of


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
    parser.add_argument("--no-pictures", action="store_true", help="without the images of the surest mistakes")
    parser.add_argument("--title", default="Image classifiers compared", help="title of the page")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure, print, and write the page; returns 0. Raises UserError on bad input."""
    if not 0 < args.fit_share <= 1:
        raise UserError(f"--fit-share: {args.fit_share} is out of range: give a number in (0, 1]")
    groups = checkpoints_of(args)
    everything = [checkpoint for paths in groups.values() for checkpoint in paths]
    for checkpoint in progress(everything, "checkpoints", "checkpoint"):
        ensure_predictions(checkpoint, (args.subset, args.fit_subset), args.data, args.cpu)
    subsets = (args.subset, args.fit_subset, args.fit_share)
    systems = {name: [classification.seed_of(c, *subsets) for c in paths] for name, paths in groups.items()}
    classification.check_same_images(systems)
    for note in dict.fromkeys(note for seeds in systems.values() for seed in seeds for note in seed.warnings):
        print(f"labo classify-report: warning: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps(classification.as_json(systems), indent=1, ensure_ascii=False))
    else:
        print(classification.table(systems).as_tsv())
    if not args.no_page:
        folders = named_folders(args.runs)
        pictures = {} if args.no_pictures else _pictures(groups, systems)
        _write_page(systems, seeds_together(folders, folders), pictures, args)
    return 0


def _pictures(groups, systems):
    """{name: {index: PNG bytes}} of the surest mistakes of each system's first seed; a warning where there are none."""
    found = {}
    for name, (checkpoint, *_) in groups.items():
        test = systems[name][0].test
        indices = [index for index, *_ in classification.worst_mistakes(test)]
        try:
            from ..vision.thumbnails import thumbnails

            found[name] = thumbnails(checkpoint, test, indices)
        except (UserError, ImportError) as error:  # without fairseq and torch, too, the page is worth having
            print(f"labo classify-report: note: no pictures of {name}: {error}", file=sys.stderr)
    return found


def _write_page(systems, folders, pictures, args):
    out = Path(args.out)
    first = next(iter(systems.values()))[0].test
    text = f"{len(first)} images of {len(first.classes)} classes ({args.subset} of {Path(first.data).name or '.'}). "
    text += f"Temperatures are fitted to {100 * args.fit_share:g}% of the {args.fit_subset} images."
    try:
        out.mkdir(parents=True, exist_ok=True)
        builders = progress(image_sections.SECTIONS, "report", "section")
        sections = [build(systems, out) for build in builders]
        sections += filter(None, [image_training.training(folders, systems, out)])
        sections += filter(None, [image_sections.mistakes(systems, pictures)])
        line = write_page(args.title, text, sections, out)
    except OSError as error:
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
    print(line, file=sys.stderr)
