"""Sentences per second of fairseq-generate and of the exported model, as interleaved runs of the commands."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from ..analysis.score import read_system, score_tokenized
from ..decoding.export import RECORD
from ..errors import UserError

STOCK, FAST = "fairseq-generate", "labo translate"
_RATE = re.compile(r"Translated [\d,]+ sentences .*\(([\d.]+) sentences/s")


def run(args):
    """Measure what the arguments of `labo benchmark decode` ask for: (list of rows, the setting).

    `sentences_per_s` is what both commands report of themselves: the search alone (for ours with the scoring of the
    hypotheses), without imports, loading and printing; `wall_s` is the whole command. Ratios are to fairseq-generate.
    """
    for name in ("checkpoint", "data"):
        if getattr(args, name) is None:
            raise UserError(f"--{name}: missing: `decode` needs it")
    if args.repetitions < 1:
        raise UserError(f"--repetitions: {args.repetitions}: must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _call(_labo("export"), "--ctranslate2", args.checkpoint, "--data", args.data, "--out", folder / "model")
        commands = _commands(args, folder / "model")
        environment = {"OMP_NUM_THREADS": str(args.threads)} if args.threads else {}
        rates, walls = {name: [] for name in commands}, {name: [] for name in commands}
        for _ in tqdm(range(args.repetitions), desc="repetitions", disable=None):
            for name, command in commands.items():
                start = time.perf_counter()
                done = _call(command, environment=environment)
                walls[name].append(time.perf_counter() - start)
                rates[name].append(float(_RATE.search(done.stdout + done.stderr)[1]))
                (folder / name).write_text(done.stdout, encoding="utf-8")
        bleu = {name: score_tokenized(read_system(name, folder / name))[0] for name in commands}
    rows = []
    for name in commands:
        row = {
            "candidate": name,
            "sentences_per_s": statistics.median(rates[name]),
            "ratio": statistics.median(rates[name]) / statistics.median(rates[STOCK]),
            "min": min(rates[name]),
            "max": max(rates[name]),
            "wall_s": statistics.median(walls[name]),
            "wall_ratio": statistics.median(walls[STOCK]) / statistics.median(walls[name]),
            "tokenized_BLEU": bleu[name].value,
        }
        rows.append(row)
    return rows, _setting(args, bleu[STOCK].signature)


def _commands(args, model):
    record = json.loads((model / RECORD).read_text(encoding="utf-8"))
    same = ["--gen-subset", args.gen_subset, "--beam", args.beam, "--max-tokens", args.max_tokens, "--remove-bpe"]
    same += ["--max-len-a", "1.2", "--max-len-b", "10"]
    stock = shutil.which(
        "fairseq-generate", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if stock is None:
        raise UserError("fairseq-generate: not found: see labo doctor")
    languages = ["--source-lang", record["source_lang"], "--target-lang", record["target_lang"]]
    batches = ["--required-batch-size-multiple", 1, "--cpu"]
    return {
        STOCK: [stock, args.data, "--path", args.checkpoint, *languages, *same, *batches],
        FAST: [*_labo("translate"), model, "--data", args.data, *same, "--threads", args.threads],
    }


def _labo(subcommand):
    return [sys.executable, "-m", "labo_fairseq.cli", subcommand]


def _call(command, *rest, environment=None):
    line = [*map(str, [*command, *rest])]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{Path(line[0]).name}: {reason}: run it by hand: {' '.join(line)}")
    return done


def _setting(args, signature):
    names = ("torch", "fairseq", "ctranslate2", "labo_fairseq")
    return {
        "beam": args.beam,
        "max_tokens": args.max_tokens,
        "repetitions": args.repetitions,
        "threads": args.threads or os.cpu_count(),
        "device": platform.processor() or platform.machine(),
        "bleu": signature,
    } | {name: importlib.metadata.version(name) for name in names}
