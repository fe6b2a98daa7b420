import math

import pytest

from labo_fairseq.analysis.scored_tokens import differing, disagreement, plain, scored
from labo_fairseq.records.generate_log import Hypothesis


def hypothesis(tokens, *probabilities):
    """A Hypothesis of tokens with these probabilities, the end of the sentence last; none: without a P- line."""
    scores = tuple(math.log2(p) for p in probabilities) or None
    return Hypothesis(-1.0, tuple(tokens.split()), None, scores)


@pytest.mark.parametrize(
    ("tokens", "text", "pieces"),
    [
        ("ein hund .", "ein hund.", ("ein", " hund", ".")),
        ("ro@@ sa@@ far@@ ben .", "rosafarben.", ("ro", "sa", "far", "ben", ".")),
        ("▁Ein ▁Hu nd .", "Ein Hund.", ("Ein", " Hu", "nd", ".")),
        ("it &apos;s a &lt; b", "it's a < b", ("it", "'s", " a", " <", " b")),
        ("well @-@ known", "well-known", ("well", "-", "known")),
        ("a @@ b", "a @@ b", ("a", " @@", " b")),
        ("猫 が い る", "猫がいる", ("猫", "が", "い", "る")),
    ],
)
def test_the_text_is_cut_at_its_tokens(tokens, text, pieces):
    probabilities = [0.5] * (len(tokens.split()) + 1)
    found = scored(hypothesis(tokens, *probabilities), text)
    assert found.pieces == pieces and found.text == text
    assert found.probabilities == pytest.approx(probabilities)


def test_text_that_does_not_hold_its_tokens_is_shown_as_tokens():
    found = scored(hypothesis("ein <unk> ro@@ ter hund", 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "ein ??? roter hund")
    assert found.pieces == ("ein", " <unk>", " ro", "ter", " hund")
    assert found.probabilities == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert scored(hypothesis("▁a b ▁c", 0.5, 0.5, 0.5, 0.5), "other").pieces == ("a", "b", " c")


def test_subwords_that_generation_removed_come_from_the_corpus_segmentation():
    def segment(line):
        return line.replace("rosa", "ro@@ sa")

    log = hypothesis("ein rosa hund", 0.9, 0.1, 0.2, 0.8, 0.7)
    found = scored(log, "ein rosa hund", segment)
    assert found.pieces == ("ein", " ro", "sa", " hund")
    assert found.probabilities == pytest.approx([0.9, 0.1, 0.2, 0.8, 0.7])
    # without it, or where the model has split otherwise, no token has a probability
    for other in (None, str, lambda line: "e@@ in r@@ o@@ sa hund"):
        assert scored(log, "ein rosa hund", other) == plain("ein rosa hund")
        assert scored(log, "ein rosa hund", other).probabilities is None


def test_a_log_without_p_lines_and_an_empty_translation():
    assert scored(hypothesis("a b"), "a b") == plain("a b")
    found = scored(hypothesis("", 0.25), "")
    assert found.pieces == () and found.probabilities == pytest.approx([0.25])


def test_rounding_lifts_no_probability_above_1():
    assert scored(Hypothesis(0.0, ("a",), None, (2e-4, 0.0)), "a").probabilities == (1.0, 1.0)


@pytest.mark.parametrize(
    ("pieces", "reference", "marked"),
    [
        (("a", " b", " c"), "a c", " b"),
        (("A", " b"), "a b", ""),
        (("ro", "sa", " hund"), "roter hund", "rosa"),
        (("hund", "."), "hund", "."),
        (("猫", "が"), "犬が", "猫"),
        (("a",), "", "a"),
        ((), "a", ""),
    ],
)
def test_words_that_differ_are_marked_with_all_their_pieces(pieces, reference, marked):
    marks = differing(pieces, reference)
    assert len(marks) == len(pieces)
    assert "".join(piece for piece, mark in zip(pieces, marks, strict=True) if mark) == marked


def test_of_words_in_another_order_one_stays():
    assert sorted(differing(("a", " b"), "b a")) == [False, True]


def test_case_counts_where_it_is_to_count():
    assert differing(("A", " b"), "a b", lowercase=False) == [True, False]


def test_disagreement_by_hand():
    assert disagreement(["a b c", "a b c"]) == 0
    assert disagreement(["a b", "c d"]) == 1
    # pairs: F1 of (a b, a c) is 1/2, of (a b, a b) 1, of (a c, a b) 1/2
    assert disagreement(["a b", "a c", "a b"]) == pytest.approx(1 - (0.5 + 1 + 0.5) / 3)
    assert disagreement(["a a", "a"]) == pytest.approx(1 - 2 / 3)
    assert disagreement(["only one"]) == 0 and disagreement(["", ""]) == 0
