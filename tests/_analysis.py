"""Hand-made logs and a way to run the command, shared by the tests of the analysis layer."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


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


# lines of a training log

RESUMED = Path(__file__).parent / "analysis" / "data" / "resumed_train.log"
CONFIG = (
    "{'_name': None, 'common': {'_name': None, 'seed': 1}, 'model': Namespace(no_progress_bar=False, x=[0.1]), "
    "'optimization': {'_name': None, 'max_update': 1200}, 'criterion': {'_name': 'labo', 'rho': 0.5}, 'ema': None}"
)


def inner(update, wall=2, epoch=1, nll=5.0):
    values = {"loss": "6.5", "nll_loss": str(nll), "ups": "3.25", "wpb": "512.5", "num_updates": str(update)}
    return json.dumps({"epoch": epoch, "update": 0.5, **values, "train_wall": str(wall), "wall": "9"})


def valid(update, nll, epoch=1, **more):
    values = {"loss": "6.0", "nll_loss": str(nll), "ppl": "32.00", "num_updates": str(update), **more}
    return json.dumps({"epoch": epoch, **{f"valid_{key}": value for key, value in values.items() if value is not None}})


def epoch_end(epoch, update, wall):
    return json.dumps(
        {"epoch": epoch, "train_num_updates": str(update), "train_train_wall": str(wall), "train_wall": "0"}
    )
