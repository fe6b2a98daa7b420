"""A training set whose targets are a teacher's translations: sequence-level distillation (Kim and Rush 2016).

Takes the folder that fairseq-preprocess or `labo prepare` wrote and the output of fairseq-generate on its training set,
which must show the subwords (no --remove-bpe) of every sentence. Writes a folder of the same form: the same
dictionaries, sources, validation and test sets, and as training targets the best translation of each source. A student
is trained on it with any criterion, and evaluated as always.

Prints the folder; how many sentences, tokens and exact copies of the reference there are goes to standard error.

example:
  fairseq-generate data-bin --path teacher/checkpoint_best.pt --gen-subset train --beam 5 > generate-train.txt
  labo distill-corpus data-bin generate-train.txt --out distilled-bin
  fairseq-train distilled-bin …
"""

import sys
from pathlib import Path


def add_arguments(parser):
    """Declare the arguments of `labo distill-corpus`."""
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("log", metavar="LOG", help="output of fairseq-generate on the training set, plain or .gz")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder to write; must not exist")
    parser.add_argument("--source-lang", metavar="CODE", help="where DATA holds several pairs")
    parser.add_argument("--target-lang", metavar="CODE", help="where DATA holds several pairs")


def run(args):
    """Write the folder; returns 0. Raises UserError on bad input."""
    from ..decoding.distilled_corpus import write_distilled

    about = write_distilled(args.data, args.log, args.out, args.source_lang, args.target_lang)
    print(f"labo distill-corpus: {about}", file=sys.stderr)
    print(args.out)
    return 0
