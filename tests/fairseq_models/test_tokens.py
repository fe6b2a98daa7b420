"""Statistics of tokens in chunks: the numbers of all tokens at once, in memory that does not grow with them."""

import weakref

import numpy as np
import pytest
import torch

from labo_fairseq.fairseq_models import tokens as module
from labo_fairseq.fairseq_models.tokens import Projection, Tokens
from labo_fairseq.functional.calibration import TokenStatistics
from labo_fairseq.functional.calibrators import Temperature


def some_tokens(count):
    generator = torch.Generator().manual_seed(1)
    target = torch.randint(7, (count,), generator=generator)
    hidden = torch.randn(count, 3, generator=generator).numpy()
    places = torch.arange(count)
    return Tokens(target, places, places, places, [Projection(hidden, torch.randn(7, 3, generator=generator), None)])


@pytest.mark.parametrize("chunk", [7, 14, 20, 1 << 20])
@pytest.mark.parametrize("index", [None, [4, 0, 9], list(range(10, 0, -1))])
def test_chunks_of_any_size_give_the_statistics_of_all_tokens_at_once(chunk, index, monkeypatch):
    monkeypatch.setitem(module._CHUNK, "cpu", chunk)
    tokens = some_tokens(11)
    index = None if index is None else torch.tensor(index)
    rows = slice(None) if index is None else index
    found = tokens.statistics([[Temperature(1.0)], [Temperature(2.0)]], index)
    for temperature, statistics in zip((1.0, 2.0), found, strict=True):
        logits = torch.from_numpy(tokens.members[0].hidden)[rows] @ tokens.members[0].weight.T / temperature
        expected = TokenStatistics.of(logits.log_softmax(1), tokens.target[rows])
        for name, values, wanted in zip(expected._fields, statistics, expected, strict=True):
            assert values.dtype == wanted.dtype, name
            assert torch.allclose(values.double(), wanted.double(), atol=1e-6), name


def test_small_results_are_not_kept_between_the_large_ones(monkeypatch):
    """Where they were, the heap could not use the room of the logits again: up to 5 GB for 50,000 tokens."""
    monkeypatch.setitem(module._CHUNK, "cpu", 14)
    alive, original = [], TokenStatistics.of

    def of(log_probs, target):
        assert all(reference() is None for reference in alive[:-5])  # the last chunk's may still have a name
        statistics = original(log_probs, target)
        alive.extend(map(weakref.ref, statistics))
        return statistics

    monkeypatch.setattr(module.TokenStatistics, "of", of)
    some_tokens(40).statistics([[Temperature()]])
    assert len(alive) == 5 * 20


def test_no_tokens_give_no_statistics():
    (statistics,) = some_tokens(3).statistics([[Temperature()]], torch.empty(0, dtype=torch.long))
    assert all(len(values) == 0 for values in statistics)
    assert np.isfinite(statistics.nll.numpy()).all()
