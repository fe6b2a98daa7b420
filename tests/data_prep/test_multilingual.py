"""Several pairs of languages in one folder, as fairseq's multilingual tasks read it."""

import json

import pytest

from labo_fairseq.cli import main

WORDS = {"de": "Ein Hund sieht den Ball.", "en": "A dog sees the ball.", "fr": "Un chien voit la balle."}


@pytest.fixture
def three(tmp_path):
    """Multi30k's files in three languages, a few lines each."""
    folder = tmp_path / "three"
    folder.mkdir()
    for name, count in (("train", 30), ("val", 3), ("test_2016_flickr", 4)):
        for code, text in WORDS.items():
            (folder / f"{name}.{code}").write_text(f"{text}\n{text.upper()}\n" * count, encoding="utf-8")
    return folder


def prepare(three, out, *more, source="de,fr", target="en"):
    command = [
        "prepare",
        "multi30k",
        "--source",
        source,
        "--target",
        target,
        "--raw-dir",
        str(three),
        "--out",
        str(out),
    ]
    return main([*command, "--bpe-operations", "40", "--workers", "1", *more])


@pytest.mark.slow
def test_fairseq_reads_it(three, tmp_path, run_cli):
    out = tmp_path / "out"
    assert prepare(three, out) == 0
    folder = out / "bin"
    dictionaries = {(folder / f"dict.{code}.txt").read_bytes() for code in WORDS}
    assert len(dictionaries) == 1
    # counted over both pairs: each side of train has 60 lines, the English one twice
    counts = dict(line.split(" ") for line in dictionaries.pop().decode().splitlines())
    text = "".join(
        (out / f"bpe/train.{label}").read_text() for label in ("de-en.de", "de-en.en", "fr-en.fr", "fr-en.en")
    )
    assert {word: int(count) for word, count in counts.items() if "madeup" not in word} == {
        word: text.split().count(word) for word in set(text.split())
    }
    names = {
        f"{split}.{pair}-en.{code}.idx"
        for split in ("train", "valid", "test")
        for pair in ("de", "fr")
        for code in (pair, "en")
    }
    assert names <= {path.name for path in folder.iterdir()}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["pairs"] == {
        "train.de-en": 60, "train.fr-en": 60, "valid.de-en": 6, "valid.fr-en": 6, "test.de-en": 8, "test.fr-en": 8,
    }  # fmt: skip
    small = "--encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8".split()
    small += "--encoder-layers 1 --decoder-layers 1 --encoder-attention-heads 1 --decoder-attention-heads 1".split()
    run = "--max-update 2 --max-tokens 200 --optimizer adam --lr 0.001 --cpu --no-save --no-progress-bar".split()
    tasks = {
        "multilingual_translation": ["--arch", "multilingual_transformer", "--share-decoders"],
        "translation_multi_simple_epoch": ["--arch", "transformer", "--langs", "de,en,fr"],
    }
    for task, more in tasks.items():
        command = [folder, "--task", task, "--lang-pairs", "de-en,fr-en", *more, *small, *run]
        done = run_cli("fairseq-train", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "fr-en" in done.stderr + done.stdout


@pytest.mark.slow
def test_one_to_many(three, tmp_path):
    out = tmp_path / "out"
    assert prepare(three, out, source="en", target="de,fr") == 0
    assert {path.name for path in (out / "bin").glob("train.*.idx")} == {
        "train.en-de.en.idx", "train.en-de.de.idx", "train.en-fr.en.idx", "train.en-fr.fr.idx",
    }  # fmt: skip


def test_default_folder_has_no_comma(three, tmp_path, monkeypatch, no_fairseq, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["prepare", "multi30k", "--source", "de,fr", "--target", "en", "--raw-dir", str(three), "--workers", "1"]
    assert main([*command, "--subword", "sentencepiece", "--vocabulary-size", "60"]) == 0
    assert capsys.readouterr().out == "data/multi30k.de_fr-en/bin\n"
    assert "▁" in (tmp_path / "data/multi30k.de_fr-en/bpe/train.fr-en.fr").read_text(encoding="utf-8")
