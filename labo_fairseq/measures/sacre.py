"""The one place that calls sacreBLEU by private names, so that a new version of it has one place to break.

sacreBLEU offers corpus scores, but no statistics per sentence; with these, the score of a split or of a bootstrap
sample needs no second tokenization. tests/measures/test_sacre.py compares every function here with sacreBLEU's public
results, and its signatures with those that are expected. Tested with sacreBLEU 2.4 to 2.6.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu import significance
from sacrebleu.metrics import BLEU, lib_ter
from sacrebleu.metrics.base import Metric, Score

TOKENIZERS = tuple(BLEU.TOKENIZERS)  #: what BLEU's `tokenize` can be: 13a, intl, zh, char, ja-mecab, flores200, …
_SELECTED = 1 << 21  # sentences of all trials whose sums are made at once
# where fairseq is loaded too, whose logging shows what is of level INFO, sacreBLEU tells of each of hundreds of scores
logging.getLogger("sacrebleu").setLevel(logging.WARNING)
MAX_SHIFTS = lib_ter._MAX_SHIFT_CANDIDATES


class SentenceStatistics:
    """A metric of sacreBLEU's whose statistics are counted once per sentence.

    metric: made with its `references`, which it keeps.
    """

    def __init__(self, metric: Metric):
        self.metric: Any = metric  # its private calls take arrays, whatever sacreBLEU's annotations say

    def count(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Statistics, float64 (sentences, statistics); they add up over sentences.

        hypotheses: as many as there are references; sacreBLEU would cut the longer of the two.
        """
        return np.array(self.metric._extract_corpus_statistics(hypotheses, None), dtype=np.float64)

    def value(self, sums: np.ndarray) -> float:
        """The score of sums of statistics, (statistics,): 0 to 100; TER may exceed it."""
        return float(self.metric._compute_score_from_stats(sums).score)

    def words(self, line: str) -> list[str]:
        """The words of a line as the metric splits it, in its case."""
        return self.metric._preprocess_segment(line).split()

    @property
    def signature(self) -> str:
        """sacreBLEU's signature, say nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0."""
        return str(self.metric.get_signature())


class MeanOfSegments(Metric):
    """A corpus score that is the mean of scores of segments, as sacreBLEU's significance tests take it.

    signature: text. The statistics of a segment are (score, 1), so that sums of them give the mean.
    """

    def __init__(self, name: str, signature: str):
        super().__init__()
        self.name = name
        self._text = signature

    def get_signature(self) -> Any:
        """The text."""
        return self._text

    def _compute_score_from_stats(self, stats):
        return Score(self.name, float(stats[0]) / float(stats[1]) if stats[1] else 0.0)

    def _aggregate_and_compute(self, stats):
        return self._compute_score_from_stats(np.sum(stats, axis=0))

    def _preprocess_segment(self, sent):
        return sent

    def _extract_reference_info(self, refs):
        return {}

    def _compute_segment_statistics(self, hypothesis, ref_kwargs):
        raise NotImplementedError("the scores come from outside")


def bootstrap_scores(metric: SentenceStatistics, counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Scores of bootstrap samples, (samples,); the same seed gives the same sentences, whatever the system.

    counts: (sentences, statistics). seed: 1 or more. These are sacreBLEU's numbers, its float32 sums included; it
    copies the statistics of all samples at once, though: at 10,000 sentences more than a gigabyte for chrF.
    """
    size = samples, len(counts)
    rows = counts.astype(np.float32)
    chosen = np.random.default_rng(seed).choice(len(counts), size, replace=True)
    return np.array([metric.metric._compute_score_from_stats(rows[sample].sum(0)).score for sample in chosen])


def mean_and_half_width(scores: np.ndarray) -> tuple[float, float]:
    """Mean of the scores of bootstrap samples, (samples,), and half of the 95% interval, as sacreBLEU cuts it."""
    return significance.estimate_ci(scores)


def paired_p_values(
    metric: SentenceStatistics, counts: Sequence[np.ndarray], test: str, samples: int, seed: int
) -> list[float]:
    """sacreBLEU's p-values of all systems but the first, each against the first.

    counts: of each system, (sentences, statistics). test: "bs" (paired bootstrap) or "ar" (approximate randomization)
    of `samples` samples or trials. seed: 1 or more.
    """
    baseline, *others = counts
    score = metric.value(baseline.sum(axis=0))
    if test == "bs":
        resampled = bootstrap_scores(metric, baseline, samples, seed)
    values = []
    for rows in others:
        if test == "bs":
            differences = np.abs(bootstrap_scores(metric, rows, samples, seed) - resampled)
            differences -= differences.mean()
        else:
            differences = _randomized_differences(metric, baseline, rows, samples, seed)
        values.append(significance._compute_p_value(differences, abs(score - metric.value(rows.sum(axis=0)))))
    return values


def _randomized_differences(metric, first, second, trials, seed):
    """Absolute differences of the scores of two systems that swap each sentence or do not, by chance: (trials,)."""
    kept = np.random.default_rng(seed).integers(2, size=(trials, len(first)), dtype=bool)
    differences = []
    for some in np.array_split(kept, -(-kept.size // _SELECTED)):  # a product makes float64 of them
        one, other = some @ first + ~some @ second, ~some @ first + some @ second
        differences += [metric.value(mine) - metric.value(theirs) for mine, theirs in zip(one, other, strict=True)]
    return np.abs(differences)


class EditDistance:
    """The alignment of translation edit rate (TER) with one reference, as sacreBLEU's TER finds it."""

    def __init__(self, reference: list[str]):
        self._reference = reference
        self._distance = lib_ter.BeamEditDistance(reference)

    def shifted(self, words: list[str]) -> list[str]:
        """The words of a hypothesis after the shifts that TER counts; the same objects, in another order."""
        checked = 0
        while True:
            gain, candidate, checked = lib_ter._shift(words, self._reference, self._distance, checked)
            if gain <= 0 or checked >= MAX_SHIFTS:
                return words
            words = candidate

    def operations(self, words: list[str]) -> str:
        """One character for each edit that turns the reference into the words.

        " " the same word, "s" another word, "i" a word too many, "d" a word that is missing.
        """
        return lib_ter._flip_trace(self._distance(words)[1])
