"""The cleaning against a literal reading of clean-corpus-n.perl, and against the script itself where there is one."""

import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labo_fairseq.data_prep.clean import LengthCleaner, MosesCleaner

MOSES = os.environ.get("LABO_MOSES")
PERL_SPACE = "[\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
WORDS = st.sampled_from(["a", "bb", "|", "x|y", " ", "  ", "\t", "\xa0", "\u2028", "\x1f", "ä", "w" * 1000, "w" * 1001])
LINES = st.lists(WORDS, max_size=12).map(" ".join) | st.lists(WORDS, max_size=6).map("".join)
PAIRS = st.lists(st.tuples(LINES, LINES), min_size=1, max_size=12)


def literal(pairs, shortest, longest, ratio):
    """The script's loop, statement by statement; 1 for a kept pair."""
    kept = []
    factored = False
    for number, (f, e) in enumerate(pairs):
        if number == 0:
            factored = bool(re.search(r"\|", e) or re.search(r"\|", f))
        if not factored:
            e, f = re.sub(r"\|", "", e), re.sub(r"\|", "", f)
        e, f = (re.sub("^ ", "", re.sub(f"{PERL_SPACE}+", " ", text)) for text in (e, f))
        e, f = (re.sub(" $", "", text) for text in (e, f))
        if f == "" or e == "":
            continue
        ec, fc = len(e.split(" ")), len(f.split(" "))
        if ec > longest or fc > longest or ec < shortest or fc < shortest:
            continue
        if ec / fc > ratio or fc / ec > ratio:
            continue
        if any(re.search(f"[^|{PERL_SPACE[1:-1]}]{{1001}}", text) for text in (e, f)):
            continue
        kept.append((f, e))
    return kept


def ours(pairs, *limits):
    clean = MosesCleaner(*limits)
    return [kept for kept, _ in (clean(*pair) for pair in pairs) if kept]


@settings(max_examples=150, deadline=None)
@given(PAIRS, st.integers(1, 3), st.integers(3, 8), st.sampled_from([1.0, 1.5, 9.0]))
def test_equals_the_literal_reading(pairs, shortest, longest, ratio):
    assert ours(pairs, shortest, longest, ratio) == literal(pairs, shortest, longest, ratio)


@pytest.mark.skipif(
    not (MOSES and shutil.which("perl")),
    reason="LABO_MOSES does not name a checkout of mosesdecoder, or there is no perl",
)
def test_equals_the_script(tmp_path):
    pairs = [("a b", "a b")]  # the first line decides that | is no factor separator

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(PAIRS)
    def collect(more):
        pairs.extend(more)

    collect()
    for side, code in enumerate(("de", "en")):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (tmp_path / f"in.{code}").write_text(text, encoding="utf-8", newline="")
    script = [f"{MOSES}/scripts/training/clean-corpus-n.perl", "-ratio", "1.5", "in", "de", "en", "out", "1", "7"]
    subprocess.run(["perl", *script], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    found = [(tmp_path / f"out.{code}").read_bytes().decode().split("\n")[:-1] for code in ("de", "en")]
    assert list(zip(*found, strict=True)) == ours(pairs, 1, 7, 1.5)
    assert 50 < len(found[0]) < len(pairs)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("", "a", "source empty"),
        ("a", " \u3000", "target empty"),
        ("|", "|", None),  # the first pair has |, so | is a factor separator
        ("a b c d e f g h", "a", "too long"),
        ("a b c d", "a b", "ratio"),
        ("a b c", "a b", None),
    ],
)
def test_reasons(source, target, reason):
    assert MosesCleaner(1, 7, 1.5)(source, target)[1] == reason


def test_length_cleaner_leaves_the_text_alone():
    clean = LengthCleaner(1, 3)
    assert clean("▁a | b", "x") == (("▁a | b", "x"), None)
    assert clean("a b c d", "x") == (None, "too long")
    assert clean("", "") == (None, "both empty")
    assert LengthCleaner(2)("a", "b c") == (None, "too short")
    assert LengthCleaner(1, None, 2.0)("a", "b c d") == (None, "ratio")
