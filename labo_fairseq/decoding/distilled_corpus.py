"""A training set whose targets are a teacher's translations: sequence-level distillation (Kim and Rush 2016)."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary, data_utils, indexed_dataset

from ..errors import UserError
from ..records.generate_log import read_generate_log


def write_distilled(data: str | Path, log: str | Path, out: str | Path, source: Any = None, target: Any = None) -> str:
    """Write the folder `out` with a teacher's translations as training targets; returns what it holds, in words.

    data: folder of fairseq's binaries; log: output of fairseq-generate on its training set, with subwords; source and
    target: languages, where `data` holds several pairs. Raises UserError on bad input.
    """
    data, out = Path(data), Path(out)
    if out.exists():
        raise UserError(f"--out: {out}: exists already: choose another folder or remove it")
    source, target = _languages(data, source, target)
    pair = f"{source}-{target}"
    if list(data.glob(f"train1.{pair}.*")):
        raise UserError(f"{data}: has train1 beside train: distill each part, or binarize them as one")
    sentences, types, about = _targets(data, log, pair, source, target)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        _write(aside / f"train.{pair}.{target}", sentences, types)
        for path in sorted(data.iterdir()):
            if path.is_file() and not (aside / path.name).exists():
                shutil.copyfile(path, aside / path.name)
        aside.chmod(data.stat().st_mode & 0o777)  # mkdtemp makes it private
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return about


def _languages(data, *pair):
    if not data.is_dir():
        raise UserError(f"{data}: no such folder: give the folder that fairseq-preprocess wrote")
    if None in pair:
        pair = data_utils.infer_language_pair(str(data))
    if None in pair:
        raise UserError(f"{data}: no binarized pair of languages: give --source-lang and --target-lang")
    return pair


def _targets(data, log, pair, source, target):
    """(target sentences as index tensors, number of types, both in words), checked against the data's own sources."""
    sources, source_dictionary = _side(data, pair, source)
    references, dictionary = _side(data, pair, target)
    sentences = read_generate_log(log)
    if len(sentences) != len(sources):
        raise UserError(f"{log}: has {len(sentences)} sentences, the training set {len(sources)}: translate all")
    targets, copies = [], 0
    for i, sentence in enumerate(sentences):
        if sentence.source is None:
            raise UserError(f"{log}: has no S- lines: give the output of fairseq-generate as it is")
        if not _encoded(sentence.source.split(), source_dictionary, f"{log}: S-{i}").equal(sources[i].long()):
            raise UserError(f"{log}: S-{i}: is not sentence {i} of {data}: translate this training set")
        targets.append(_encoded(sentence.hypotheses[0].tokens, dictionary, f"{log}: H-{i}"))
        copies += targets[-1].equal(references[i].long())
    about = (
        f"{len(targets)} sentences, {sum(map(len, targets))} target tokens, {copies} equal to their reference, "
        f"{sum(len(t) == 1 for t in targets)} empty"
    )
    return targets, len(dictionary), about


def _side(data, pair, language):
    """(training sentences, dictionary) of one language."""
    dictionary = data / f"dict.{language}.txt"
    if not dictionary.exists():
        raise UserError(f"{dictionary}: missing: give a folder that fairseq-preprocess wrote")
    sentences = data_utils.load_indexed_dataset(str(data / f"train.{pair}.{language}"))
    if sentences is None:
        raise UserError(f"{data}: no binarized train.{pair}.{language}: give the folder with the training set")
    return sentences, Dictionary.load(str(dictionary))


def _encoded(tokens, dictionary, where):
    """Indices of the tokens and of the end of the sentence."""
    unknown = next((token for token in tokens if token not in dictionary.indices), None)
    if unknown is not None:
        raise UserError(
            f"{where}: {unknown!r} is not in the dictionary: generate without --remove-bpe and --replace-unk"
        )
    return torch.tensor([*(dictionary.indices[token] for token in tokens), dictionary.eos()])


def _write(prefix, sentences, types):
    builder = indexed_dataset.make_builder(f"{prefix}.bin", "mmap", types)
    for sentence in sentences:
        builder.add_item(sentence)
    builder.finalize(f"{prefix}.idx")
