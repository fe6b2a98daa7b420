"""A one-layer Transformer, trained for a few updates by the unmodified fairseq-train."""

import sys
from pathlib import Path

import pytest

MODEL = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --optimizer adam --lr 0.01 --criterion cross_entropy --max-tokens 300 --seed 1 --cpu "
    "--num-workers 0 --log-format simple --log-interval 1 --no-epoch-checkpoints"
).split()
EVAL_BLEU = ["--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 10}', "--eval-bleu-detok", "space"]


@pytest.fixture(scope="session")
def train_args(tiny_bin):
    """Function: the arguments of fairseq-train for a save folder, a number of updates, and whatever else."""

    def arguments(save_dir, updates, *more, bleu=False):
        return [tiny_bin, *MODEL, "--save-dir", save_dir, "--max-update", updates, *(EVAL_BLEU if bleu else ()), *more]

    return arguments


@pytest.fixture(scope="session")
def run_two(run_cli):
    """Function: run a Python script in two processes on the CPU, as the documentation tells to."""

    def run(script, *args, backend="legacy_ddp"):
        gloo = ["--distributed-backend", "gloo", "--ddp-backend", backend]
        return run_cli("torchrun", "--standalone", "--nproc_per_node", 2, script, *args, *gloo)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run_cli, train_args):
    """Folder of checkpoints after 4 updates, with BLEU evaluated after each epoch."""
    folder = tmp_path_factory.mktemp("trained")
    done = run_cli("fairseq-train", *train_args(folder, 4, bleu=True))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained_by_two(tmp_path_factory, run_two, train_args):
    """The like, trained by two processes."""
    folder = tmp_path_factory.mktemp("trained_by_two")
    done = run_two(Path(sys.executable).with_name("fairseq-train"), *train_args(folder, 4, bleu=True))
    assert done.returncode == 0, done.stderr
    return folder
