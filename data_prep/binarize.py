"""fairseq-preprocess as a step that either gives a whole, checked folder bin/ or one clear error."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import UserError
from .text import read_lines


def binarize(out, languages, splits, workers):
    """Run fairseq-preprocess with a joined dictionary over out/bpe; write out/bin, and the log out/preprocess.log.

    languages: (source, target). Raises UserError if it fails or its sentence counts are not those of the text.
    """
    aside = Path(tempfile.mkdtemp(dir=out, prefix=".bin.", suffix=".part"))
    aside.chmod(out.stat().st_mode & 0o777)  # mkdtemp makes it private
    log = out / "preprocess.log"
    with open(log, "wb") as stream:
        code = subprocess.run(
            _command(out, languages, splits, workers, aside), stdout=stream, stderr=subprocess.STDOUT, close_fds=False
        ).returncode
    (aside / "preprocess.log").unlink(missing_ok=True)  # a copy of ours; it holds times
    fault = f"ended with code {code}: {_last_line(log)}" if code else _fault_of(aside, out, languages, splits)
    if fault:
        shutil.rmtree(aside)
        raise UserError(f"fairseq-preprocess: {fault}: see {log}")
    if (out / "bin").exists():
        shutil.rmtree(out / "bin")  # out of date, or of a run killed before it took note of it
    os.rename(aside, out / "bin")


def _command(out, languages, splits, workers, destination):
    beside = Path(sys.executable).parent / "fairseq-preprocess"
    program = str(beside) if beside.exists() else shutil.which("fairseq-preprocess")
    if not program:
        raise UserError("fairseq-preprocess: not found: pip install --no-deps fairseq==0.12.2")
    prefixes = [word for split in splits for word in (f"--{split}pref", str(out / "bpe" / split))]
    return [
        program, *prefixes, "--source-lang", languages[0], "--target-lang", languages[1], "--joined-dictionary",
        "--destdir", str(destination), "--workers", str(workers),
    ]  # fmt: skip


def _fault_of(folder, out, languages, splits):
    """What is wrong with fairseq's files, or None; its exit code is 0 on files that do not fit together, too."""
    pair = "-".join(languages)
    for split in splits:
        for language in languages:
            index = folder / f"{split}.{pair}.{language}.idx"
            if not index.exists():
                return f"{index.name} is missing"
            found, expected = _sentences(index), sum(1 for _ in read_lines(out / "bpe" / f"{split}.{language}"))
            if found != expected:
                return f"{index.name} has {found} sentences, the text {expected}"
    return None


def _sentences(index):
    # fairseq's mmap index: 9 bytes magic, 8 version, 1 type, then the number of sentences
    return int.from_bytes(index.read_bytes()[18:26], "little")


def _last_line(log):
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
