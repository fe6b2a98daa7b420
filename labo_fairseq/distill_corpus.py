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

import os
import shutil
import sys
import tempfile
from pathlib import Path

from .errors import UserError


def add_arguments(parser):
    """Declare the arguments of `labo distill-corpus`."""
    parser.add_argument("data", metavar="DATA", type=Path, help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("log", metavar="LOG", help="output of fairseq-generate on the training set, plain or .gz")
    parser.add_argument("--out", required=True, metavar="DIR", type=Path, help="folder to write; must not exist")
    parser.add_argument("--source-lang", metavar="CODE", help="where DATA holds several pairs")
    parser.add_argument("--target-lang", metavar="CODE", help="where DATA holds several pairs")


def run(args):
    """Write the folder; returns 0. Raises UserError on bad input."""
    if args.out.exists():
        raise UserError(f"--out: {args.out}: exists already: choose another folder or remove it")
    source, target = _languages(args)
    pair = f"{source}-{target}"
    if list(args.data.glob(f"train1.{pair}.*")):
        raise UserError(f"{args.data}: has train1 beside train: distill each part, or binarize them as one")
    targets = _targets(args, pair, source, target)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=args.out.parent, prefix=f".{args.out.name}.", suffix=".part"))
    try:
        _write(aside / f"train.{pair}.{target}", *targets)
        for path in sorted(args.data.iterdir()):
            if path.is_file() and not (aside / path.name).exists():
                shutil.copyfile(path, aside / path.name)
        aside.chmod(args.data.stat().st_mode & 0o777)  # mkdtemp makes it private
        os.rename(aside, args.out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    print(args.out)
    return 0


def _languages(args):
    from fairseq.data import data_utils

    if not args.data.is_dir():
        raise UserError(f"{args.data}: no such folder: give the folder that fairseq-preprocess wrote")
    found = args.source_lang, args.target_lang
    if None in found:
        found = data_utils.infer_language_pair(str(args.data))
    if None in found:
        raise UserError(f"{args.data}: no binarized pair of languages: give --source-lang and --target-lang")
    return found


def _targets(args, pair, source, target):
    """(target sentences as index tensors, number of types), checked against the data's own sources."""
    from .analysis.generate_log import read_generate_log

    sources, source_dictionary = _side(args.data, pair, source)
    references, dictionary = _side(args.data, pair, target)
    sentences = read_generate_log(args.log)
    if len(sentences) != len(sources):
        raise UserError(f"{args.log}: has {len(sentences)} sentences, the training set {len(sources)}: translate all")
    found, copies = [], 0
    for i, sentence in enumerate(sentences):
        if sentence.source is None:
            raise UserError(f"{args.log}: has no S- lines: give the output of fairseq-generate as it is")
        if not _encoded(sentence.source.split(), source_dictionary, f"{args.log}: S-{i}").equal(sources[i].long()):
            raise UserError(f"{args.log}: S-{i}: is not sentence {i} of {args.data}: translate this training set")
        found.append(_encoded(sentence.hypotheses[0].tokens, dictionary, f"{args.log}: H-{i}"))
        copies += found[-1].equal(references[i].long())
    print(
        f"labo distill-corpus: {len(found)} sentences, {sum(map(len, found))} target tokens, "
        f"{copies} equal to their reference, {sum(len(t) == 1 for t in found)} empty",
        file=sys.stderr,
    )
    return found, len(dictionary)


def _side(data, pair, language):
    """(training sentences, dictionary) of one language."""
    from fairseq.data import Dictionary, data_utils

    dictionary = data / f"dict.{language}.txt"
    if not dictionary.exists():
        raise UserError(f"{dictionary}: missing: give a folder that fairseq-preprocess wrote")
    sentences = data_utils.load_indexed_dataset(str(data / f"train.{pair}.{language}"))
    if sentences is None:
        raise UserError(f"{data}: no binarized train.{pair}.{language}: give the folder with the training set")
    return sentences, Dictionary.load(str(dictionary))


def _encoded(tokens, dictionary, where):
    """Indices of the tokens and of the end of the sentence."""
    import torch

    unknown = next((token for token in tokens if token not in dictionary.indices), None)
    if unknown is not None:
        raise UserError(
            f"{where}: {unknown!r} is not in the dictionary: generate without --remove-bpe and --replace-unk"
        )
    return torch.tensor([*(dictionary.indices[token] for token in tokens), dictionary.eos()])


def _write(prefix, sentences, types):
    from fairseq.data import indexed_dataset

    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", types)
    for sentence in sentences:
        builder.add_item(sentence)
    builder.finalize(f"{prefix}.idx")
