"""What goes into `labo prepare` comes out of bin/ again: white space of every kind, control symbols, long lines."""

import json

import pytest
import sentencepiece
from labo_fairseq.data_prep import subword

from labo_fairseq.cli import main

FILLER = ("a small house and a tree number", "some words more, to learn from", "ab abab abc")


def prepare(folder, lines, kind, size, *more, filler=20):
    """Run `labo prepare files` on the same lines as train, valid and test; returns (exit code, the folder)."""
    text = "".join(f"{line}\n" for line in (*FILLER * filler, *lines))
    for code in ("de", "en"):
        (folder / f"train.{code}").write_text(text, encoding="utf-8", newline="\n")
        (folder / f"test.{code}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    flag = {"bpe": "--bpe-operations", "sentencepiece": "--vocabulary-size"}[kind]
    command = ["prepare", "files", "--source", "de", "--target", "en", "--workers", "1", "--subword", kind]
    for name in ("train", "valid", "test"):
        command += [f"--{name}", str(folder / ("train" if name == "train" else "test"))]
    return main([*command, flag, str(size), *more, "--out", str(folder / "out")]), folder / "out"


def read_back(out, kind):
    """The lines of bin/test, joined; no id within them is that of a control symbol."""
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(out / "bin/dict.de.txt"))
    lines = []
    for ids in data_utils.load_indexed_dataset(str(out / "bin/test.de-en.de"), dictionary):
        assert ids[-1] == dictionary.eos()
        assert (ids[:-1] >= dictionary.nspecial).all(), dictionary.string(ids)
        lines.append(dictionary.string(ids, {"bpe": "subword_nmt"}.get(kind, kind)))
    return lines


CONTROL = ["ab ab ab <pad> ab </s> ab", "<s> ab <unk>", "x<pad>y z</s> <s>", "<pad>", "ab<unk> <unk>ab <unk>"]
SPACES = [f"vor{space}nach ab{space}{space}ab" for space in
          "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x1f\xa0\u3000\u2003\u202f\u1680\t"]  # fmt: skip
OTHER = ["a\u200bb c\u200dd", "x\ufeffy", "été 漢字 😀", "madeupword0000 [en] __de__ <mask>"]
MARKS = ["foo@@ bar", "@@ ab", "@@@ x@@@ @", "ab@@ab a@b @", "</w> ab</w> a</w>b"]


@pytest.mark.parametrize("size", [20, 300])  # pieces of words; the odd words as wholes
def test_bpe_without_tokenizer(size, tmp_path):
    lines = [*CONTROL * 5, *SPACES, *OTHER, *MARKS * 5]
    code, out = prepare(tmp_path, lines, "bpe", size, "--tokenizer", "none")
    assert code == 0
    assert read_back(out, "bpe") == [" ".join(line.split()) for line in lines]


def test_bpe_after_moses(tmp_path):
    code, out = prepare(tmp_path, [*CONTROL, *MARKS], "bpe", 300)
    assert code == 0
    assert read_back(out, "bpe") == (out / "tok/test.de").read_text(encoding="utf-8").split("\n")[:-1]
    assert "&lt; pad &gt;" in read_back(out, "bpe")[0]


def test_sentencepiece_without_tokenizer(tmp_path):
    lines = [*CONTROL * 5, *SPACES, "été 漢字 😀", "foo@@ bar", "a▅b ▅", "a\u2581b"]
    code, out = prepare(tmp_path, lines, "sentencepiece", 120, "--tokenizer", "none")
    assert code == 0
    expected = [" ".join(line.split()) for line in lines]
    assert read_back(out, "sentencepiece") == [*expected[:-1], "a b"]  # U+2581 is sentencepiece's space
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["lines_with_odd_separators"]["test"] == 2 * (5 + 1)  # on both sides: U+2028 and its like, U+2581


def test_a_run_of_unknown_characters_is_no_control_symbol(tmp_path):
    subword.learn("sentencepiece", iter(["漢字 漢字 かな かな カナ"] * 5), 12, tmp_path / "model")
    segment = subword.Segmenter("sentencepiece", str(tmp_path / "model")).build()
    for symbol in ("<s>", "<pad>", "</s>", "<unk>"):
        pieces = segment(f"漢字 {symbol} かな").split(" ")
        assert symbol not in pieces
        assert "".join(pieces).replace("▁", " ").strip() == f"漢字 {symbol} かな"


@pytest.mark.usefixtures("no_fairseq")
@pytest.mark.parametrize(
    "line",
    [
        "word " * 900 + "ßéü",  # 4,506 bytes and more
        "漢" + "字" * 1396 + "é",  # 4,193 bytes, no space
        "w" * 70_000 + "ø",  # one word beyond 65,535 characters
        "a b " * 250_000 + "ñ",
        "▅ å",
    ],
)
def test_every_character_of_long_lines_is_covered(line, tmp_path):
    code, out = prepare(tmp_path, [line], "sentencepiece", 70, "--tokenizer", "none")
    assert code == 0
    model = sentencepiece.SentencePieceProcessor(model_file=str(out / "bpe/sentencepiece.model"))
    unknown = {letter for letter in set(line) - {" ", "▅"} if model.unk_id() in model.encode(letter)}
    assert unknown == set()
    (pieces,) = (out / "bpe/test.de").read_text(encoding="utf-8").split("\n")[:-1]
    assert pieces.replace(" ", "").replace("▁", " ").strip() == line.strip()


@pytest.mark.usefixtures("no_fairseq")
def test_a_text_that_only_its_long_lines_give(tmp_path):
    # all of train beyond 4,192 bytes: sentencepiece's default would find no text at all
    code, _ = prepare(tmp_path, ["abc cab bca " * 500] * 5, "sentencepiece", 12, "--tokenizer", "none", filler=0)
    assert code == 0


@pytest.mark.usefixtures("no_fairseq")
def test_cleaning_of_text_without_tokenizer_deletes_nothing(tmp_path):
    lines = ["ab | ab", "a|b ab", "w" * 1500]
    code, out = prepare(tmp_path, lines, "bpe", 20, "--tokenizer", "none", "--max-length", "9")
    assert code == 0
    assert (out / "tok/train.de").read_text(encoding="utf-8").split("\n")[-4:-1] == lines
