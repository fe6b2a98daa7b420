"""`labo prepare` with the subwords and dictionaries of an existing model, and subword-nmt's vocabulary threshold."""

import json
from collections import Counter

import pytest

from labo_fairseq.cli import main

quickly = pytest.mark.usefixtures("no_fairseq")
CODES = "#version: 0.2\nh u\nhu n\nhun d</w>\n"


@pytest.fixture
def run(raw, tmp_path, capsys):
    """Function: run(*flags, out=) prepares `raw`; returns (exit code, last line of standard error)."""

    def prepare(*flags, out="out"):
        line = ["prepare", "multi30k", "--source", "de", "--target", "en", "--workers", "1", "--raw-dir", str(raw)]
        code = main([*line, "--out", str(tmp_path / out), *map(str, flags)])
        return code, capsys.readouterr().err.splitlines()[-1]

    return prepare


def words(path):
    return path.read_text(encoding="utf-8").split()


@quickly
def test_the_merges_of_an_existing_model(run, tmp_path):
    """Three merges that make "hund" of its letters, and nothing else: all other words come in letters."""
    codes = tmp_path / "old.codes"
    codes.write_text(CODES, encoding="utf-8")
    assert run("--codes", codes)[0] == 0
    assert (tmp_path / "out/bpe/codes").read_bytes() == codes.read_bytes()
    german, english = ({w.removesuffix("@@") for w in words(tmp_path / f"out/bpe/train.{x}")} for x in ("de", "en"))
    assert "hund" in german and {w for w in german if len(w) > 1} <= {"hund", "hu", "hun"}
    assert all(len(w) == 1 for w in english - {"hu", "hun"})
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert list(manifest["existing"]) == ["old.codes"] and str(tmp_path) not in json.dumps(manifest)
    codes.write_text("#version: 0.2\nh u\n", encoding="utf-8")  # another file of that name makes another corpus
    code, line = run("--codes", codes)
    assert code == 2 and "made with other parameters (existing" in line


def test_the_dictionaries_of_an_existing_model(run, tmp_path):
    """One is in another order than counting would give, the other lacks a word: they are taken as they are."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old/dict.de.txt").write_text("hund 3\nein 2\nden 1\n")
    (tmp_path / "old/dict.en.txt").write_text("the 7\na 9\n")
    (tmp_path / "codes").write_text("#version: 0.2\nt h\nth e</w>\n", encoding="utf-8")
    code, line = run("--codes", tmp_path / "codes", "--dictionaries", tmp_path / "old")
    assert code == 0, line
    for name in ("dict.de.txt", "dict.en.txt"):
        found = (tmp_path / "out/bin" / name).read_text().splitlines()
        given = (tmp_path / "old" / name).read_text().splitlines()
        assert [line for line in found if not line.startswith("madeupword")] == given
    from fairseq.data import Dictionary, data_utils

    english = Dictionary.load(str(tmp_path / "out/bin/dict.en.txt"))
    ids = data_utils.load_indexed_dataset(str(tmp_path / "out/bin/train.de-en.en"), english)[0]
    assert english.index("the") in ids.tolist() and english.unk() in ids.tolist()


@quickly
@pytest.mark.parametrize("threshold", [12, 20])
def test_rare_subwords_are_split(run, tmp_path, threshold):
    """What is left is a single letter, or was seen often enough in training of that language, before the splitting."""
    plain = run("--bpe-operations", 30, out="plain")
    code, line = run("--bpe-operations", 30, "--vocabulary-threshold", threshold)
    assert plain[0] == code == 0, line
    rare = 0
    for language in ("de", "en"):
        before = Counter(words(tmp_path / f"plain/bpe/train.{language}"))
        rare += sum(count < threshold and len(w.removesuffix("@@")) > 1 for w, count in before.items())
        counted = dict(line.split() for line in (tmp_path / f"out/bpe/vocab.{language}").read_text().splitlines())
        assert {word: int(count) for word, count in counted.items()} == before
        for part in ("train", "valid", "test"):
            found = words(tmp_path / f"out/bpe/{part}.{language}")
            assert all(before[w] >= threshold or len(w.removesuffix("@@")) == 1 for w in found)
            text = " ".join(found).replace("@@ ", "")
            assert text.split() == words(tmp_path / f"out/tok/{part}.{language}")
    assert rare  # otherwise there was nothing to split
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["recipe"]["vocabulary_threshold"] == threshold and "bpe/vocab.de" in manifest["files"]
    assert "vocabulary_threshold" not in json.loads((tmp_path / "plain/manifest.json").read_text())["recipe"]


@quickly
@pytest.mark.parametrize(
    "flags, message",
    [
        (["--codes", "nowhere"], "--codes: nowhere: no such file"),
        (["--codes", "codes", "--bpe-operations", "30"], "--bpe-operations: nothing is learnt with --codes"),
        (["--codes", "text"], "--codes: text:1: 'no merge at all': is no merge of two subwords"),
        (["--codes", "codes", "--subword", "sentencepiece"], "--codes: codes: no model of sentencepiece"),
        (["--dictionaries", "nowhere"], "--dictionaries: nowhere/dict.de.txt: no such file"),
        (["--vocabulary-threshold", "0"], "--vocabulary-threshold: 0: must be at least 1"),
        (["--vocabulary-threshold", "5", "--subword", "sentencepiece"], "is for --subword bpe"),
    ],
)
def test_what_does_not_go_together(run, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "codes").write_text(CODES, encoding="utf-8")
    (tmp_path / "text").write_text("no merge at all\n", encoding="utf-8")
    code, line = run(*flags)
    assert code == 2 and line.startswith("labo prepare: ") and message in line
