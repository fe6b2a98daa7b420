"""Hand-made logs and a way to run the command, shared by the tests of the analysis layer."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write(path, text):
    """Write UTF-8 text with exactly these line ends; returns the path as a string."""
    Path(path).write_bytes(text.encode("utf-8"))
    return str(path)


def labo(*arguments, cwd=None, program="from labo_fairseq.cli import main; import sys; sys.exit(main())"):
    """Run `labo ARGUMENTS` in a process of its own, from this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )


def sacrebleu(*arguments):
    """Standard output of the real sacrebleu command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SACREBLEU")}
    command = [sys.executable, "-m", "sacrebleu", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True).stdout.strip()


def entry(i, hypothesis, detokenized=None, source="quelle", target="target", score=-0.5, positional=None):
    """The lines of one sentence as fairseq-generate prints them."""
    if positional is None:
        positional = [-0.25] * (len(hypothesis.split()) + 1)
    detokenized = hypothesis if detokenized is None else detokenized
    return (
        f"S-{i}\t{source}\nT-{i}\t{target}\nH-{i}\t{score}\t{hypothesis}\nD-{i}\t{score}\t{detokenized}\n"
        f"P-{i}\t{' '.join(f'{p:.4f}' for p in positional)}\n"
    )
