"""Print the folder that fairseq takes as --user-dir, wherever this package is installed.

  fairseq-train data/bin --user-dir "$(labo user-dir)" --criterion labo --arch transformer --max-tokens 4096
  fairseq-hydra-train common.user_dir="$(labo user-dir)" criterion=labo task=translation task.data=data/bin

With the bridge switched on, as it is after an ordinary installation, the name alone does: --user-dir labo_fairseq.
"""

from ..files import PACKAGE


def add_arguments(parser):
    """`labo user-dir` has no arguments."""


def run(args):
    """Print the folder; returns 0."""
    print(PACKAGE)
    return 0
