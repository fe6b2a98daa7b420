"""Smoothing priors from the target side of the training set.

The dictionary file is no such prior: a joined dictionary mixes both languages, and EOS is counted 0 there.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import data_utils, indexed_dataset

from ..errors import UserError
from .loading import settings_of

_PIECE = 1 << 22  # tokens counted at once


def target_counts(task: Any, counts_file: str | None = None) -> torch.Tensor:
    """How often each type of the target dictionary occurs in the training targets, float64 (V,); EOS once a sentence.

    pad, bos, unk and the `madeupword` fillers get 0, so no smoothing mass can reach them. A task of several pairs of
    languages has the sum over all of its pairs, or over those into --target-lang where that is given (decoding); how
    often each pair is sampled is not counted, and language tokens, which are not in the files, have 0.

    counts_file: 'type count' lines to read instead. Raises UserError where there is nothing to count.

    A task without a dictionary, whose targets are classes, counts by itself (`class_counts`).
    """
    dictionary = task.target_dictionary
    if dictionary is None:
        if counts_file is not None:
            raise UserError("--prior-counts: classes are counted in the training set: leave the flag out")
        return torch.from_numpy(task.class_counts())
    if counts_file is None:
        counts = sum(_binary_counts(prefix, len(dictionary)) for prefix in _target_prefixes(task))
    else:
        counts = _counts_from_file(Path(counts_file), dictionary)
    counts[~regular_types(dictionary).numpy()] = 0
    if not counts.any():
        raise UserError("--smoothing-prior: no target token was counted: check the data, or give --prior-counts FILE")
    return torch.from_numpy(counts)


def regular_types(dictionary: Any) -> torch.Tensor:
    """Which types can be a target token, a bool tensor (V,): not pad, bos, unk or a filler that rounds up the size."""
    special = {dictionary.pad(), dictionary.bos(), dictionary.unk()}
    return torch.tensor(
        [i not in special and not symbol.startswith("madeupword") for i, symbol in enumerate(dictionary.symbols)]
    )


def unigram_prior(
    counts: torch.Tensor, possible: torch.Tensor, exponent: float = 1.0, floor: float = 0.0
) -> torch.Tensor:
    """u ∝ max(count, floor) ** exponent over the `possible` types, a bool tensor (V,); float64 (V,), sums to 1."""
    weights = torch.where(possible, counts.clamp(min=floor), 0.0) ** exponent
    return weights / weights.sum()


def masked_prior(counts: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Uniform over the types that occur on the target side, and their number (Chen et al. 2022)."""
    occurs = (counts > 0).double()
    return occurs / occurs.sum(), int(occurs.sum())


def _target_prefixes(task):
    """Paths of the binarized training targets, without ending, over all shards and pairs of languages."""
    cfg = settings_of(task)
    split = getattr(cfg, "train_subset", "train")
    return [
        _target_prefix(folder, split, source, target)
        for folder in cfg.data.split(os.pathsep)
        for source, target in _pairs(task, cfg)
    ]


def _pairs(task, cfg):
    """[(source, target)] of the training: one, or those of --lang-pairs into --target-lang."""
    source, target = getattr(cfg, "source_lang", None), getattr(cfg, "target_lang", None)
    named = getattr(cfg, "lang_pairs", None)
    if not named:
        return [(source, target)]
    pairs = [tuple(pair.split("-")) for pair in named]
    pairs = [pair for pair in pairs if target in (None, pair[1])]
    dictionaries = [task.dicts[pair[1]] for pair in pairs if pair[1] in task.dicts]
    if any(dictionary != task.target_dictionary for dictionary in dictionaries):
        raise UserError(
            "--smoothing-prior: the target languages have different dictionaries, and a prior belongs to one: "
            "prepare them with a joined one"
        )
    return pairs


def _target_prefix(folder, split, source, target):
    names = [f"{split}.{source}-{target}.{target}", f"{split}.{target}-{source}.{target}", split]
    paths = (os.path.join(folder, name) for name in names)
    prefix = next((path for path in paths if indexed_dataset.dataset_exists(path, None)), None)
    if prefix is None:
        raise UserError(f"{folder}: no binarized {split} targets ({names[0]}) to count: give --prior-counts FILE")
    return prefix


def _binary_counts(prefix, types):
    """Counts of one binarized side, with the numbered parts (train, train1, …) that fairseq combines."""
    counts = np.zeros(types)
    for part in itertools.count():
        path = f"{prefix}{part or ''}"
        if part and not indexed_dataset.dataset_exists(path, None):
            return counts
        for tokens in _token_pieces(data_utils.load_indexed_dataset(path)):
            counts += np.bincount(tokens, minlength=types)


def _token_pieces(dataset):
    """The tokens of a dataset as a few long arrays, since a count per sentence would cost V each time.

    The .bin file of a memory-mapped dataset, fairseq's default, is nothing but the tokens: 135 million of them are
    counted in 0.3 s, which is as fast as a cache could be looked up by the data's hash (0.15 s). So there is no cache.
    """
    if isinstance(dataset, indexed_dataset.MMapIndexedDataset):
        tokens = np.frombuffer(dataset._bin_buffer, dtype=dataset._index.dtype)
        for start in range(0, len(tokens), _PIECE):
            yield tokens[start : start + _PIECE]
        return
    for start in range(0, len(dataset), 10_000):
        piece = range(start, min(start + 10_000, len(dataset)))
        if dataset.supports_prefetch:  # the reader of fairseq's older formats knows nothing else
            dataset.prefetch(piece)
        yield torch.cat([dataset[i] for i in piece]).numpy()


def _counts_from_file(path, dictionary):
    counts = np.zeros(len(dictionary))
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise UserError(f"--prior-counts {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        symbol, _, count = line.rpartition(" ")
        if symbol not in dictionary.indices:
            raise UserError(f"{path}:{number}: '{symbol}' is not in the target dictionary")
        try:
            counts[dictionary.indices[symbol]] = float(count)
        except ValueError:
            raise UserError(f"{path}:{number}: '{count}' is no count: lines read 'type count'") from None
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise UserError(f"{path}: counts must be finite and not negative")
    return counts
