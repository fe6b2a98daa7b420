"""One HTML page about some training runs on one corpus: curves, scores, frequency splits, confidence, examples.

  labo report runs/multi30k.en-de.u2500/label_smoothed_cross_entropy runs/multi30k.en-de.u2500/labo --out report

RUN is a folder as scripts/quickstart.sh writes it (see `labo table --help`); the first one is the baseline. Runs whose
commands differ in nothing but the seed and the places of files are training seeds of one system: the scores are then
given as mean and standard deviation over the seeds, and everything else for the first seed. A run that is not
translated yet shows its curve only. A reliability diagram is shown for runs with the reliability.tsv of `labo
calibrate`. Image classifiers are shown where `labo classify-report` has measured them.

Writes OUT/report.html, which is complete by itself, and the same figures and tables as OUT/*.png and OUT/*.tsv. Needs
matplotlib: pip install 'labo_fairseq[plot]'.
"""

from ..errors import UserError
from ..figures.report import Settings, write_report
from ..records.run_folder import named_folders
from .arguments import add_significance_arguments, check_significance_arguments


def add_arguments(parser):
    """Declare the arguments of `labo report`."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run; the first is the baseline")
    parser.add_argument(
        "--out", metavar="DIR", default="report", help="folder for the page, the figures and the tables"
    )
    parser.add_argument("--title", default="Translation systems compared", help="of the page")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="sentences won and lost per system")
    parser.add_argument(
        "--size", type=int, metavar="N", help="sentences per frequency split (default: three equal parts)"
    )
    add_significance_arguments(parser, default="both")


def run(args):
    """Write the report; returns 0. Raises UserError on bad input."""
    check_significance_arguments(args)
    for name, value, least in (("examples", args.examples, 0), ("size", args.size, 1)):
        if value is not None and value < least:
            raise UserError(f"--{name}: {value}: must be {least} or more")
    chosen = Settings(
        args.out, args.title, args.examples, args.size, args.significance, args.samples, args.trials, args.seed
    )
    print(write_report(named_folders(args.runs), chosen))
    return 0
