"""Score translations by sacreBLEU, with its signatures: one system, or several side by side.

  labo score --reference raw/test.en --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt
  labo score --reference raw/test.en --system a=a.txt --system b=b.txt --metrics bleu ter --significance both
  labo score --reference raw/test.en --system ls=seed1/gen.txt --system ls=seed2/gen.txt --system labo=...
  labo score --tokenized --system labo=labo/generate-test.txt
  labo score -t wmt14 -l en-de --system labo=labo/generate-test.txt

A system is a text file, one sentence per line, or the output of fairseq-generate (told by its content, plain or gzip).
Of such a log the D- lines are scored: they are detokenized if generation ran with --tokenizer moses. With --tokenized
the tokenized BLEU is given instead (fairseq's BLEU4), of the H- lines with subwords joined, against a tokenized
--reference or, without one, the log's own T- lines; --compound-split adds the BLEU of Vaswani et al. (2017), which
splits compounds at hyphens too. Both compare systems of one tokenization only.

Several references are several files, or one file with tabs between them (sacrebleu's --num-refs). --tokenize chooses
how BLEU splits words, as sacrebleu does; --language chooses it by the target language: Chinese, Japanese, Korean, Thai,
Lao, Khmer, Burmese and Tibetan are not split at spaces.

The same NAME again is another training seed of that system: the table then shows mean and standard deviation, and
Welch's t-test of the scores of the seeds against those of the first system. --significance tests single translations
against those of the first system: "±" is half of a 95% interval, of the score or of the difference.

Prints a TSV table, then the signatures as lines that begin with "#".
"""

import json
from dataclasses import asdict

from ..analysis import bleu, systems
from ..analysis.references import of_test_set
from ..analysis.score import score_table
from ..errors import UserError
from ..measures import significance
from .arguments import (
    add_reference_arguments,
    add_significance_arguments,
    check_significance_arguments,
    references_of,
)

DEFAULT_METRICS = ("bleu", "chrf2")


def add_arguments(parser):
    """Declare the arguments of `labo score`."""
    add_reference_arguments(parser, required=False, what="reference text; optional with --tokenized and logs")
    parser.add_argument("-t", "--test-set", metavar="NAME", help="sacreBLEU's references, such as wmt14")
    parser.add_argument("-l", "--language-pair", metavar="XX-YY", help="of --test-set, such as en-de")
    parser.add_argument(
        "--system",
        metavar="NAME=FILE",
        action="append",
        required=True,
        help="translations to score; can be repeated, the first is the baseline",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=bleu.DETOKENIZED,
        metavar="METRIC",
        help=f"of detokenized text: {', '.join(bleu.DETOKENIZED)} (default: {' '.join(DEFAULT_METRICS)})",
    )
    parser.add_argument("--tokenized", action="store_true", help="compute tokenized BLEU only")
    parser.add_argument("--compound-split", action="store_true", help="tokenized BLEU, and with compounds split")
    parser.add_argument("--lowercase", action="store_true", help="lower-case both sides first")
    add_significance_arguments(parser, default="none")
    parser.add_argument("--width", type=int, default=2, metavar="N", help="decimals of the table, as sacrebleu -w")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded scores instead of the table")


def run(args):
    """Score the systems; returns 0. Raises UserError on bad input."""
    if args.width < 0:
        raise UserError(f"--width: {args.width}: must be 0 or more")
    check_significance_arguments(args)
    names = list(dict.fromkeys(args.metrics or DEFAULT_METRICS))
    if args.compound_split or args.tokenized:
        names = list(bleu.TOKENIZED) if args.compound_split else ["tokenized"]
    tokenized = names[0] in bleu.TOKENIZED
    _take_test_set(args)
    if args.reference is None and not tokenized:
        raise UserError("--reference: missing: give the detokenized reference text")
    references, tokenize = references_of(args, tokenized)
    table = score_table(
        systems.read_systems(args.system, repeated=True),
        names,
        references,
        args.lowercase,
        significance.TESTS[args.significance],
        {"samples": args.samples, "trials": args.trials, "seed": args.seed},
        tokenize,
    )
    print(_as_json(table, args.reference) if args.json else table.as_tsv(args.width))
    return 0


def _take_test_set(args):
    """Put sacreBLEU's references where --reference would be, and the target language where --language would be."""
    if (args.test_set is None) != (args.language_pair is None):
        raise UserError("--test-set, --language-pair: one needs the other, as in -t wmt14 -l en-de")
    if args.test_set is None:
        return
    if args.reference is not None:
        raise UserError("--test-set: has references of its own: leave out --reference")
    args.reference = of_test_set(args.test_set, args.language_pair)
    args.language = args.language or args.language_pair.rpartition("-")[2]


def _as_json(table, reference):
    rows = []
    for i, (name, files) in enumerate(table.files.items()):
        scores = []
        for heading, entry in table.scores.items():
            seeds = entry["seeds"][i]
            score = {"metric": heading, "value": seeds.mean, "signature": entry["signature"]}
            if table.has_seeds:
                score["seeds"] = asdict(seeds)
            if entry["tests"]:
                score["significance"] = asdict(entry["tests"][i])
            scores.append(score)
        rows.append({"system": name, "file": files[0], "files": files, "scores": scores})
    files = reference[0] if reference and len(reference) == 1 else reference
    return json.dumps({"reference": files, "systems": rows, "notes": table.notes}, indent=2, ensure_ascii=False)
