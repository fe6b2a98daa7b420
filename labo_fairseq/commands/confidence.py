"""Show the probabilities of the tokens that beam search chose: Figure 2 of LABO, with numbers.

  labo confidence --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt
  labo confidence --system labo=labo/generate-test.txt --dict bin/dict.de.txt --source bpe/test.de --figure conf.png

Reads the P- lines of generate logs: each token of the best translation and the end of the sentence, as the model scored
them during the search (not forced to the reference). With --dict and --source also for the splits of `labo splits`.

"surprisal" is the mean of -log2 p of the chosen tokens, in bits: 0 where the model is always certain. "entropy" tells
how evenly the probabilities are spread: it is 0 bits where all of them fall into one bin of the histogram, and log2 of
the number of bins where each bin holds as many. (It is not the entropy of the model's predictions, because P- lines
hold the chosen tokens only.) "overlap" is the area that two histograms share, 1 where they are equal.

Where the logs have C- lines (--sentence-confidence of the task calibrated_translation) and --reference is given, also
the BLEU of the most confident sentences, and Kendall's and Pearson's correlation of the confidence with sentence chrF2.

Prints TSV tables, each under a line that begins with "#".
"""

import json
from dataclasses import asdict

from ..analysis import bleu, systems
from ..analysis.confidence import (
    BINS,
    chrf_correlations,
    histograms,
    risk_coverage,
    table_of_correlations,
    table_of_coverage,
    table_of_histograms,
    table_of_summary,
    tables_of_overlap,
    token_probabilities,
)
from ..errors import UserError
from ..records.tables import print_tables
from .arguments import add_reference_arguments, add_split_arguments, check_split_arguments, references_of, splits_of


def add_arguments(parser):
    """Declare the arguments of `labo confidence`."""
    parser.add_argument(
        "--system", metavar="NAME=FILE", action="append", required=True, help="generate log; can be repeated"
    )
    parser.add_argument("--bins", type=int, default=BINS, metavar="N", help="bins between 0 and 1")
    add_reference_arguments(parser, required=False, what="reference text, for BLEU by sentence confidence")
    parser.add_argument("--lowercase", action="store_true", help="lower-case both sides for BLEU")
    add_split_arguments(parser, required=False)
    parser.add_argument("--figure", metavar="FILE", help="also draw the histograms (.png, .pdf, .svg)")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of the tables")


def run(args):
    """Print the tables; returns 0. Raises UserError on bad input."""
    if args.bins < 2:
        raise UserError(f"--bins: {args.bins}: must be 2 or more")
    named = {name: group[0] for name, group in systems.read_systems(args.system).items()}
    all_histograms = histograms(
        {name: token_probabilities(s) for name, s in named.items()}, _splits(args, named), args.bins
    )
    coverage = correlations = None
    if args.reference is not None:
        references, tokenize = references_of(args)
        coverage = {name: risk_coverage(s, references, args.lowercase, tokenize) for name, s in named.items()}
        if not any(coverage.values()):
            raise UserError("--reference: no log has C- lines: generate with --sentence-confidence, or leave it out")
        correlations = {name: chrf_correlations(s, references, args.lowercase) for name, s in named.items()}
    if args.figure:
        from ..figures import style, translation

        style.save(translation.confidence_histograms(all_histograms), args.figure)
    if args.json:
        print(_as_json(all_histograms, coverage, correlations))
    else:
        tables = [
            table_of_summary(all_histograms),
            table_of_histograms(all_histograms),
            *tables_of_overlap(all_histograms),
        ]
        if coverage:
            tables += [table_of_coverage(coverage), table_of_correlations(correlations)]
        print_tables(tables)
    return 0


def _splits(args, named):
    file = args.source if args.by == "source" else args.target
    if args.dict is None and file is None:
        return []
    if args.dict is None or file is None:
        raise UserError(f"--dict and --{args.by}: one is missing: splits by frequency need both")
    check_split_arguments(args)
    lines = systems.read_lines(file, "the text in subwords")
    for system in named.values():
        bleu.check_counts(system.sentences or system.lines, lines, system.file, file)
    return splits_of(lines, file, args)


def _as_json(all_histograms, coverage, correlations):
    rows = [{**asdict(h), "tokens": h.tokens, "entropy": h.entropy, "shares": h.shares} for h in all_histograms]
    found = correlations and {
        system: numbers
        and {
            name: {kind: _without_nan(asdict(one)) for kind, one in of_number.items()}
            for name, of_number in numbers.items()
        }
        for system, numbers in correlations.items()
    }
    content = {"histograms": rows, "coverage": coverage, "correlations": found}
    return json.dumps(content, indent=2, ensure_ascii=False)


def _without_nan(record):
    return {name: None if value != value else value for name, value in record.items()}
