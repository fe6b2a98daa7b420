"""How many rows of logits the fused path holds at once: from N, V, D and the free memory of a GPU."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.functional import CrossEntropy, RDrop, fused


def sizes(count, types, width, device="cpu", loss=None, half=False):
    return fused.chunk_sizes(count, types, width, torch.device(device), loss or CrossEntropy(), half=half)


@given(st.integers(0, 10_000), st.integers(1, 300_000), st.booleans())
def test_chunks_on_a_cpu_are_even_and_bounded(count, types, half):
    chunk, block = sizes(count, types, 512, half=half)
    # of 2^23 logits in four bytes, or as many bytes in two
    limit = max(1, min(1024, (2**24 if half else 2**23) // types))
    assert 1 <= block <= chunk <= limit
    chunks = -(-count // chunk)
    assert chunks == -(-count // limit)  # even chunks, yet no more of them
    assert chunks * chunk - count < max(1, chunks)


@given(st.integers(1, 2000), st.integers(1, 50_000), st.booleans())
def test_pairs_stay_together(pairs, types, half):
    chunk, block = sizes(2 * pairs, types, 512, loss=RDrop(CrossEntropy(), 1.0), half=half)
    assert chunk % 2 == 0 and block % 2 == 0


@pytest.mark.parametrize(
    "types, width, free, rows",
    [
        (32768, 512, 1 << 37, 512),  # the least that keeps a GPU busy: 2^24 logits
        (8192, 512, 1 << 37, 2048),
        (32768, 1024, 1 << 37, 1024),  # a wider model: as many rows as it has features
        (32768, 512, 10 << 24, 128),  # little memory: a quarter of it, ten bytes a logit
        (32768, 512, 0, 1),
    ],
)
def test_chunks_on_a_gpu(types, width, free, rows, monkeypatch):
    monkeypatch.setattr(fused, "_free_bytes", lambda device: free)
    assert sizes(32768, types, width, "cuda") == (rows, rows)
