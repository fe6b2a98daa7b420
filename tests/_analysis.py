"""Hand-made logs and a way to run the command, shared by the tests of the analysis layer."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write(path, text):
    """Write UTF-8 text with exactly these line ends; returns the path as a string."""
    Path(path).write_bytes(text.encode("utf-8"))
    return str(path)


def labo(*arguments, cwd=None, env=None, program="from labo_fairseq.cli import main; import sys; sys.exit(main())"):
    """Run `labo ARGUMENTS` in a process of its own, from this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **(env or {})}
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


# a prepared corpus and runs on it

WORDS = "a dog cat man woman runs sleeps sees the red blue small old tree house well-known bench meadow".split()


def sentences(number, seed=1):
    """Made-up sentences of 4 to 12 words with a full stop, as lists of words; common words are common."""
    rng = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [[*rng.choices(WORDS, weights, k=rng.randint(4, 12)), "."] for _ in range(number)]


def detokenized(words):
    return " ".join(words).replace(" .", ".")


def prepared_corpus(path, number=60, odd=None):
    """A folder as `labo prepare` leaves it, de to en; `odd` is put into the first source and reference."""
    test = sentences(number)
    if odd:
        test[0] = [*odd.split(), *test[0]]
    train = sentences(300, seed=2)
    counts = Counter(f"{word}@@" if word == "well-known" else word for line in train for word in line)
    for kind in ("raw", "tok", "bpe", "bin"):
        (Path(path) / kind).mkdir(parents=True)
    for part, lines in (("test", test), ("train", train)):
        for language in ("de", "en"):
            write(f"{path}/raw/{part}.{language}", "".join(detokenized(line) + "\n" for line in lines))
            write(f"{path}/tok/{part}.{language}", "".join(" ".join(line) + "\n" for line in lines))
            subwords = (" ".join(line).replace("well-known", "well-known@@") for line in lines)
            write(f"{path}/bpe/{part}.{language}", "".join(line + "\n" for line in subwords))
    for language in ("de", "en"):
        extra = dict.fromkeys((odd or "").split(), 1)
        write(f"{path}/bin/dict.{language}.txt", "".join(f"{w} {c}\n" for w, c in {**counts, **extra}.items()))
    manifest = {"corpus": "embedded", "source": "de", "target": "en", "synthetic": True, "lowercased": True}
    write(f"{path}/manifest.json", json.dumps(manifest))
    return Path(path)


def finished_run(path, corpus, errors, seed=1, criterion="labo", odd=None):
    """A run folder whose translations are the references with a share `errors` of the words exchanged."""
    rng = random.Random(seed)
    Path(path).mkdir(parents=True)
    log = []
    for i, line in enumerate(Path(corpus, "tok", "test.en").read_text(encoding="utf-8").splitlines()):
        words = [rng.choice(WORDS) if rng.random() < errors else word for word in line.split()]
        words = [*odd.split(), *words] if odd and not i else words
        scores = [-rng.random() for _ in range(len(words) + 1)]
        log.append(entry(i, " ".join(words), detokenized(words), line, line, -rng.random(), scores))
    rng.shuffle(log)
    write(Path(path, "generate-test.txt"), "".join(log))
    write(Path(path, "data"), str(corpus) + "\n")
    arguments = ["fairseq-train", "bin", "--criterion", criterion, "--seed", str(seed), "--save-dir", str(path)]
    write(Path(path, "command.json"), json.dumps([*arguments, "--max-update", "1200"]))
    lines = [CONFIG, inner(100), valid(600, 3.0), epoch_end(1, 600, 100), valid(1200, 2.5, epoch=2)]
    write(Path(path, "train.log"), "\n".join([*lines, epoch_end(2, 1200, 140)]) + "\n")
    return Path(path)
