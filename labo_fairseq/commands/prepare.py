"""See data_prep/cli.py, which is installed as labo_fairseq.data_prep."""

from ..data_prep.cli import __doc__, add_arguments, run

__all__ = ["__doc__", "add_arguments", "run"]
