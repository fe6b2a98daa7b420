"""Killed after any step, or at any moment, with any number of workers: the same bytes."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import _ted as ted
import pytest
from labo_fairseq.data_prep.moses import Moses
from labo_fairseq.data_prep.parallel import Pool
from labo_fairseq.data_prep.subword import Segmenter, learn

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError

DATA = Path(__file__).resolve().parents[3] / "shared/data/multi30k"
LABO = [sys.executable, "-m", "labo_fairseq.cli", "prepare"]
# ends the process, as SIGKILL does, when it has written the manifest for the n-th time
DRIVER = """
import os, signal, sys
from labo_fairseq import cli
from labo_fairseq.data_prep import pipeline
left, save = int(sys.argv.pop(1)), pipeline._save
def dying(*args):
    global left
    save(*args)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
pipeline._save = dying
sys.exit(cli.main())
"""


def contents(out):
    """{name: bytes} of everything in the folder but the lock and the log, which holds times."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.name not in (".lock", "preprocess.log")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_killed_after_every_step(tmp_path):
    raw = ted.wmt14(tmp_path / "raw")
    arguments = ["wmt14", "--source", "en", "--target", "de", "--raw-dir", str(raw), "--bpe-operations", "60"]
    assert main(["prepare", *arguments, "--out", str(tmp_path / "whole"), "--workers", "1"]) == 0
    out = tmp_path / "killed"
    for after in range(2, 8):  # the first writing says which steps are done, one follows each of the six steps
        command = [sys.executable, "-c", DRIVER, "2", "prepare", *arguments, "--out", str(out), "--workers", "1"]
        done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
        assert done.returncode == -signal.SIGKILL, after
        assert not (out / "manifest.json").exists()
        finished = {entry["step"] for entry in json.loads((out / ".manifest.json").read_text())["files"].values()}
        assert len(finished) == after - 1
    assert main(["prepare", *arguments, "--out", str(out), "--workers", "2"]) == 0
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the raw text of Multi30k is not in {DATA}")
@pytest.mark.slow
def test_killed_at_ten_random_moments_on_the_whole_corpus(tmp_path):
    arguments = ["multi30k", "--source", "de", "--target", "en", "--raw-dir", str(DATA)]
    subprocess.run([*LABO, *arguments, "--out", str(tmp_path / "whole")], check=True, cwd=tmp_path)
    command = [*LABO, *arguments, "--out", str(tmp_path / "killed")]
    rng, kills = random.Random(3), 0
    while kills < 10:
        process = subprocess.Popen(command, cwd=tmp_path)
        try:
            process.wait(timeout=1 + 9 * rng.random() + kills)
            assert process.returncode == 0
            (tmp_path / "killed/manifest.json").unlink()  # finished too soon: the last steps are checked again
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run(command, check=True, cwd=tmp_path)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_lines(workers, tmp_path):
    pairs = [*ted.sentences(6000, 1), *ted.ODD] * 2
    text = [german for german, _ in pairs]
    tokenize = Moses("de", lowercase="after")
    alone = [tokenize.build()(line) for line in text]
    learn("bpe", iter(alone), 50, tmp_path / "codes")
    learn("sentencepiece", iter(alone), 400, tmp_path / "model")
    with Pool(workers) as pool:
        assert list(pool.map(tokenize, iter(text))) == alone
        for kind, name in (("bpe", "codes"), ("sentencepiece", "model")):
            segment = Segmenter(kind, str(tmp_path / name))
            assert list(pool.map(segment, iter(alone))) == list(map(segment.build(), alone))


def test_error_in_the_input_of_workers_is_the_readers(tmp_path):
    (tmp_path / "text").write_bytes(b"good\n" * 5000 + b"b\xffd\n")
    from labo_fairseq.data_prep.text import read_lines

    with (
        Pool(2) as pool,
        pytest.raises(UserError, match="text:5001: not UTF-8 at byte 1 of the line, 25001 of the text"),
    ):
        list(pool.map(Moses("de"), read_lines(tmp_path / "text")))


class Deadly:
    """A line function that kills its process."""

    def build(self):
        return lambda line: os.kill(os.getpid(), signal.SIGKILL)


def test_killed_worker_is_one_clear_line():
    with Pool(2) as pool, pytest.raises(UserError, match="a worker process was killed"):
        list(pool.map(Deadly(), iter(["line"])))


def test_workers_die_with_their_parent(tmp_path):
    code = """
import os, signal, sys, time
from labo_fairseq.data_prep.moses import Moses
from labo_fairseq.data_prep.parallel import Pool
if __name__ == "__main__":
    pool = Pool(2)
    list(pool.map(Moses("de"), iter(["a"] * 9000)))
    print(*pool._executor._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "parent.py").write_text(code)
    done = subprocess.run(
        [sys.executable, tmp_path / "parent.py"], capture_output=True, text=True, check=False, timeout=60
    )
    # stdout is a pipe that the workers hold open too: that run() came back at all says that they are gone
    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.split()) == 2


@pytest.fixture
def user_text(tmp_path):
    for split, seed, count in (("train", 1, 60), ("dev", 2, 5), ("news", 3, 4), ("talks", 4, 3)):
        for side, code in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in ted.sentences(count, seed))
            ted.write(tmp_path / f"my/{split}.{code}", text)
    english = tmp_path / "my/train.en"
    (tmp_path / "my/train.en.gz").write_bytes(gzip.compress(english.read_bytes()))
    english.unlink()
    return tmp_path / "my"


def files(folder, out, *more):
    command = ["prepare", "files", "--source", "de", "--target", "en", "--workers", "1", "--bpe-operations", "30"]
    command += ["--train", str(folder / "train"), "--valid", str(folder / "dev"), "--test", str(folder / "news")]
    return main([*command, "--test", str(folder / "talks"), "--out", str(out), *more])


def test_own_files_with_two_test_sets(user_text, tmp_path):
    out = tmp_path / "out"
    assert files(user_text, out) == 0
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["pairs"] == {"train": 60, "valid": 5, "test": 4, "test1": 3}
    assert manifest["raw_files"]["train.de-en.en"]["lines"] == 60
    assert {"test.de-en.de.idx", "test1.de-en.en.idx"} <= {path.name for path in (out / "bin").iterdir()}
    assert manifest["recipe"]["lowercase"] is None


@pytest.mark.usefixtures("no_fairseq")
def test_own_files_cleaned(user_text, tmp_path):
    with open(user_text / "train.de", "a", encoding="utf-8") as german:
        german.write("viel " * 30 + "\n")
    english = gzip.decompress((user_text / "train.en.gz").read_bytes())
    (user_text / "train.en.gz").write_bytes(gzip.compress(english + b"much\n"))
    assert files(user_text, tmp_path / "out", "--max-ratio", "1.5", "--tokenizer", "none", "--lowercase") == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text(encoding="utf-8"))
    assert manifest["removed"] == {"train": {"ratio": 1}}
    assert (tmp_path / "out/tok/test.en").read_text().splitlines()[0].endswith(".")
    assert (tmp_path / "out/tok/test.en").read_text().startswith("a ")


def test_own_file_that_is_missing(user_text, tmp_path, capsys):
    (user_text / "talks.en").unlink()
    assert files(user_text, tmp_path / "out") == 2
    assert f"{user_text}/talks.en: missing, and {user_text}/talks.en.gz as well" in capsys.readouterr().err


def test_own_file_with_its_language(user_text, tmp_path, capsys):
    assert files(user_text, tmp_path / "out", "--train", str(user_text / "train.de")) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"train.de.de.gz as well: name both files without their language: {user_text}/train\n")


@pytest.mark.usefixtures("no_fairseq")
def test_verify(user_text, tmp_path, capsys):
    out = tmp_path / "out"
    files(user_text, out)
    capsys.readouterr()
    assert main(["prepare", "--verify", str(out)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["file", "lines", "sha256", "state"]
    assert {row[3] for row in rows[1:]} == {"ok"}
    assert ["raw/test1.de", "3"] in [row[:2] for row in rows]
    (out / "tok/test.de").write_text("Anders.\n")
    (out / "bpe/codes").unlink()
    assert main(["prepare", "--verify", str(out)]) == 2
    output = capsys.readouterr()
    assert f"2 of {len(rows) - 1} files are not those of the manifest (tok/test.de is changed)" in output.err
    assert [line.split("\t")[3] for line in output.out.splitlines() if "codes" in line] == ["missing"]
    assert files(user_text, out) == 0
    assert main(["prepare", "--verify", str(out)]) == 0


def test_verify_needs_a_manifest(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text('{"files": {"a": 1}}')
    assert main(["prepare", "--verify", str(tmp_path)]) == 2
    assert "not a manifest of labo prepare" in capsys.readouterr().err
