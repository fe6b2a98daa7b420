"""fairseq-preprocess as a step that either gives a whole, checked folder bin/ or one clear error."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..compat.install import INSTALL_FAIRSEQ
from ..errors import UserError
from .text import progress, read_lines


def binarize(job):
    """Run fairseq-preprocess over bpe/ of a steps.Job; write bin/ for all pairs, and the log preprocess.log.

    Several pairs share one dictionary of all their training text, as fairseq's multilingual tasks want it. Raises
    UserError if fairseq fails or its sentence counts are not those of the text.

    fairseq splits --validpref and --testpref at commas, so it runs in the output folder and sees names relative to it.
    """
    out = job.out
    aside = Path(tempfile.mkdtemp(dir=out, prefix=".bin.", suffix=".part")).absolute()
    aside.chmod(out.stat().st_mode & 0o777)  # mkdtemp makes it private
    log = out / "preprocess.log"
    log.unlink(missing_ok=True)
    try:
        shared = _shared_dictionary(job, aside, log)
        for pair in job.pairs:
            _run(_command(job, pair, aside / "pair", shared), log)
            _check(job, pair, aside / "pair", log)
            for path in sorted((aside / "pair").iterdir()):
                os.replace(path, aside / path.name)
            (aside / "pair").rmdir()
        if shared:
            shutil.rmtree(shared.parent)
        (aside / "preprocess.log").unlink(missing_ok=True)  # a copy of ours; it holds times
        if (out / "bin").exists():
            shutil.rmtree(out / "bin")  # out of date, or of a run killed before it took note of it
        os.rename(aside, out / "bin")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _program():
    if importlib.util.find_spec("fairseq") is None:
        raise UserError(f"fairseq-preprocess: not found: {INSTALL_FAIRSEQ}")
    # -P: the output folder, in which it runs, is no place for modules
    return [sys.executable, "-P", "-m", f"{__package__}.preprocess"]


def _command(job, pair, destination, shared):
    command = [*_program(), "--source-lang", pair[0], "--target-lang", pair[1], "--destdir", str(destination)]
    prefixes = [f"bpe/{job.label(split, pair)}" for split in job.corpus.splits]
    command += ["--trainpref", prefixes[0], "--validpref", prefixes[1], "--testpref", ",".join(prefixes[2:])]
    if job.recipe.dictionaries:
        for side, language in zip(("src", "tgt"), pair, strict=True):
            path = Path(job.recipe.dictionaries).absolute() / f"dict.{language}.txt"
            command += [f"--{side}dict", str(path)]
    elif shared or job.recipe.dictionary == "joined":
        command.append("--joined-dictionary")
    if shared:
        command += ["--srcdict", str(shared)]
    # fairseq does the first part of every text itself, after its workers have done theirs
    return [*command, "--workers", str(job.workers + (job.workers > 1))]


def _shared_dictionary(job, aside, log):
    """The path of the dictionary of all pairs' training text; None where there is one pair, which has its own."""
    if len(job.pairs) == 1 or job.recipe.dictionaries:
        return None
    folder = aside / "shared"
    folder.mkdir()
    with open(folder / "train.all", "wb") as joint:
        for _, _, path in job.texts("bpe", ("train",)):
            with open(path, "rb") as stream:
                shutil.copyfileobj(stream, joint)
    # --only-source: one "language" whose text is that of all
    _run([*_program(), "--only-source", "--dict-only", "--source-lang", "all", "--trainpref", str(folder / "train"),
          "--destdir", str(folder), "--workers", str(job.workers)], log)  # fmt: skip
    return folder / "dict.all.txt"


def _run(command, log):
    # close_fds=False: fairseq inherits the lock on the folder, so that the orphan of a killed run is waited for
    start = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "close_fds": False, "cwd": log.parent}
    with open(log, "ab") as copy, subprocess.Popen(command, **start) as process:
        for line in progress(process.stdout, "fairseq-preprocess", "lines of log"):
            copy.write(line)
            copy.flush()
    if process.returncode:
        raise UserError(f"fairseq-preprocess: ended with code {process.returncode}: {_last_line(log)}: see {log}")


def _check(job, pair, folder, log):
    """Look at what fairseq wrote: its exit code is 0 on files that do not fit together, too."""
    names = [*job.corpus.splits[:2], *(f"test{n or ''}" for n in range(len(job.corpus.splits) - 2))]
    for split, name in zip(job.corpus.splits, names, strict=True):
        for language in pair:
            index = folder / f"{name}.{'-'.join(pair)}.{language}.idx"
            if not index.exists():
                raise UserError(f"fairseq-preprocess: {index.name} is missing: see {log}")
            found = _sentences(index)
            expected = sum(1 for _ in read_lines(job.text("bpe", split, pair, language)))
            if found != expected:
                raise UserError(
                    f"fairseq-preprocess: {index.name} has {found} sentences, the text {expected}: see {log}"
                )


def _sentences(index):
    # fairseq's mmap index: 9 bytes magic, 8 version, 1 type, then the number of sentences
    with open(index, "rb") as stream:
        return int.from_bytes(stream.read(26)[18:], "little")


def _last_line(log):
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
