"""The images of an experiment, in its folder: linked from where they are, or downloaded once, before all trainings.

  python -m labo_fairseq.experiment.images cifar10 data/cifar10
  python -m labo_fairseq.experiment.images cifar10 data/cifar10 --from DIR

DIR holds the data set as `--task torchvision_classification` wants it; of several sets each in DIR/NAME.
"""

import argparse
import sys
from pathlib import Path

from ..errors import UserError


def main(argv=None):
    """Returns the exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("name", help="as for --image-dataset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR")
    args = parser.parse_args(argv)
    try:
        link(args.name, args.folder, args.source) if args.source else download(args.name, args.folder)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def link(name, folder, source):
    """Make `folder` a link to SOURCE/NAME, or to SOURCE itself. Raises UserError where neither is a folder."""
    target = source / name if (source / name).is_dir() else source
    if not target.is_dir():
        raise UserError(f"--raw-dir: {source}: no such folder: name the one that holds {name}")
    if folder.is_symlink():
        folder.unlink()  # the data may have moved since
    if not folder.exists():
        folder.symlink_to(target.resolve(), target_is_directory=True)


def download(name, folder):
    """Fetch what is missing of a data set. Raises UserError where it has no public address."""
    from ..vision.sources import Splits

    folder.mkdir(parents=True, exist_ok=True)
    splits = Splits(name, folder, True, 0.1, 1, "auto")
    for part in ("train", "test"):
        splits.images(part)


if __name__ == "__main__":
    sys.exit(main())
