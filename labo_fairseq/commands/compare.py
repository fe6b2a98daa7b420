"""What two systems do differently: n-grams, single sentences, lengths, copies and repetitions (as compare-mt does).

  labo compare --reference raw/test.en --source raw/test.de \
      --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt

"n-grams" lists those that one system gets right more often than the other, by (m1 + 1) / (m1 + m2 + 2) where m1 and m2
are the matches with the references (compare-mt's score: 0.5 where both are equal). "sentences" lists the largest
differences in sentence-level chrF2. An n-gram is "repeated" if it stands earlier in the same sentence, and "copied" if
it stands in the source sentence; the references are given beside the systems, because some of both is right. Words are
those that BLEU counts (see --tokenize). With several references, BLEU and chrF2 are of all of them; everything else is
compared with the first.

Prints TSV tables, each under a line that begins with "#".
"""

import json

from ..analysis import bleu, systems
from ..analysis.compare import lengths, ngram_tables, sentence_tables, summary
from ..errors import UserError
from ..records.tables import print_tables
from .arguments import add_reference_arguments, references_of


def add_arguments(parser):
    """Declare the arguments of `labo compare`."""
    add_reference_arguments(parser, required=True)
    parser.add_argument("--source", metavar="FILE", help="source text (not in subwords), for copied n-grams")
    parser.add_argument(
        "--system",
        metavar="NAME=FILE",
        action="append",
        required=True,
        help="translations; give two, the first is the baseline",
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="n-grams and sentences listed each way")
    parser.add_argument("--tokenized", action="store_true", help="compare tokenized text, with a tokenized --reference")
    parser.add_argument("--lowercase", action="store_true", help="lower-case everything first")
    parser.add_argument("--json", action="store_true", help="the tables as JSON")


def run(args):
    """Print the tables; returns 0. Raises UserError on bad input."""
    if args.top < 0:
        raise UserError(f"--top: {args.top}: must be 0 or more")
    named = {name: group[0] for name, group in systems.read_systems(args.system).items()}
    if len(named) != 2:
        raise UserError(f"--system: {len(named)} given: two systems are compared")
    references, tokenize = references_of(args, args.tokenized)
    first = (references.first, references.name, args.tokenized, references.detokenized_as)
    lines = {name: systems.texts(system, *first) for name, system in named.items()}
    metric = references.metric("tokenized" if args.tokenized else "bleu", args.lowercase, tokenize)
    wanted = [metric.words(line) for line in references.first]
    outputs = {name: [metric.words(line) for line in texts] for name, texts in lines.items()}
    sources = None
    if args.source is not None:
        sources = systems.read_lines(args.source, "the source text")
        bleu.check_counts(sources, references.first, args.source, references.name)
        sources = [metric.words(line) for line in bleu.remove_subwords(sources)]
    tables = [
        summary(metric, lines, outputs, wanted, sources),
        lengths(outputs, wanted),
        *ngram_tables(outputs, wanted, args.top),
        *sentence_tables(lines, references, args.top, args.lowercase),
    ]
    if references.more:
        tables[0].notes.append(
            f"{metric.heading} and chrF2 are of all {len(references.texts)} references; lengths, n-grams and the "
            f"sentences shown are compared with the first, {references.name}"
        )
    if args.json:
        shown = [{"title": t.title, "columns": t.rows[0], "rows": t.rows[1:], "notes": t.notes} for t in tables]
        print(json.dumps({"tables": shown}, indent=2, ensure_ascii=False))
    else:
        print_tables(tables)
    return 0
