"""Scores of many texts against many references: sacreBLEU's own, one pair at a time, are the reference."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from labo_fairseq.measures.pairwise import aggregate_bleu, aggregate_chrf, pairwise_bleu, pairwise_chrf

TEXTS = [
    "", " ", "\t", "a", "ab", "  ab ", "abc", "a b c d e f", "ab ab ab ab ab", "aaaaaaaaaaaaaaa", "x . y , z",
    "Das ist ein Haus.", "das ist ein haus .", "Das ist ein großes Haus, oder?", "日本語のテキスト", "日本 語",
    "a\u3000b", "a\u00a0b c", "😀😀 x", "e\u0301a e", "a\u2028b", "a\x1cb", "\ufeffab", "\u200bx", "abcdefg " * 30,
    "1,000 men & 2.5 <b>women</b>", "the the the the the the the",
]  # fmt: skip
lines = st.lists(st.text("ab .,é日", max_size=12), min_size=1, max_size=6)


def one_by_one(metric, hypotheses, references):
    return [[metric.sentence_score(h, [r]).score for r in references] for h in hypotheses]


def test_chrf_is_sacrebleus():
    np.testing.assert_allclose(pairwise_chrf(TEXTS), one_by_one(CHRF(), TEXTS, TEXTS), rtol=0, atol=1e-9)


@pytest.mark.parametrize("tokenize", ["13a", "none", "char", "intl", "zh"])
def test_bleu_is_sacrebleus(tokenize):
    metric = BLEU(effective_order=True, tokenize=tokenize)
    expected = one_by_one(metric, TEXTS, TEXTS)
    np.testing.assert_allclose(pairwise_bleu(TEXTS, tokenize=tokenize), expected, rtol=0, atol=1e-9)


@given(lines, lines)
def test_any_texts_against_any_references(hypotheses, references):
    chrf, bleu = CHRF(), BLEU(effective_order=True)
    expected = one_by_one(chrf, hypotheses, references)
    np.testing.assert_allclose(pairwise_chrf(hypotheses, references), expected, rtol=0, atol=1e-9)
    expected = one_by_one(bleu, hypotheses, references)
    np.testing.assert_allclose(pairwise_bleu(hypotheses, references), expected, rtol=0, atol=1e-9)


def test_longer_than_the_alphabet_of_a_byte():
    """Types of characters, and of n-grams, may be more than a byte or a 16-bit number counts."""
    texts = ["".join(map(chr, range(0x4E00 + k, 0x4E00 + k + 700))) for k in (0, 350, 5000)]
    np.testing.assert_allclose(pairwise_chrf(texts), one_by_one(CHRF(), texts, texts), rtol=0, atol=1e-9)


def average_chrf(hypothesis, references, weights):
    """chrF2 against the weighted mean of the n-gram counts (Vamvas and Sennrich 2024), with dictionaries."""
    precisions, recalls = [], []
    for n in range(1, 7):
        found, average = Counter(grams(hypothesis, n)), Counter()
        for reference, weight in zip(references, weights, strict=True):
            for gram in grams(reference, n):
                average[gram] += weight
        if found and sum(average.values()) > 0:
            matches = sum(min(count, average[gram]) for gram, count in found.items())
            precisions.append(matches / sum(found.values()))
            recalls.append(matches / sum(average.values()))
    if not sum(precisions):
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 100 * 5 * precision * recall / (4 * precision + recall)


def grams(text, n):
    text = "".join(text.split())
    return [text[i : i + n] for i in range(len(text) - n + 1)]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[7:14], ["abc"], ["", ""]], ids=["all", "some", "one", "empty"])
def test_aggregate_chrf_is_against_mean_counts(texts):
    weights = np.random.default_rng(3).dirichlet(np.ones(len(texts)), size=2).T
    found = aggregate_chrf(texts, weights)
    assert found.shape == (len(texts), 2)
    for k in range(2):
        expected = [average_chrf(text, texts, weights[:, k]) for text in texts]
        np.testing.assert_allclose(found[:, k], expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(aggregate_chrf(texts, weights[:, k]), found[:, k], rtol=0, atol=1e-12)


def test_aggregate_chrf_is_fastchrfs():
    fastchrf = pytest.importorskip("fastchrf", reason="fastchrf is not installed")
    texts = [text for text in TEXTS if len("".join(text.split())) >= 6 and "\x1c" not in text]
    found = aggregate_chrf(texts, np.full(len(texts), 1 / len(texts)))
    np.testing.assert_allclose(found, fastchrf.aggregate_chrf([texts], [texts])[0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("aggregate, pairwise", [(aggregate_chrf, pairwise_chrf), (aggregate_bleu, pairwise_bleu)])
def test_the_average_of_one_text_is_that_text(aggregate, pairwise):
    np.testing.assert_allclose(aggregate(TEXTS, np.eye(len(TEXTS))), pairwise(TEXTS), rtol=0, atol=1e-9)


def test_aggregate_bleu_by_hand():
    """Half of `a b`, half of `a c d`: mean counts a 1, b ½, c ½, d ½, (a,b) ½, …; mean length 2½."""
    found = aggregate_bleu(["a b", "a c d"], np.array([0.5, 0.5]), tokenize="none")
    first = np.exp(1 - 2.5 / 2) * np.sqrt((1.5 / 2) * (0.5 / 1))
    second = ((2 / 3) * (1 / 2) * 0.5) ** (
        1 / 3
    )  # a + c + d = 1 + ½ + ½ of 3; (a,c), (c,d) ½ each of 2; (a,c,d) ½ of 1
    np.testing.assert_allclose(found, [100 * first, 100 * second], rtol=1e-12)
