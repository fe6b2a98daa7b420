"""Turn a parallel corpus into fairseq binaries, ready for fairseq-train.

  labo prepare embedded --source de --target en
  labo prepare multi30k --source en --target de --raw-dir multi30k/data/task1/raw
  labo prepare iwslt17 --source de,fr --target en
  labo prepare files --source de --target en --train my/train --valid my/dev --test my/test
  labo prepare --verify data/multi30k.en-de

Corpora: embedded (synthetic German-English, made here from a grammar, nothing to download), files (your own text),
iwslt14, iwslt17, multi30k and wmt14 (downloaded, or read from --raw-dir). Each follows its published recipe; the
options below that say "recipe" change one thing in it. The folder --out gets raw/ (plain text, the references for
sacreBLEU), tok/ (tokenized), bpe/ (subwords, and their model), bin/ (for fairseq-train) and manifest.json. A second run
does nothing; an interrupted one goes on where it stopped. Training pairs that are removed are counted in the manifest;
test is never altered. Prints the path of bin/.
"""

import argparse
import dataclasses
import errno
import importlib
import itertools
import os
import re
from pathlib import Path

from ..errors import UserError
from ..files import sha256

# name on the command line: module with Corpus, RECIPE, LANGUAGES, PAIRS, OPTIONS and SYNTHETIC
CORPORA = {
    "embedded": ".embedded", "files": ".user_files", "iwslt14": ".iwslt14", "iwslt17": ".iwslt17",
    "multi30k": ".multi30k", "wmt14": ".wmt14",
}  # fmt: skip
_OF_SOME_CORPORA = ("raw_dir", "seed", "train", "valid", "test", "icml17", "valid_set")


def add_arguments(parser):
    """Declare the arguments of `labo prepare`."""
    parser.add_argument("corpus", nargs="?", choices=sorted(CORPORA), help="which corpus")
    parser.add_argument("--source", metavar="CODE", help="source language, say de; several as de,fr")
    parser.add_argument("--target", metavar="CODE", help="target language, say en")
    parser.add_argument(
        "--raw-dir", metavar="DIR", type=Path, help="folder with the corpus's files or archives; no download"
    )
    parser.add_argument("--out", metavar="DIR", help="output folder; without it data/CORPUS.SOURCE-TARGET")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; without it one for each CPU; same result")
    parser.add_argument("--verify", metavar="DIR", help="only check a finished folder against its manifest")
    recipe = parser.add_argument_group("recipe; without them the corpus's own")
    recipe.add_argument("--subword", choices=["bpe", "sentencepiece"], help="subword-nmt's BPE, or sentencepiece's")
    recipe.add_argument("--bpe-operations", type=int, metavar="N", help="joint BPE merges")
    recipe.add_argument("--vocabulary-size", type=int, metavar="N", help="pieces of the joint sentencepiece model")
    recipe.add_argument("--tokenizer", choices=["moses", "none"], help="before the subwords")
    recipe.add_argument(
        "--lowercase", action=argparse.BooleanOptionalAction, help="lower-case all text, or keep it cased"
    )
    recipe.add_argument("--min-length", type=int, metavar="N", help="shortest training sentence kept, in tokens")
    recipe.add_argument("--max-length", type=int, metavar="N", help="longest training sentence kept, in tokens")
    recipe.add_argument(
        "--max-ratio", type=float, metavar="R", help="largest ratio of the lengths of a training pair kept"
    )
    recipe.add_argument("--dictionary", choices=["joined", "separate"], help="one for both sides, or one for each")
    recipe.add_argument(
        "--vocabulary-threshold",
        type=int,
        metavar="N",
        help="BPE: split subwords that training saw less than N times in their language, as subword-nmt's does",
    )
    existing = parser.add_argument_group("the subwords and dictionaries of an existing model")
    existing.add_argument("--codes", metavar="FILE", help="its BPE merges, or sentencepiece model: none are learnt")
    existing.add_argument("--dictionaries", metavar="DIR", help="the folder of its dict.XX.txt, such as data/old/bin")
    some = parser.add_argument_group("options of single corpora")
    some.add_argument("--seed", type=int, metavar="N", help="embedded: seed of the generator, without it 1")
    some.add_argument("--train", metavar="PREFIX", help="files: training text PREFIX.SOURCE and PREFIX.TARGET")
    some.add_argument("--valid", metavar="PREFIX", help="files: validation text")
    some.add_argument("--test", metavar="PREFIX", action="append", help="files: test text; can be repeated")
    some.add_argument("--valid-set", metavar="NAME", help="wmt14: split or newstest2013; iwslt17: tst2015 or all")
    some.add_argument("--icml17", action="store_true", default=None, help="wmt14: News Commentary v9, not v12")


def run(args):
    """Prepare one corpus; returns 0. Raises UserError on bad input and where the folder cannot be written."""
    if args.verify:
        from .verify import verify

        if args.corpus:
            raise UserError(f"--verify: takes only a folder: leave out {args.corpus}")
        verify(args.verify)
        return 0
    if args.corpus is None:
        raise UserError(f"corpus: missing: one of {', '.join(CORPORA)}, or --verify DIR")
    module = importlib.import_module(CORPORA[args.corpus], package=__package__)
    pairs = _pairs(args, module)
    recipe = _recipe(args, module, pairs)
    direction = f"{args.source}-{args.target}".replace(",", "_")
    out = Path(args.out or f"data/{args.corpus}.{direction}")
    try:
        _prepare(module, args, pairs, recipe, out)
    except OSError as error:
        advice = ": make room and run it again, it goes on where it stopped" if error.errno == errno.ENOSPC else ""
        raise UserError(f"{error.filename or out}: {error.strerror or error}{advice}") from error
    print(out / "bin")
    return 0


def _prepare(module, args, pairs, recipe, out):
    from . import pipeline, steps
    from .parallel import Pool, available
    from .text import say

    corpus = module.Corpus(pairs, args, out)
    size = {"bpe": "bpe_operations", "sentencepiece": "vocabulary_size"}[recipe.subword]
    chosen = dataclasses.asdict(recipe)
    # a path is no parameter, the content is (_existing_files); what is not asked for is left out, so that a corpus that
    # an older version has prepared is still the same one
    del chosen["codes"], chosen["dictionaries"]
    if chosen["vocabulary_threshold"] is None:
        del chosen["vocabulary_threshold"]
    parameters = {
        "corpus": args.corpus,
        "synthetic": module.SYNTHETIC,
        "source": args.source,
        "target": args.target,
        size: recipe.subword_size,
        "recipe": chosen,
        **_existing_files(recipe, pairs),
        **corpus.parameters(),
    }
    if args.raw_dir:
        parameters["raw_files"] = corpus.inputs.given()
    workers = args.workers or available()
    with Pool(workers) as pool:
        pipeline.prepare(steps.Job(out, pairs, corpus, recipe, workers, pool), parameters)
    if os.pathsep in str(out):
        say(f"{out}: fairseq-train splits its data path at {os.pathsep!r}: name bin/ by a path without one")


def _existing_files(recipe, pairs):
    """{"existing": {file: its SHA-256}} of what comes from an existing model; UserError where a file is missing."""
    paths = [Path(recipe.codes)] if recipe.codes else []
    if recipe.dictionaries:
        paths += [
            Path(recipe.dictionaries) / f"dict.{code}.txt" for code in sorted({c for pair in pairs for c in pair})
        ]
    for path in paths:
        if not path.is_file():
            flag = "--codes" if str(path) == recipe.codes else "--dictionaries"
            raise UserError(f"{flag}: {path}: no such file: give that of the model's own data")
    return {"existing": {path.name: sha256(path) for path in paths}} if paths else {}


def _pairs(args, module):
    """[(source, target), ...]; UserError where the corpus has no such text."""
    codes = {}
    for flag in ("source", "target"):
        if not getattr(args, flag):
            raise UserError(f"--{flag}: missing: name the {flag} language, as in --{flag} de")
        codes[flag] = getattr(args, flag).split(",")
        for code in codes[flag]:
            if module.LANGUAGES and code not in module.LANGUAGES:
                raise UserError(f"--{flag}: {code}: {args.corpus} has {', '.join(module.LANGUAGES)}")
            if not re.fullmatch("[a-z]{2,3}", code):
                raise UserError(f"--{flag}: {code!r}: must be a language code of two or three letters")
    pairs = [pair for pair in dict.fromkeys(itertools.product(*codes.values())) if pair[0] != pair[1]]
    if not pairs:
        raise UserError(f"--target: {args.target}: is the source language too")
    for pair in pairs:
        if module.PAIRS and "-".join(pair) not in module.PAIRS:
            raise UserError(f"--source: {'-'.join(pair)}: {args.corpus} has {', '.join(module.PAIRS)}")
    if len(pairs) > 1 and not getattr(module, "MULTILINGUAL", False):
        raise UserError(f"--source: {args.source}: {args.corpus} is prepared for one pair of languages at a time")
    return pairs


def _recipe(args, module, pairs):
    """The corpus's recipe with what the command line changes in it."""
    _check_values(args, module)
    changes = {
        name: getattr(args, name)
        for name in (
            *("subword", "tokenizer", "min_length", "max_length", "max_ratio", "dictionary"),
            *("codes", "dictionaries", "vocabulary_threshold"),
        )
        if getattr(args, name) is not None
    }
    if args.lowercase is not None:
        changes["lowercase"] = (module.RECIPE.lowercase or "after") if args.lowercase else None
    recipe = dataclasses.replace(module.RECIPE, **changes)
    sizes = {
        "bpe": ("--bpe-operations", args.bpe_operations),
        "sentencepiece": ("--vocabulary-size", args.vocabulary_size),
    }
    for subword, (flag, size) in sizes.items():
        if size is not None and subword != recipe.subword:
            raise UserError(f"{flag}: is for --subword {subword}: leave it out")
        if size is not None:
            recipe = dataclasses.replace(recipe, subword_size=size)
    _check_existing(args, recipe)
    if args.min_length is not None and not recipe.cleans:
        raise UserError("--min-length: needs --max-length or --max-ratio")
    if recipe.dictionary == "separate" and len(pairs) > 1:
        raise UserError("--dictionary: separate: several pairs of languages share one: leave it out")
    return module.adapt(recipe, args) if hasattr(module, "adapt") else recipe


def _check_existing(args, recipe):
    for flag, size in (("--bpe-operations", args.bpe_operations), ("--vocabulary-size", args.vocabulary_size)):
        if recipe.codes and size is not None:
            raise UserError(f"{flag}: nothing is learnt with --codes: leave it out")
    if recipe.vocabulary_threshold and recipe.subword != "bpe":
        raise UserError("--vocabulary-threshold: is for --subword bpe: leave it out")


def _check_values(args, module):
    for name in (
        "vocabulary_threshold",
        "bpe_operations",
        "vocabulary_size",
        "workers",
        "min_length",
        "max_length",
        "max_ratio",
    ):
        value = getattr(args, name)
        if value is not None and not value >= 1:
            raise UserError(f"--{name.replace('_', '-')}: {value}: must be at least 1")
    for name in _OF_SOME_CORPORA:
        if getattr(args, name) is not None and name not in module.OPTIONS:
            raise UserError(f"--{name.replace('_', '-')}: {args.corpus} has no use for it: leave it out")
    sets = getattr(module, "VALID_SETS", ())
    if args.valid_set is not None and args.valid_set not in sets:
        raise UserError(f"--valid-set: {args.valid_set}: {args.corpus} has {', '.join(sets)}")
