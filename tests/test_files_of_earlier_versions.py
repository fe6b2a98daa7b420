"""What versions before the rooms (0.1.0 at commit 55e5936) wrote can still be read.

golden/before_rooms was written there, on a corpus of ten words: by fairseq-train with --task calibrated_translation,
--criterion labo and 60 updates, labo calibrate, and fairseq-generate with --beam 2 --max-len-b 5.
"""

import shutil
from pathlib import Path

import pytest

import labo_fairseq
from labo_fairseq.calibration.file import load
from labo_fairseq.compat.checkpoints import load_safely
from labo_fairseq.functional.calibrators import Temperature
from labo_fairseq.records.generate_log import parse_generate_log
from labo_fairseq.records.reliability import read_reliability

USER_DIR = Path(labo_fairseq.__file__).parent
TRAIN = (
    "--task calibrated_translation -s de -t en --arch transformer --encoder-layers 1 --decoder-layers 1 "
    "--encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8 "
    "--encoder-attention-heads 1 --decoder-attention-heads 1 --share-all-embeddings --criterion labo "
    "--smoothing-warmup-updates 2 --optimizer adam --lr 0.01 --max-tokens 100 --cpu --num-workers 0 "
    "--no-epoch-checkpoints --report-calibration --calibration-mismatch warn --max-update 63"
).split()


@pytest.fixture
def old(tmp_path):
    """A copy of the files, so that nothing is written beside them."""
    return Path(shutil.copytree(Path(__file__).with_name("golden") / "before_rooms", tmp_path / "old"))


def test_a_checkpoint_and_its_calibration_decode_as_before(old, run_cli):
    flags = ["--beam", 2, "--max-len-b", 5, "--cpu", "--calibration", old / "calibration.json"]
    path = ["--path", old / "checkpoint.pt"]
    done = run_cli(
        "fairseq-generate", old / "bin", "--user-dir", USER_DIR, "--task", "calibrated_translation", *path, *flags
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before = parse_generate_log((old / "generate.txt").read_text(encoding="utf-8"), "before")
    now = parse_generate_log(done.stdout, "now")
    assert [s.hypotheses[0].text for s in now] == [s.hypotheses[0].text for s in before]
    for sentence, expected in zip(now, before, strict=True):
        scores = sentence.hypotheses[0].positional_scores
        assert scores == pytest.approx(expected.hypotheses[0].positional_scores, abs=2e-4)  # printed with 4 decimals


def test_training_goes_on_from_it(old, run_cli, tmp_path):
    where = ["--save-dir", tmp_path / "run", "--restore-file", old / "checkpoint.pt"]
    done = run_cli("fairseq-train", old / "bin", "--user-dir", USER_DIR, *where, *TRAIN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "@ 60 updates" in done.stderr + done.stdout
    history = load_safely(tmp_path / "run/checkpoint_last.pt")["optimizer_history"]
    assert history[-1]["num_updates"] == 63


def test_a_calibration_file_is_read(old):
    calibration = load(old / "calibration.json")
    assert [type(member.calibrator) for member in calibration.members] == [Temperature]
    assert calibration.dictionary["types"] == 24
    # seven sentences' tokens at each of two times, as reliability.tsv tells
    assert {row["when"] for row in read_reliability(old)} == {"before", "after"}
