"""Score translations by sacreBLEU, with its signatures: one system, or several side by side.

  labo score --reference raw/test.en --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt
  labo score --reference raw/test.en --system a=a.txt --system b=b.txt --metrics bleu ter --significance both
  labo score --reference raw/test.en --system ls=seed1/gen.txt --system ls=seed2/gen.txt --system labo=...
  labo score --reference raw/test.en --source raw/test.de --system labo=... --metrics bleu,chrf,ter,comet
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

comet (the package unbabel-comet) also reads the source: of --source, or the S- lines of the first log. It is
shown times 100; a corpus score is the mean of its sentences, and the tests are those of the other metrics.

Prints a TSV table, then the signatures as lines that begin with "#".
"""

import argparse
import functools
import itertools
import json
from dataclasses import asdict

from ..analysis import bleu, comet, systems
from ..analysis.references import of_test_set
from ..analysis.score import score_table
from ..errors import UserError
from ..measures import significance
from ..records.messages import warn
from .arguments import (
    add_reference_arguments,
    add_significance_arguments,
    check_significance_arguments,
    references_of,
)

DEFAULT_METRICS = ("bleu", "chrf2")
ALL_METRICS = (*bleu.DETOKENIZED, "comet")
ALIASES = {"chrf": "chrf2"}


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
        type=_metrics,
        metavar="METRIC",
        help=f"of detokenized text, with spaces or commas between: {', '.join(ALL_METRICS)} "
        f"(default: {' '.join(DEFAULT_METRICS)})",
    )
    parser.add_argument("--source", metavar="FILE", help="source text, one sentence per line, for comet")
    parser.add_argument(
        "--comet-model", metavar="NAME", default=comet.MODEL, help="checkpoint file, or name on the Hugging Face hub"
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
    names = list(dict.fromkeys(itertools.chain(*args.metrics) if args.metrics else DEFAULT_METRICS))
    if args.compound_split or args.tokenized:
        names = list(bleu.TOKENIZED) if args.compound_split else ["tokenized"]
    tokenized = names[0] in bleu.TOKENIZED
    _take_test_set(args)
    if args.reference is None and not tokenized:
        raise UserError("--reference: missing: give the detokenized reference text")
    references, tokenize = references_of(args, tokenized)
    named = systems.read_systems(args.system, repeated=True)
    table = score_table(
        named,
        names,
        references,
        args.lowercase,
        significance.TESTS[args.significance],
        {"samples": args.samples, "trials": args.trials, "seed": args.seed},
        tokenize,
        {"comet": _comet(args, named)} if "comet" in names else None,
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


def _metrics(text):
    """Names of metrics with commas between."""
    names = [ALIASES.get(name, name) for name in text.split(",")]
    for name in names:
        if name not in ALL_METRICS:
            raise argparse.ArgumentTypeError(f"{name!r}: unknown: choose from {', '.join(ALL_METRICS)}")
    return names


def _comet(args, named):
    """Function of References and lowercase to a comet.Comet."""
    sources = _sources(args.source, next(iter(named.values()))[0])
    return functools.partial(comet.Comet, comet.Model(args.comet_model), sources)


def _sources(file, system):
    if file is not None:
        return systems.read_lines(file, "the source text")
    lines = [sentence.source for sentence in system.sentences or ()]
    if not lines or None in lines:
        raise UserError("--source: missing: comet needs the source text: give it, or a log with S- lines first")
    lines = bleu.remove_subwords(lines)
    if bleu.looks_tokenized(lines):
        warn(f"{system.file}: its S- lines look tokenized: comet wants plain text: give it with --source")
    return lines


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
