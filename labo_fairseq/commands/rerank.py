"""Rerank n-best lists by a weighted sum of features; the weights are tuned on validation data.

LOG is the output of fairseq-generate (or labo translate) with --nbest. Its own features are

  score       score of the H- line: the decoder's own ranking
  logprob     sum of the P- line (calibrated where the search was)
  length      tokens, the end of the sentence included
  least       least token log-probability
  confidence  log-odds of the C- line (--sentence-confidence)

and --feature NAME=FILE adds others, one number for each hypothesis in the order of LOG: a text file with a number in
each line, or the output of fairseq-generate --score-reference (its P- lines are summed): of another checkpoint, a
calibrated task, the reverse direction. --write-candidates DIR writes what these have to score, so that no system need
be loaded beside another:

  labo rerank valid.txt --write-candidates cand --languages en-de
  fairseq-preprocess -s en -t de --testpref cand/candidates --srcdict bin/dict.en.txt --tgtdict bin/dict.de.txt \\
      --destdir cand/bin
  fairseq-generate cand/bin -s en -t de --path other.pt --score-reference --max-tokens 8000 > valid.other.txt

(the reverse direction: -s de -t en, its own dictionaries and checkpoint). Then, on validation and on test data:

  labo rerank valid.txt --feature other=valid.other.txt --tune --reference raw/valid.de --weights weights.json
  labo rerank test.txt --feature other=test.other.txt --weights weights.json > reranked.txt
  labo score --reference raw/test.de --system beam=test.txt --system reranked=reranked.txt --significance both

--tune finds the weights of the highest corpus BLEU or chrF by minimum error rate training (Och 2003) and writes them to
--weights; it prints them, the score, and the gain on the halves of the sentences that the weights were not tuned on.
Without --tune the hypotheses are printed in their new order, in fairseq's format; the score of an H- line is then the
base-2 logarithm of the hypothesis's share in its list. --tokenizer moses detokenizes the D- lines, where generation did
not: with --remove-bpe and --tokenizer LOG has no subwords, which other systems need to score its hypotheses.
"""

import dataclasses
import json
import re
import sys
from pathlib import Path

from ..analysis import bleu, systems
from ..analysis.references import References
from ..decoding import reranking
from ..errors import UserError
from ..files import result_folder, write_aside
from ..records.generate_log import log_lines, read_generate_log, shows_subwords
from ..records.tables import table_of
from .arguments import add_reference_arguments, references_of
from .numbers import count, seed

METRICS = {"bleu": "bleu", "chrf": "chrf2"}


def add_arguments(parser):
    """Declare the arguments of `labo rerank`."""
    parser.add_argument("log", metavar="LOG", help="n-best lists: output of fairseq-generate --nbest, plain or gzip")
    parser.add_argument("--weights", metavar="FILE", help="weights, .json: to write with --tune, else to read")
    parser.add_argument(
        "--feature", action="append", default=[], metavar="NAME=FILE", help="a score for each hypothesis; repeatable"
    )
    parser.add_argument(
        "--features", nargs="*", metavar="NAME",
        help=f"with --tune: features of LOG itself, of {', '.join(reranking.FEATURES)} (default: all that it has)",
    )  # fmt: skip
    parser.add_argument("--nbest", type=count, default=1, metavar="N", help="hypotheses to print of each sentence")
    parser.add_argument("--tokenizer", choices=["moses"], help="detokenize the D- lines; the language: --language")
    tuning = parser.add_argument_group("tuning")
    tuning.add_argument("--tune", action="store_true", help="tune the weights to --reference and write them")
    tuning.add_argument("--metric", choices=list(METRICS), default="bleu", help="what to tune to")
    add_reference_arguments(tuning, required=False, what="with --tune: reference text")
    tuning.add_argument("--lowercase", action="store_true", help="lower-case both sides first")
    tuning.add_argument("--restarts", type=count, default=5, metavar="N", help="random points to start from")
    tuning.add_argument("--seed", type=seed, default=1, help="seed of these and of the halves")
    tuning.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")
    candidates = parser.add_argument_group("candidates for other systems")
    candidates.add_argument("--write-candidates", metavar="DIR", help="write DIR/candidates.XX and .YY, and stop")
    candidates.add_argument("--languages", metavar="XX-YY", help="source and target, the ends of these names")


def run(args):
    """Tune, rerank or write candidates; returns 0. Raises UserError on bad input."""
    if args.write_candidates:
        return _write_candidates(args)
    if not args.weights:
        raise UserError("--weights: missing: name the file to read, or with --tune to write")
    sentences = read_generate_log(args.log)
    others = _others(args.feature)
    if args.tune:
        return _tune(args, sentences, others)
    if args.features is not None:
        raise UserError("--features: is for --tune: the file of weights names those it needs")
    weights = reranking.load(args.weights).weights
    lists = _lists_for(weights, args, sentences, others)
    for sentence in reranking.reranked(_with_texts(args, sentences), lists, _in_order(weights, lists)):
        best = dataclasses.replace(sentence, hypotheses=sentence.hypotheses[: args.nbest])
        sys.stdout.write(log_lines(best))
    return 0


def _others(arguments):
    """{name: numbers} of --feature."""
    found = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not (name and equals and file):
            raise UserError(f"--feature: {argument}: must read NAME=FILE")
        if name in found:
            raise UserError(f"--feature: {name}: given twice: choose different names")
        found[name] = reranking.read_feature(file)
    return found


def _lists_for(weights, args, sentences, others):
    missing = [name for name in weights if name not in others and name not in reranking.FEATURES]
    if missing:
        raise UserError(f"--feature {missing[0]}=FILE: missing: {args.weights} has a weight for it")
    spare = [name for name in others if name not in weights]
    if spare:
        raise UserError(f"--feature {spare[0]}: {args.weights} has no weight for it: leave it out, or tune with it")
    own = [name for name in weights if name not in others]
    lists = reranking.lists_of(sentences, args.log, own, others, all_if_none=False)
    return lists


def _in_order(weights, lists):
    import numpy as np

    return np.array([weights[name] for name in lists.names])


def _with_texts(args, sentences):
    """The Sentences with detokenized D- lines, where that is asked for."""
    if args.tokenizer is None:
        return sentences
    texts = iter(_texts(args, sentences))
    return [
        dataclasses.replace(
            sentence,
            hypotheses=tuple(dataclasses.replace(hypothesis, text=next(texts)) for hypothesis in sentence.hypotheses),
        )
        for sentence in sentences
    ]


def _texts(args, sentences):
    """The text of each candidate, subwords joined, detokenized where that is asked for."""
    lines = [
        " ".join(hypothesis.tokens) if hypothesis.text is None else hypothesis.text
        for sentence in sentences
        for hypothesis in sentence.hypotheses
    ]
    lines = bleu.remove_subwords(lines)
    return systems.detokenized(lines, args.language or "en") if args.tokenizer else lines


def _tune(args, sentences, others):
    references, tokenize = references_of(args)
    if references is None:
        raise UserError("--reference: missing: --tune needs the reference text")
    bleu.check_counts(sentences, references.first, args.log, references.name)
    lists = reranking.lists_of(sentences, args.log, args.features or (), others, all_if_none=args.features is None)
    texts = _texts(args, sentences)
    if bleu.looks_tokenized(texts) and not references.detokenized_as:
        raise UserError(f"{args.log}: looks tokenized, and the reference is not: add --tokenizer moses --language XX")
    metric = _repeated(references, sentences).metric(METRICS[args.metric], args.lowercase, tokenize)
    found = reranking.tune(lists, metric.count(texts), metric, args.restarts, args.seed)
    held = found.held_out
    weights = dict(zip(lists.names, found.weights.tolist(), strict=True))
    measures = {
        "metric": metric.heading,
        "signature": metric.signature,
        "before": found.before,
        "after": found.score,
        "held_out_difference": held.difference,
        "held_out_difference_interval": held.difference_interval,
        "held_out_p_bootstrap": held.p_bootstrap,
    }
    tuned_on = {
        "log": Path(args.log).name,
        "sentences": len(sentences),
        "candidates": len(texts),
        "seed": args.seed,
        "restarts": args.restarts,
        **measures,
    }
    reranking.save(reranking.Weights(weights, tuned_on), args.weights)
    if args.json:
        print(json.dumps({"weights": weights, "tuned_on": tuned_on}, indent=1))
        return 0
    notes = [
        f"{metric.heading}: {found.before:.2f} as decoded, {found.score:.2f} reranked ({metric.signature})",
        f"gain on sentences that the weights were not tuned on: {held.difference:+.2f} ± "
        f"{held.difference_interval:.2f} (95%), paired bootstrap p {held.p_bootstrap:.4f}",
    ]
    rows = [{"feature": name, "weight": value} for name, value in weights.items()]
    print(table_of("", rows, ".6g", notes).as_tsv())
    return 0


def _repeated(references, sentences):
    """The References once for each candidate of their sentence."""
    times = [len(sentence.hypotheses) for sentence in sentences]
    texts = tuple(
        [line for line, repeats in zip(text, times, strict=True) for _ in range(repeats)] for text in references.texts
    )
    return References(references.files, texts, references.detokenized_as)


def _write_candidates(args):
    """Source and hypothesis of each candidate, in subwords, line by line in the order of the log."""
    match = re.fullmatch(r"(\w+)-(\w+)", args.languages or "")
    if not match or match[1] == match[2]:
        raise UserError("--languages: give source and target, such as en-de, with --write-candidates")
    sentences = read_generate_log(args.log)
    if sentences[0].source is None:
        raise UserError(f"{args.log}: has no S- lines: give the output of fairseq-generate as it is")
    folder = result_folder(args.write_candidates, "--write-candidates")
    if not shows_subwords(sentences):
        print(
            f"labo rerank: warning: {args.log}: shows no subwords: if the models have some, generate it without "
            "--remove-bpe and --tokenizer",
            file=sys.stderr,
        )
    sides = (
        (match[1], lambda sentence, hypothesis: sentence.source),
        (match[2], lambda sentence, hypothesis: " ".join(hypothesis.tokens)),
    )
    for language, line_of in sides:
        with write_aside(folder / f"candidates.{language}") as stream:
            for sentence in sentences:
                for hypothesis in sentence.hypotheses:
                    stream.write(line_of(sentence, hypothesis) + "\n")
    total = sum(len(sentence.hypotheses) for sentence in sentences)
    print(f"{total} candidates of {len(sentences)} sentences in {folder}/candidates.{{{match[1]},{match[2]}}}")
    return 0
