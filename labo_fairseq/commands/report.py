"""Write one HTML page about systems on one test set: curves, scores, frequency, calibration, and every sentence.

  labo report runs/multi30k.en-de.u2500/label_smoothed_cross_entropy runs/multi30k.en-de.u2500/labo --out report
  labo report --system ls=ls.gen.txt --system labo=labo.gen.txt --data data/en-de --log labo=labo.log
  labo report --system beam=beam5.txt --system mbr=mbr.txt --mbr mbr=mbr.tsv --mbr mbr=mbr.json

RUN is the folder of a training, as scripts/quickstart.sh writes it or an ordinary --save-dir (see `labo table --help`);
--system names the output of fairseq-generate (or of `labo translate`, `labo mbr`, or plain lines) of one system. Any
number of either; the first is the baseline. Runs whose commands differ in nothing but the seed and the places of files,
and a --system name given again, are training seeds of one system: the scores are then given as mean and standard
deviation over the seeds, and everything else for the first seed. A run that is not translated yet shows its curve only.

The test set is that of the prepared corpus (--data, or the one that the runs name), else --reference and --source, else
the T- and S- lines of the logs. Frequency splits, and tokens of logs without subwords, need a prepared corpus.

--calibration NAME=DIR, the folder of `labo calibrate`, adds reliability diagrams and sweeps, and shades the tokens by
their calibrated probabilities; a run with such a folder inside needs no flag. Give it for translations that were
decoded without --calibration. --mbr adds what `labo mbr` has tried and chosen. Image classifiers are shown where
`labo classify-report` has measured them.

Writes OUT/report.html, which is complete by itself, and the same figures and tables as OUT/*.png and OUT/*.tsv. Prints
the page's path and size.
"""

from ..analysis import bleu, systems
from ..analysis.frequency import USUALLY_UNKNOWN
from ..errors import UserError
from ..figures.report import Settings, write_report
from ..records.mbr import read_mbr
from .arguments import (
    add_reference_arguments,
    add_run_arguments,
    add_significance_arguments,
    check_significance_arguments,
    named_paths,
    references_of,
    runs_of,
)


def add_arguments(parser):
    """Declare the arguments of `labo report`."""
    add_run_arguments(parser)
    parser.add_argument(
        "--calibration", metavar="NAME=DIR", action="append", default=[],
        help="folder of `labo calibrate` for a system; can be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--mbr", metavar="NAME=FILE", action="append", default=[],
        help="what `labo mbr --report` or `--fit-temperature` wrote; can be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="DIR", default="report", help="folder for the page, the figures and the tables"
    )
    parser.add_argument("--title", default="Translation systems compared", help="title of the page")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="sentences won and lost per system")
    parser.add_argument(
        "--size", type=int, metavar="N", help="sentences per frequency split (default: three equal parts)"
    )
    parser.add_argument(
        "--max-unknown", type=float, default=USUALLY_UNKNOWN, metavar="SHARE",
        help="of source tokens not in the dictionary; a warning says where they are more",
    )  # fmt: skip
    group = parser.add_argument_group("without a prepared corpus")
    add_reference_arguments(group, required=False)
    group.add_argument("--source", metavar="FILE", help="source text, one sentence per line")
    group.add_argument("--lowercase", action="store_true", help="lower-case both sides first")
    add_significance_arguments(parser, default="both")


def run(args):
    """Write the report; returns 0. Raises UserError on bad input."""
    check_significance_arguments(args)
    for name, value, least in (("examples", args.examples, 0), ("size", args.size, 1)):
        if value is not None and value < least:
            raise UserError(f"--{name}: {value}: must be {least} or more")
    if not 0 <= args.max_unknown <= 1:
        raise UserError(f"--max-unknown: {args.max_unknown}: must be a share, between 0 and 1")
    if args.data and args.reference:
        raise UserError("--reference: the corpus of --data has its own: leave out one of them")
    runs = runs_of(args)
    references, tokenize = references_of(args)
    sources = systems.read_lines(args.source, "the source text") if args.source else None
    if sources is not None and references is not None:
        bleu.check_counts(sources, references.first, args.source, references.name)
    chosen = Settings(
        args.out, args.title, args.examples, args.size, args.max_unknown,
        args.significance, args.samples, args.trials, args.seed,
        references, tokenize, sources, args.language, args.lowercase,
        [(name, read_mbr(file)) for name, file in named_paths("--mbr", args.mbr)], segmenter_of,
    )  # fmt: skip
    print(write_report(runs, chosen))
    return 0


def segmenter_of(corpus):
    """The function words → subwords of a prepared corpus; None where it holds no learnt subwords."""
    from ..data_prep.subword import FILES, Segmenter

    for kind, name in FILES.items():
        path = corpus.folder / "bpe" / name
        if path.exists():
            return Segmenter(kind, str(path)).build()
    return None
