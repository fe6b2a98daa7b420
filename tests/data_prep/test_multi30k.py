"""Multi30k on the real text, where it lies beside the checkout."""

import gzip
from pathlib import Path

import pytest
from labo_fairseq.data_prep.multi30k import RECIPE
from labo_fairseq.data_prep.text import read_lines

from labo_fairseq.cli import main

DATA = Path(__file__).resolve().parents[3] / "shared/data/multi30k"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"the raw text of Multi30k is not in {DATA}")


@pytest.mark.parametrize(
    ("language", "line", "expected"),
    [
        # what the corpus's own pipe lowercase.perl | normalize-punctuation.perl | tokenizer.perl makes of such lines
        ("en", "A man's well-known dog.", "a man &apos;s well-known dog ."),
        ("en", "Two men (one of them old) ...", "two men ( one of them old ) ..."),
        ("de", "Ein Schild sagt: „Halt.“", "ein schild sagt : &quot; halt &quot; ."),
        ("de", "Zwei  Männer – im T-Shirt.", "zwei männer - im t-shirt ."),
        ("fr", "L'homme a un coup d’œil.", "l&apos; homme a un coup d &quot; œil ."),
    ],
)
def test_recipe(language, line, expected):
    assert RECIPE.tokenize(language, "train").build()(line) == expected


@real
def test_words_of_the_german_test_set():
    """12,103 words: the reference length that published baselines print for this tokenization (Wu et al. 2021)."""
    tokenize = RECIPE.tokenize("de", "test").build()
    assert sum(len(tokenize(line).split()) for line in read_lines(DATA / "test_2016_flickr.de.gz")) == 12103


@real
def test_excerpt(tmp_path):
    raw = tmp_path / "excerpt"
    raw.mkdir()
    for name, count in (("train", 500), ("val", 50), ("test_2016_flickr", 50)):
        for language in ("en", "de"):
            with gzip.open(DATA / f"{name}.{language}.gz") as stream:
                (raw / f"{name}.{language}").write_bytes(b"".join(stream.readlines()[:count]))
    out = tmp_path / "out"
    arguments = ["--raw-dir", str(raw), "--out", str(out), "--bpe-operations", "500"]
    assert main(["prepare", "multi30k", "--source", "en", "--target", "de", *arguments]) == 0
    assert (out / "tok/train.en").read_text(encoding="utf-8").count("\n") == 500
    assert (out / "bin/train.en-de.en.idx").exists()


@real
@pytest.mark.slow
def test_whole_corpus(tmp_path):
    """29,000/1,014/1,000 pairs; 9,708 subword types, as many as in the baselines of Wu et al. 2021."""
    out = tmp_path / "out"
    arguments = ["--raw-dir", str(DATA), "--out", str(out)]
    assert main(["prepare", "multi30k", "--source", "en", "--target", "de", *arguments]) == 0
    for split, count in (("train", 29000), ("valid", 1014), ("test", 1000)):
        assert (out / f"bpe/{split}.de").read_bytes().count(b"\n") == count
    assert (out / "bin/dict.de.txt").read_bytes().count(b"\n") == 9708
