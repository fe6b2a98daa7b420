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


def truncated(size):
    """A language model's output dictionary: 4 special types, then a b c d, of which the first `size` are kept."""
    from fairseq.data import TruncatedDictionary

    dictionary = Dictionary()
    for symbol in "abcd":
        dictionary.add_symbol(symbol)
    return TruncatedDictionary(dictionary, size)


@pytest.mark.parametrize(("size", "kept"), [(5, {"a": 3}), (6, {"a": 3, "b": 1}), (7, {"a": 3, "b": 1, "c": 2})])
def test_types_beyond_the_output_dictionary_are_unknown(tmp_path, size, kept):
    dictionary = truncated(size)
    a, b, c, d = (dictionary.index(symbol) for symbol in "abcd")
    eos = dictionary.eos()
    write(tmp_path / "train", "mmap", [[a, d, a, c, eos], [a, d, b, c, d, eos]], len(dictionary.wrapped_dict))
    cfg = SimpleNamespace(data=str(tmp_path), train_subset="train")
    counts = _prior.target_counts(SimpleNamespace(cfg=cfg, target_dictionary=dictionary))
    assert {dictionary[i]: n for i, n in enumerate(counts.tolist()) if n} == {"</s>": 2, **kept}
    assert len(counts) == size


def test_a_file_of_counts_may_name_types_beyond_the_output_dictionary(tmp_path):
    (tmp_path / "counts").write_text("a 3\nb 2\nd 9\n", encoding="utf-8")
    dictionary = truncated(6)
    task = SimpleNamespace(cfg=SimpleNamespace(data=""), target_dictionary=dictionary)
    counts = _prior.target_counts(task, tmp_path / "counts")
    assert {dictionary[i]: n for i, n in enumerate(counts.tolist()) if n} == {"a": 3, "b": 2}


def test_regular_types_of_a_truncated_dictionary():
    assert _prior.regular_types(truncated(6)).tolist() == [False, False, True, False, True, True]
