"""`labo prepare` runs fairseq-preprocess with faster loops: fairseq-preprocess itself says which bytes are right."""

import random
import subprocess
import sys

import pytest

# fairseq splits at white space of every kind; the words of valid that train lacks become <unk>
ODD = ["", " ", "a\u2028b\u00a0c", "<unk> <s> </s> <pad>", "\tx  y\x0bz ", "日本 🙂 é", "unseen words here", "a" * 300]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "preprocess.log"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The folder of train and valid, de and en: 301 lines, and the odd ones."""
    folder, rng = tmp_path_factory.mktemp("text"), random.Random(3)
    for name, size, words in (("train", 301, 60), ("valid", 20, 90)):
        for code in ("de", "en"):
            lines = [
                " ".join(f"{code}{rng.randrange(words)}@@" for _ in range(rng.randint(1, 30))) for _ in range(size)
            ]
            lines += ODD if name == "valid" else ODD[:-2]
            (folder / f"{name}.{code}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--joined-dictionary", "--workers", "1"], marks=pytest.mark.slow),
        pytest.param(["--workers", "4"], marks=pytest.mark.slow),
        ["--joined-dictionary", "--workers", "3", "--thresholdsrc", "3"],
        pytest.param(["--only-source", "--workers", "2"], marks=pytest.mark.slow),
    ],
)
def test_files_are_those_of_fairseq_preprocess(options, text, run_cli, tmp_path):
    arguments = [
        "--source-lang",
        "de",
        "--trainpref",
        str(text / "train"),
        "--validpref",
        str(text / "valid"),
        *options,
    ]
    arguments += [] if "--only-source" in options else ["--target-lang", "en"]
    theirs = run_cli("fairseq-preprocess", *arguments, "--destdir", tmp_path / "theirs")
    assert theirs.returncode == 0, theirs.stderr
    ours = [sys.executable, "-P", "-m", "labo_fairseq.data_prep.preprocess", *arguments]
    done = subprocess.run([*ours, "--destdir", str(tmp_path / "ours")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = contents(tmp_path / "theirs")
    assert len(expected) >= 5
    assert contents(tmp_path / "ours") == expected
    assert len(_counted(theirs)) >= 2
    assert _counted(done) == _counted(theirs)


def _counted(done):
    """What fairseq says about sentences, tokens and unknown words."""
    return [line.partition("] ")[2] for line in (done.stdout + done.stderr).split("\n") if "replaced" in line]
