"""F27: a process ends while fairseq's thread fetches batches. F51: the processes that fetch end with their epoch."""

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


EPOCHS = """
import gc
import multiprocessing
import sys

import labo_fairseq_hook

if sys.argv[1] == "without":
    labo_fairseq_hook._loader_module()
    sys.modules["_labo_fairseq_compat.mends"].MODULE_MENDS["fairseq.data.iterators"].clear()

from fairseq.data.iterators import EpochBatchIterator
import torch

class Numbers(torch.utils.data.Dataset):
    def __getitem__(self, i):
        return i

gc.disable()  # Python looks for circles of old objects once in many epochs
for epoch in range(1, 5):
    # a new one for each epoch, as fairseq makes where batches are drawn anew
    epochs = EpochBatchIterator(
        Numbers(), list, [[0, 1], [2]], num_workers=1, epoch=epoch, buffer_size=2, reuse_dataloader=True
    )
    assert sorted(map(sorted, epochs.next_epoch_itr())) == [[0, 1], [2]]
    assert sorted(map(sorted, epochs.next_epoch_itr())) == [[0, 1], [2]]
print(len(multiprocessing.active_children()))
"""


def test_workers_of_past_epochs_end(run_cli):
    done = run_cli("python", "-c", EPOCHS, "with")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 1


@pytest.mark.slow
def test_without_the_mend_they_stay(run_cli):
    done = run_cli("python", "-c", EPOCHS, "without")
    assert int(done.stdout) > 1, "not needed any more: remove the mend"
