"""Turn a parallel corpus into fairseq binaries, ready for fairseq-train.

  labo prepare embedded --source de --target en
  labo prepare multi30k --source en --target de --raw-dir multi30k/data/task1/raw

Corpora: embedded (synthetic German-English, made here from a grammar, nothing to download) and multi30k (captions in
cs, de, en, fr; needs --raw-dir). The folder --out gets raw/ (plain text, the references for sacreBLEU), tok/
(tokenized), bpe/ (subwords, and the codes), bin/ (for fairseq-train) and manifest.json. A second run does nothing; an
interrupted one goes on where it stopped. Training pairs with an empty side are removed and counted in the manifest;
valid and test are never altered. Prints the path of bin/.
"""

import errno
import importlib
from pathlib import Path

from ..errors import UserError

# name on the command line: module with Corpus(languages, args), LANGUAGES, SYNTHETIC, BPE_OPERATIONS and OPTIONS
CORPORA = {"embedded": ".embedded", "multi30k": ".multi30k"}


def add_arguments(parser):
    """Declare the arguments of `labo prepare`."""
    parser.add_argument("corpus", choices=sorted(CORPORA), help="which corpus")
    parser.add_argument("--source", required=True, metavar="CODE", help="source language, say de")
    parser.add_argument("--target", required=True, metavar="CODE", help="target language, say en")
    parser.add_argument("--raw-dir", metavar="DIR", help="folder with the raw text; only for multi30k, which needs it")
    parser.add_argument("--out", metavar="DIR", help="output folder; without it data/CORPUS.SOURCE-TARGET")
    parser.add_argument("--bpe-operations", type=int, metavar="N", help="joint BPE merges; without it the corpus's own")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the generator; only for embedded, without it 1")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes of fairseq-preprocess")


def run(args):
    """Prepare one corpus; returns 0. Raises UserError on bad input and where the folder cannot be written."""
    module = importlib.import_module(CORPORA[args.corpus], package=__package__)
    languages = _check(args, module)
    operations = module.BPE_OPERATIONS if args.bpe_operations is None else args.bpe_operations
    out = Path(args.out or f"data/{args.corpus}.{'-'.join(languages)}")
    try:
        _prepare(module, args, languages, operations, out)
    except OSError as error:
        advice = ": make room and run it again, it goes on where it stopped" if error.errno == errno.ENOSPC else ""
        raise UserError(f"{error.filename or out}: {error.strerror or error}{advice}") from error
    print(out / "bin")
    return 0


def _prepare(module, args, languages, operations, out):
    from . import pipeline, steps  # here, so that --help does not wait for the tokenizer

    corpus = module.Corpus(languages, args)
    parameters = {
        "corpus": args.corpus,
        "synthetic": module.SYNTHETIC,
        "source": languages[0],
        "target": languages[1],
        "bpe_operations": operations,
        **corpus.parameters(),
    }
    pipeline.prepare(steps.Job(out, languages, corpus, operations, args.workers), parameters)


def _check(args, module):
    for flag, code in (("--source", args.source), ("--target", args.target)):
        if code not in module.LANGUAGES:
            raise UserError(f"{flag}: {code}: {args.corpus} has {', '.join(module.LANGUAGES)}")
    if args.source == args.target:
        raise UserError(f"--target: {args.target}: is the source language too")
    for flag, value in (("--bpe-operations", args.bpe_operations), ("--workers", args.workers)):
        if value is not None and value < 1:
            raise UserError(f"{flag}: {value}: must be at least 1")
    for name in ("raw_dir", "seed"):
        if getattr(args, name) is not None and name not in module.OPTIONS:
            raise UserError(f"--{name.replace('_', '-')}: {args.corpus} has no use for it: leave it out")
    return args.source, args.target
