"""Which produced tokens are right: by hand, and against sacreBLEU's public TER."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import TER
from sacrebleu.metrics.lib_ter import translation_edit_rate

from labo_fairseq.analysis.word_labels import token_labels

SENTENCES = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=12)


@pytest.mark.parametrize(
    "hypothesis, reference, labels, after_gap",
    [
        ("a b c", "a b c", "CCC", "000"),
        ("a x c", "a b c", "CSC", "000"),
        ("a b x c", "a b c", "CCIC", "0000"),
        ("a c", "a b c", "CC", "01"),
        ("a b", "a b c", "CC", "00"),  # what is missing at the end has no token after it
        ("", "a b", "", ""),
        ("a b", "", "II", "00"),
        # "d e" is shifted to the front as a block: all tokens are right, and each label stays with its own token
        ("a b c d e", "d e a b c", "CCCCC", "00000"),
        ("x a b c d e", "d e a b c", "ICCCCC", "000000"),
    ],
)
def test_by_hand(hypothesis, reference, labels, after_gap):
    got_labels, got_gaps = token_labels(hypothesis.split(), reference.split())
    assert "".join(got_labels) == labels
    assert "".join(str(int(gap)) for gap in got_gaps) == after_gap


@settings(max_examples=300, deadline=None)
@given(SENTENCES, SENTENCES)
def test_agrees_with_the_public_score(hypothesis, reference):
    """Matches, errors and missing tokens make up TER's edits; shifts are the rest, and never change a token."""
    labels, gaps = token_labels(hypothesis, reference)
    assert len(labels) == len(gaps) == len(hypothesis)
    matches, substituted = labels.count("C"), labels.count("S")
    missing = len(reference) - matches - substituted
    assert missing >= sum(gaps)
    edits, _ = translation_edit_rate(hypothesis, reference)
    shifts = edits - (len(labels) - matches) - missing
    assert shifts >= 0
    if hypothesis == reference:
        assert set(labels) <= {"C"} and edits == 0
    if reference:
        score = TER().sentence_score(" ".join(hypothesis), [" ".join(reference)])
        assert score.num_edits == edits


@settings(max_examples=200, deadline=None)
@given(SENTENCES, SENTENCES)
def test_a_right_token_is_in_the_reference(hypothesis, reference):
    labels, _ = token_labels(hypothesis, reference)
    right = [token for token, label in zip(hypothesis, labels, strict=True) if label == "C"]
    for token in set(right):
        assert right.count(token) <= reference.count(token)


def test_distinct_tokens_are_right_wherever_they_stand():
    """A permutation of four distinct tokens: shifts bring every one home, so none is wrong."""
    labels, _ = token_labels(["c", "d", "a", "b"], ["a", "b", "c", "d"])
    assert labels == ["C"] * 4
