"""chrF and BLEU of many texts against many references, as sacreBLEU scores them, in a few matrix products.

Decoding by expected utility compares all candidates of a sentence with each other: 128 of them are 16,384 scores, for
which sacreBLEU's own functions need seconds. Here the n-grams of all texts are counted once, and the matches of all
pairs come from sparse products: two counts a and b have min(a, b) occurrences in common, so a text is a row with one 1
for each first, second, … occurrence of an n-gram, and the matches of two texts are the product of their rows.

Also the scores against a weighted *average* of texts (DeNero et al. 2009 for BLEU, Vamvas and Sennrich 2024 for chrF):
one comparison for each text in place of one for each pair.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from scipy import sparse

CHRF_ORDER, CHRF_BETA = CHRF.CHAR_ORDER, CHRF.BETA  # 6 and 2: chrF2, sacreBLEU's default
BLEU_ORDER = 4
_tokenizers: dict[str, Any] = {}


def pairwise_chrf(hypotheses: Sequence[str], references: Sequence[str] | None = None) -> np.ndarray:
    """chrF2 of each hypothesis against each reference, 0 to 100, (n, m); equals sacreBLEU's sentence_chrf.

    references: the hypotheses themselves where they are None.

    >>> pairwise_chrf(["a cat", "a hat"]).round(2)
    array([[100.  ,  27.08],
           [ 27.08, 100.  ]])
    """
    return _pairwise(_chrf, _characters, CHRF_ORDER, hypotheses, references)


def aggregate_chrf(texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """chrF2, 0 to 100, of each of n texts against the average of all, (n,) or (n, k).

    weights: (n,) of the texts in the average, or (n, k) for k averages at once; each column sums to 1. Equals
    fastchrf's aggregate_chrf for equal weights.
    """
    return _aggregated(_chrf, _NGrams(_characters(texts), CHRF_ORDER), weights)


def pairwise_bleu(
    hypotheses: Sequence[str], references: Sequence[str] | None = None, tokenize: str = BLEU.TOKENIZER_DEFAULT
) -> np.ndarray:
    """BLEU of each hypothesis against each reference, 0 to 100, (n, m); equals sacreBLEU's sentence_bleu.

    tokenize: one of sacreBLEU's tokenizers. Effective order and exponential smoothing, as sentence_bleu has them.
    """
    return _pairwise(_bleu, lambda texts: _words(texts, tokenize), BLEU_ORDER, hypotheses, references)


def aggregate_bleu(texts: Sequence[str], weights: np.ndarray, tokenize: str = BLEU.TOKENIZER_DEFAULT) -> np.ndarray:
    """BLEU, 0 to 100, of each of n texts against the average of all; see `aggregate_chrf`."""
    return _aggregated(_bleu, _NGrams(_words(texts, tokenize), BLEU_ORDER), weights)


def _characters(texts):
    return [list("".join(text.split())) for text in texts]  # without whitespace, as sacreBLEU's chrF


def _words(texts, tokenize):
    if tokenize not in _tokenizers:
        _tokenizers[tokenize] = BLEU(tokenize=tokenize).tokenizer
    return [_tokenizers[tokenize](text.rstrip()).split() for text in texts]


class _NGrams:
    """Counts of the n-grams of texts, of each order by itself.

    texts: lists of n symbols. counts: of each order a sparse matrix (n, n-grams). totals: (n, orders), their sums.
    """

    def __init__(self, texts, order):
        lengths = np.array([len(text) for text in texts])
        ids: dict = {}
        symbols = np.array([ids.setdefault(symbol, len(ids)) for text in texts for symbol in text], dtype=np.int64)
        rows = np.repeat(np.arange(len(texts)), lengths)
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(symbols))  # symbols to the end of the text
        self.counts = []
        self.totals = np.maximum(lengths[:, None] - np.arange(order), 0)
        grams = symbols
        for n in range(1, order + 1):
            if n > 1:  # an n-gram is an (n-1)-gram and the symbol behind it
                grams = grams * max(len(ids), 1) + np.append(symbols[n - 1 :], np.zeros(min(n - 1, len(symbols)), int))
            found, grams = np.unique(grams, return_inverse=True)
            whole = left >= n
            entries = np.ones(whole.sum()), (rows[whole], grams[whole])
            self.counts.append(sparse.csr_matrix(entries, shape=(len(texts), len(found))))


def _occurrences(counts):
    """The counts (n, n-grams) as ones, (n, occurrences): those of an n-gram that a text has twice are 1, 1, 0, …"""
    counts = counts.tocsc()
    most = counts.max(axis=0).toarray().ravel().astype(int) if counts.shape[1] else np.zeros(0, int)
    firsts = np.append(0, np.cumsum(most))
    entries = counts.tocoo()
    times = entries.data.astype(int)
    starts = np.repeat(np.cumsum(times) - times, times)
    columns = np.repeat(firsts[entries.col], times) + np.arange(times.sum()) - starts
    rows = np.repeat(entries.row, times)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(counts.shape[0], firsts[-1]))


def _pairwise(score, split, order, hypotheses, references):
    if references is None:
        grams = _NGrams(split(hypotheses), order)
        ours = theirs = slice(None)
    else:
        grams = _NGrams(split([*hypotheses, *references]), order)
        ours, theirs = slice(len(hypotheses)), slice(len(hypotheses), None)
    rows = [_occurrences(counts) for counts in grams.counts]
    matches = np.stack([(row[ours] @ row[theirs].T).toarray() for row in rows], axis=-1).astype(float)
    totals = grams.totals.astype(float)
    return score(matches, totals[ours][:, None], totals[theirs][None])


def _aggregated(score, grams, weights):
    weights = np.asarray(weights, dtype=float)
    columns = weights.reshape(len(weights), -1).T
    totals = grams.totals.astype(float)
    found = []
    for column in columns:
        matches = []
        for counts in grams.counts:
            average = counts.T @ column
            common = counts.copy()
            common.data = np.minimum(counts.data, average[counts.indices])
            matches.append(np.asarray(common.sum(axis=1)).ravel())
        found.append(score(np.stack(matches, axis=-1), totals, column @ totals))
    return np.stack(found, axis=-1).reshape(weights.shape)


def _chrf(matches, hypothesis, reference):
    """F2 of precision and recall, each averaged over the orders that both sides have, times 100."""
    both = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(both.sum(-1), 1)
    precision = (matches / np.where(both, hypothesis, np.inf)).sum(-1) / orders
    recall = (matches / np.where(both, reference, np.inf)).sum(-1) / orders
    factor = CHRF_BETA**2
    return 100 * (1 + factor) * precision * recall / np.maximum(factor * precision + recall, 1e-300)


def _bleu(matches, hypothesis, reference):
    """Sentence BLEU of sacreBLEU: of the orders that the hypothesis has; each order without a match halves a match."""
    has = np.broadcast_to(hypothesis > 0, matches.shape)
    unmatched = has & (matches == 0)
    smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=-1), matches)
    precision = smoothed / np.where(has, hypothesis, 1)
    logs = np.log(precision, where=has, out=np.zeros(matches.shape)).sum(-1) / np.maximum(has.sum(-1), 1)
    lengths = np.maximum(hypothesis[..., 0], 1)  # without a word there is no match, and the score is 0 below
    brevity = np.exp(np.minimum(1 - reference[..., 0] / lengths, 0))
    return np.where((matches > 0).any(-1), 100 * brevity * np.exp(logs), 0.0)
