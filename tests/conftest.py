"""What all tests share: a tiny corpus, binarized by fairseq, and a way to run the installed console commands."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from labo_fairseq.compat.torchvision_ops import import_torchvision

# a busy machine is no reason to fail
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# a shell ignores Ctrl-C for what it starts in the background, and so would the commands that the tests interrupt
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BIN = Path(sys.executable).parent
TYPES = 20
SPLITS = {"train": 60, "valid": 12, "test": 12}


def _run_cli(command, *args, cwd=None, env=None, timeout=300):
    # one thread: the models are tiny, and threads would only wait for each other
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    path = BIN / command
    line = [str(path), *map(str, args)]
    return subprocess.run(line, cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True)


@pytest.fixture(scope="session")
def run_cli():
    """Function: run_cli("fairseq-train", *args, cwd=, env=, timeout=) -> CompletedProcess with the output as text.

    The command is the one beside the running Python, whatever the PATH says.
    """
    return _run_cli


@pytest.fixture(scope="session")
def torchmetrics():
    """The module; it imports torchvision where there is one, which beside a CPU-only torch needs our mend first."""
    if importlib.util.find_spec("torchvision"):
        import_torchvision()
    return pytest.importorskip("torchmetrics")


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory):
    """Folder with {train,valid,test}.{de,en}: word i of a sentence is d7 on one side and e7 on the other."""
    folder = tmp_path_factory.mktemp("tiny_text")
    rng = random.Random(1)
    for split, sentences in SPLITS.items():
        words = [[rng.randrange(TYPES) for _ in range(rng.randint(2, 9))] for _ in range(sentences)]
        for language, letter in (("de", "d"), ("en", "e")):
            lines = "".join(" ".join(f"{letter}{word}" for word in line) + "\n" for line in words)
            (folder / f"{split}.{language}").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_bin(tiny_text, tmp_path_factory, run_cli):
    """Folder as fairseq-preprocess makes it: de-en, joined dictionary, train, valid and test of `tiny_text`."""
    folder = tmp_path_factory.mktemp("tiny") / "bin"
    prefixes = [word for split in SPLITS for word in (f"--{split}pref", tiny_text / split)]
    done = run_cli("fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, "--destdir", folder, "--joined-dictionary")
    assert done.returncode == 0, done.stderr
    return folder
