"""Our engine learns the very merges that subword-nmt learns; subword-nmt itself says which those are."""

import contextlib
import io
import itertools
import random

import pytest
from labo_fairseq.data_prep import bpe_learning, subword
from labo_fairseq.data_prep.bpe_learning import merges
from labo_fairseq.data_prep.embedded import generate
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from labo_fairseq.errors import UserError

ALL = 100_000  # more merges than any text here has


def by_subword_nmt(lines, size):
    """The merges in subword-nmt's file."""
    codes = io.StringIO()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(ValueError):  # ValueError: there is no pair
        learn_bpe(iter(lines), codes, size)
    return [tuple(line.split(" ")) for line in codes.getvalue().split("\n")[1:-1]]


@pytest.fixture(scope="module")
def sentences():
    return [line for pair in generate()["train"][:500] for line in pair]


@pytest.mark.parametrize("size", [0, 1, 100, 101, ALL])
def test_sentences_give_the_same_merges(sentences, size):
    expected = by_subword_nmt(sentences, size)
    assert list(merges(iter(sentences), size)) == expected
    assert len(expected) == size or size == ALL


@pytest.mark.parametrize(
    "lines",
    [
        ["aaa aaa aaaa aaaa aaaaa aaaaaa b aaab aaab baaa baaa"],  # occurrences that overlap
        ["ababab ababab bababa bababa abab cabab cabab"],  # that follow each other
        ["---- ---- -- -- --- a--- a---", "!!!!!!!! !!!!!!!! !!!!!"],
        ["xx xx yy yy zz zz xy xy yx yx zx zx"],  # all pairs equally frequent
        ["\\n \\n \\1\\1 \\1\\1 .* .* (a) (a) [ab] [ab] \\\\ \\\\"],  # what regular expressions read otherwise
        ["a</w> a</w> </w> </w> </w></w> </w></w> w> w>"],  # the mark of the end as text
        ["日本語 日本語 本語 本語 🙂🙂 🙂🙂 🙂🙂🙂 🙂🙂🙂 é́ é́ ﷺﷺ ﷺﷺ"],
        ["  double  spaces  double  spaces  ", "", " ", "double spaces"],
        ["a b c d"],  # no word has two characters
        ["ab cd ef"],  # no pair comes twice
        [],
    ],
)
def test_odd_words_give_the_same_merges(lines):
    assert list(merges(iter(lines), ALL)) == by_subword_nmt(lines, ALL)


@pytest.mark.parametrize("letters", ["ab", "abc", "ingst"])
def test_random_words_of_few_letters_give_the_same_merges(letters):
    """The same string then arises from several merges, which is where subword-nmt counts pairs too often."""
    rng = random.Random(len(letters))
    for _ in range(40):
        words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(rng.randint(2, 60))]
        lines = [" ".join(rng.choices(words, k=12)) for _ in range(rng.randint(1, 20))]
        assert list(merges(iter(lines), ALL)) == by_subword_nmt(lines, ALL), lines


def test_most_merges_after_the_threshold_was_lowered_are_the_same():
    """Frequencies over four orders of magnitude, so that pairs are put aside and come back several times."""
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 8))) for _ in range(1000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    lines = [" ".join(rng.choices(words, weights, k=20)) for _ in range(1500)]
    expected = by_subword_nmt(lines, ALL)
    assert len(expected) > 1000
    assert list(merges(iter(lines), ALL)) == expected


def test_the_text_is_read_once_and_line_by_line(sentences):
    read = []
    lines = (read.append(number) or line for number, line in enumerate(sentences))
    first = next(merges(lines, 5))
    assert len(read) == len(sentences)
    assert first == by_subword_nmt(sentences, 1)[0]


def test_a_faulty_line_leaves_no_file(tmp_path):
    def lines():
        yield "good lines good lines"
        raise UserError("text:2: not UTF-8")

    with pytest.raises(UserError, match="text:2"):
        subword.learn("bpe", lines(), 10, tmp_path / "codes")
    assert not list(tmp_path.iterdir())


def test_text_without_a_pair_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match="no two characters meet twice"):
        subword.learn("bpe", iter(["a b c", "ab"]), 10, tmp_path / "codes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [1, 3, 50, 1 << 17])
def test_subwords_from_a_cache_of_any_size_are_those_of_subword_nmt(kept, sentences, tmp_path, monkeypatch):
    monkeypatch.setattr(subword, "_KEPT", kept)
    subword.learn("bpe", iter(sentences), 200, tmp_path / "codes")
    segment = subword.Segmenter("bpe", str(tmp_path / "codes")).build()
    with open(tmp_path / "codes", encoding="utf-8") as codes:
        bpe = BPE(codes)
    rng = random.Random(kept)
    odd = [" ".join("".join(rng.choices("aaeinrst.", k=rng.randint(1, 12))) for _ in range(8)) for _ in range(300)]
    for line in itertools.chain(sentences[:1000], odd, ["", "x", "aaaa anananan"]):
        assert segment(line) == bpe.process_line(line), line


def test_the_cache_of_words_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(subword, "_KEPT", 20)
    subword.learn("bpe", iter(["abc abc"]), 2, tmp_path / "codes")
    words = subword._Words(str(tmp_path / "codes"))
    for number in range(1000):
        assert words[f"w{number}"] == " ".join(f"{char}@@" for char in f"w{number}"[:-1]) + f" {number % 10}"
        assert len(words) + len(words._older) <= 40


def test_backward_order_of_strings():
    """Of equally frequent pairs the last in the alphabet is first; a string comes before its beginnings."""
    strings = ["a", "ab", "abc", "b", "ä", "z", "za", "🙂", "a</w>"]
    symbols = bpe_learning._Symbols()
    for string in strings:
        symbols.number(string)
    assert [strings[symbols.backwards.index(key)] for key in sorted(symbols.backwards)] == sorted(strings, reverse=True)
