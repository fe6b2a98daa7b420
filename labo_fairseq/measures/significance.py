"""Whether a difference is more than chance: between translations of one test set, and between training seeds.

Translations: paired bootstrap resampling (Koehn 2004) and approximate randomization (Riezler and Maxwell 2005), both by
sacreBLEU's own significance module. They ask whether another test set would show the difference too, and know nothing
of what another training seed would do: for that, several seeds and Welch's t-test.
"""

import contextlib
import math
import os
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu import significance

TESTS = {"bootstrap": ("bs",), "randomization": ("ar",), "both": ("bs", "ar"), "none": ()}
SEED = 12345  # sacreBLEU's own
SAMPLES = 1000
TRIALS = 10000
_ROUNDING = 1e-9  # of scores up to 100: what the order of a sum may change


@dataclass(frozen=True)
class Significance:
    """One system beside the first one, under one metric. The half-widths are of 95% intervals.

    None where a test was not asked for, and for the first system itself what compares it.
    """

    mean: float | None = None  #: over the bootstrap samples
    interval: float | None = None  #: half-width around that mean
    difference: float | None = None  #: score minus that of the first system
    difference_interval: float | None = None  #: half-width, of the differences over the same samples
    p_bootstrap: float | None = None
    p_randomization: float | None = None


def paired(
    metric: Any,
    counts: list[np.ndarray],
    tests: tuple[str, ...] = ("bs",),
    samples: int = SAMPLES,
    trials: int = TRIALS,
    seed: int = SEED,
) -> list[Significance]:
    """[Significance] of several systems, the first being the baseline.

    metric: a bleu.Metric. counts: of each system, (sentences, statistics). tests: "bs" for the intervals and p-values
    of `samples` bootstrap samples, "ar" for p-values of `trials` randomization trials. seed: 1 or more, because
    sacreBLEU takes 0 for "no seed".
    """
    with _seeded(seed):
        resampled = [_resampled(metric, rows, samples) for rows in counts] if "bs" in tests else []
        p_values = {test: _p_values(metric, counts, test, samples if test == "bs" else trials) for test in tests}
    scores = [metric.score(rows).value for rows in counts]
    significances = []
    for i, score in enumerate(scores):
        mean, interval = significance.estimate_ci(resampled[i]) if resampled else (None, None)
        values = {"mean": mean, "interval": interval}
        if i:
            values["difference"] = score - scores[0]
            if resampled:
                # every system is resampled with the same seed, so that the samples are the same sentences
                values["difference_interval"] = significance.estimate_ci(resampled[i] - resampled[0])[1]
            values["p_bootstrap"], values["p_randomization"] = (p_values.get(t, {}).get(i) for t in ("bs", "ar"))
        significances.append(
            Significance(**{key: value if value is None else float(value) for key, value in values.items()})
        )
    return significances


@dataclass(frozen=True)
class Seeds:
    """The scores of several training seeds of one system."""

    values: tuple[float, ...]
    mean: float
    std: float | None  #: sample standard deviation (n - 1); None for one seed
    difference: float | None = None  #: of the means, from the first system
    p_welch: float | None = None  #: None for the first system, one seed, or no variance at all


def across_seeds(scores: list[list[float]]) -> list[Seeds]:
    """[Seeds] of several systems, each given as the scores of its seeds; Welch's two-sided t-test against the first."""
    return [
        Seeds(
            tuple(values),
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            statistics.fmean(values) - statistics.fmean(scores[0]) if i else None,
            _welch(values, scores[0]) if i else None,
        )
        for i, values in enumerate(scores)
    ]


def _welch(values, baseline):
    if min(len(values), len(baseline)) < 2 or len(set(values)) == len(set(baseline)) == 1:
        return None
    from scipy import stats  # only here: it would double the time in which `labo score` starts

    p = float(stats.ttest_ind(values, baseline, equal_var=False).pvalue)
    return None if math.isnan(p) else p


class _Counted:
    """A metric of sacreBLEU's that takes statistics in place of hypotheses, so that none are counted again."""

    def __init__(self, metric):
        self._metric = metric

    def __getattr__(self, name):
        return getattr(self._metric, name)

    def _extract_corpus_statistics(self, counts, _references):
        return counts


def _resampled(metric, rows, samples):
    _, scores = significance._bootstrap_resample(rows, metric.sacrebleu, samples)
    return np.array([score.score for score in scores])


def _p_values(metric, counts, test, samples):
    """{number of the system: p-value} for all but the first."""
    named = [(str(i), rows) for i, rows in enumerate(counts)]
    paired_test = significance.PairedTest(named, {"metric": _Counted(metric.sacrebleu)}, None, test, samples)
    _, table = paired_test()
    (results,) = (column for name, column in table.items() if name != "System")
    # a difference of 0 is exceeded or met by every resampling, so that p is 1; sacreBLEU counts only what exceeds it,
    # and where two systems with equal scores differ in text it finds the smallest p there is
    scores = [metric.score(rows).value for rows in counts]
    equal = [math.isclose(score, scores[0], rel_tol=0, abs_tol=_ROUNDING) for score in scores]
    return {i: 1.0 if equal[i] else result.p_value for i, result in enumerate(results) if i}


@contextlib.contextmanager
def _seeded(seed):
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


def mcnemar(first: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test, of what two classifiers get right: (N,) bool each, the same examples.

    >>> mcnemar(np.array([True, True, False]), np.array([True, True, False]))
    1.0
    """
    from scipy.stats import binomtest

    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    return float(binomtest(only_first, only_first + only_other).pvalue) if only_first + only_other else 1.0
