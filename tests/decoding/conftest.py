"""Two small trained models of one dictionary, and a way to write calibration files for them."""

import pytest
from fairseq.data import Dictionary

from labo_fairseq.calibration.file import Calibration, Member, dictionary_record, save
from labo_fairseq.files import sha256

TRAIN = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --optimizer adam --lr 0.01 --criterion cross_entropy --max-tokens 100 --cpu "
    "--num-workers 0 --log-format simple --no-epoch-checkpoints --dropout 0 --max-update 60"
).split()


@pytest.fixture(scope="session")
def train_flags():
    return TRAIN


@pytest.fixture(scope="session")
def train_small(run_cli):
    """Function: train for 60 updates on a data folder with these flags -> the checkpoint."""

    def train(data, folder, *flags):
        done = run_cli("fairseq-train", data, *TRAIN, "--save-dir", folder, *flags)
        assert done.returncode == 0, done.stderr[-3000:]
        return folder / "checkpoint_last.pt"

    return train


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, train_small, tiny_bin):
    """Two checkpoints of one architecture and data: post-norm, tied, seeds 1 and 2."""
    folder = tmp_path_factory.mktemp("small")
    return [train_small(tiny_bin, folder / str(seed), "--seed", seed) for seed in (1, 2)]


@pytest.fixture(scope="session")
def dictionary(tiny_bin):
    return Dictionary.load(str(tiny_bin / "dict.en.txt"))


@pytest.fixture
def calibrate(tmp_path, dictionary):
    """Function: write a calibration file of (checkpoint, calibrator) pairs -> its path."""

    def write(*members, name="calibration.json", **content):
        path = tmp_path / name
        found = [Member(path.name, sha256(path), calibrator) for path, calibrator in members]
        save(Calibration(found, dictionary_record(dictionary), {"data": "tiny"}, **content), path)
        return path

    return write
