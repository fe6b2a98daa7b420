"""F27: a process ends while fairseq's thread fetches batches."""

import pytest

PROGRAM = """
import sys

import labo_fairseq_hook

if sys.argv[1] == "without":
    labo_fairseq_hook._loader_module()
    sys.modules["_labo_fairseq_compat.mends"].MODULE_MENDS["fairseq.data.iterators"].clear()

import torch
from fairseq.data.iterators import BufferedIterator

class Batches:
    def __len__(self):
        return 10**9

    def __iter__(self):
        while True:
            yield torch.nn.functional.pad(torch.randn(40, 40) @ torch.randn(40, 40), (1, 1))

# nearly always in torch, or nearly always waiting for a place in the queue
batches = BufferedIterator({"fetching": 10**6, "waiting": 2}[sys.argv[2]], Batches())
next(batches)
print("done")
"""


@pytest.mark.parametrize("thread", ["fetching", pytest.param("waiting", marks=pytest.mark.slow)])
def test_the_process_ends_with_0(run_cli, thread):
    for _ in range(3):
        done = run_cli("python", "-c", PROGRAM, "with", thread)
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.slow
def test_without_the_mend_it_aborts(run_cli):
    codes = {run_cli("python", "-c", PROGRAM, "without", "fetching").returncode for _ in range(3)}
    assert any(codes), "not needed any more: remove the mend"
