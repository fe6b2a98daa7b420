"""The one place that calls sacreBLEU by private names, so that a new version of it has one place to break.

sacreBLEU offers corpus scores, but no statistics per sentence; with these, the score of a split or of a bootstrap
sample needs no second tokenization. tests/measures/test_sacre.py compares every function here with sacreBLEU's public
results, and its signatures with those that are expected. Tested with sacreBLEU 2.4 to 2.6.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sacrebleu import significance
from sacrebleu.metrics import BLEU, lib_ter
from sacrebleu.metrics.base import Metric, Score

TOKENIZERS = tuple(BLEU.TOKENIZERS)  #: what BLEU's `tokenize` can be: 13a, intl, zh, char, ja-mecab, flores200, …
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


class _Signature(str):
    """A signature that is complete as it is: sacreBLEU's tests would add their seed and number of samples."""

    __slots__ = ()

    def update(self, *_):
        """Nothing."""


class MeanOfSegments(Metric):
    """A corpus score that is the mean of scores of segments, as sacreBLEU's significance tests take it.

    signature: text. The statistics of a segment are (score, 1), so that sums of them give the mean.
    """

    def __init__(self, name: str, signature: str):
        super().__init__()
        self.name = name
        self._text = _Signature(signature)

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


class _Counted:
    """A metric that takes statistics in place of hypotheses, so that a test need not count them again."""

    def __init__(self, metric):
        self._metric = metric

    def __getattr__(self, name):
        return getattr(self._metric, name)

    def _extract_corpus_statistics(self, counts, _references):
        return counts


def bootstrap_scores(metric: SentenceStatistics, counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Scores of bootstrap samples, (samples,); the same seed gives the same sentences, whatever the system.

    counts: (sentences, statistics). seed: 1 or more.
    """
    with _seeded(seed):
        resample: Any = significance._bootstrap_resample
        _, scores = resample(counts, metric.metric, samples)
    return np.array([score.score for score in scores])


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
    named = [(str(i), rows) for i, rows in enumerate(counts)]
    with _seeded(seed):
        test_class: Any = significance.PairedTest
        paired_test = test_class(named, {"metric": _Counted(metric.metric)}, None, test, samples)
        _, table = paired_test()
    (results,) = (column for name, column in table.items() if name != "System")
    return [result.p_value for result in results[1:]]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """sacreBLEU takes its seed from the environment alone."""
    before = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = before


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
