"""What the tests of `labo prepare` share: a tiny raw corpus and a way to run the command."""

import random

import pytest
from labo_fairseq.data_prep import steps

from labo_fairseq.cli import main

SIZES = {"train": 40, "val": 6, "test_2016_flickr": 6}


@pytest.fixture
def raw(tmp_path):
    """A folder of raw text in the layout of Multi30k, German and English, a few dozen pairs."""
    folder = tmp_path / "raw_text"
    folder.mkdir()
    rng = random.Random(1)
    nouns = [("Hund", "dog"), ("Hut", "hat"), ("Ball", "ball"), ("Baum", "tree"), ("Mann", "man"), ("Berg", "mountain")]
    verbs = [("sieht", "sees"), ("malt", "paints"), ("hat", "has"), ("kauft", "buys")]
    for name, size in SIZES.items():
        german, english = [], []
        for _ in range(size):
            (one, eins), (verb, does), (other, zwei) = rng.choice(nouns), rng.choice(verbs), rng.choice(nouns)
            german.append(f"Ein {one} {verb} den {other}.\n")
            english.append(f"A {eins} {does} the {zwei}.\n")
        (folder / f"{name}.de").write_text("".join(german), encoding="utf-8")
        (folder / f"{name}.en").write_text("".join(english), encoding="utf-8")
    return folder


@pytest.fixture
def prepare(raw, tmp_path, capsys):
    """Function: prepare(*more, out=) runs `labo prepare multi30k` on `raw`; returns (exit code, lines of stderr)."""

    def run(*more, out=tmp_path / "out"):
        command = [
            "prepare",
            "multi30k",
            "--source",
            "de",
            "--target",
            "en",
            "--bpe-operations",
            "30",
            "--workers",
            "1",
        ]
        code = main([*command, "--raw-dir", str(raw), "--out", str(out), *more])
        return code, capsys.readouterr().err.rstrip("\n").split("\n")

    return run


@pytest.fixture
def no_fairseq(monkeypatch):
    """Replace the last step, which takes seconds to start fairseq, where a test is about the others."""

    def write_bin(job):
        (job.out / "bin").mkdir(exist_ok=True)
        (job.out / "bin/text").write_bytes(job.texts("bpe", ["train"])[0][2].read_bytes())

    monkeypatch.setitem(steps.STEPS, "bin", write_bin)
