"""The counts behind the unigram prior, for each format in which fairseq keeps binarized text."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary, indexed_dataset

from labo_fairseq.fairseq_models import target_counts as _prior


def write(prefix, implementation, sentences, types):
    builder = indexed_dataset.make_builder(f"{prefix}.bin", implementation, vocab_size=types)
    for sentence in sentences:
        builder.add_item(torch.tensor(sentence))
    builder.finalize(f"{prefix}.idx")


@pytest.mark.parametrize("implementation", ["mmap", "lazy"])
@pytest.mark.parametrize("piece", [3, 1 << 22])
def test_every_token_counts_once(tmp_path, implementation, piece, monkeypatch):
    monkeypatch.setattr(_prior, "_PIECE", piece)
    dictionary = Dictionary()
    for symbol in "abc":
        dictionary.add_symbol(symbol)
    a, b = dictionary.index("a"), dictionary.index("b")
    eos, unk = dictionary.eos(), dictionary.unk()
    sentences = [[a, b, a, eos], [b, eos], [unk, a, eos]]
    prefix = tmp_path / "train.de-en.en"
    write(prefix, implementation, sentences[:2], len(dictionary))
    write(f"{prefix}1", implementation, sentences[2:], len(dictionary))  # a second part, as fairseq combines them
    cfg = SimpleNamespace(data=str(tmp_path), train_subset="train", source_lang="de", target_lang="en")
    counts = _prior.target_counts(SimpleNamespace(cfg=cfg, target_dictionary=dictionary))
    expected = np.zeros(len(dictionary))
    expected[[a, b, eos]] = 3, 2, 3  # unk gets no mass, c never occurs
    assert counts.tolist() == expected.tolist()
