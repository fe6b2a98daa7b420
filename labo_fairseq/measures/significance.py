"""Whether a difference is more than chance: between translations of one test set, and between training seeds.

Translations: paired bootstrap resampling (Koehn 2004) and approximate randomization (Riezler and Maxwell 2005), both by
sacreBLEU's own significance module. They ask whether another test set would show the difference too, and know nothing
of what another training seed would do: for that, several seeds and Welch's t-test.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import sacre

TESTS = {"bootstrap": ("bs",), "randomization": ("ar",), "both": ("bs", "ar"), "none": ()}
SEED = 12345  # sacreBLEU's own
SAMPLES = 1000
TRIALS = 10000
# scores run from 0 to 100; two that differ by less have the same value, summed in another order
ROUNDING = 1e-9


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
    metric: sacre.SentenceStatistics,
    counts: Sequence[np.ndarray],
    tests: Sequence[str] = ("bs",),
    samples: int = SAMPLES,
    trials: int = TRIALS,
    seed: int = SEED,
) -> list[Significance]:
    """[Significance] of several systems, the first being the baseline.

    metric: a bleu.Metric, whose references may be several. counts: of each system, (sentences, statistics). tests: "bs"
    for the intervals and p-values of `samples` bootstrap samples, "ar" for p-values of `trials` randomization trials.
    seed: 1 or more, because sacreBLEU takes 0 for "no seed".

    A difference of 0 has p = 1, whatever the texts are: no sample can differ by less.
    """
    resampled = [sacre.bootstrap_scores(metric, rows, samples, seed) for rows in counts] if "bs" in tests else []
    scores = [metric.value(rows.sum(axis=0)) for rows in counts]
    p_values = {
        test: _p_values(metric, counts, scores, test, samples if test == "bs" else trials, seed) for test in tests
    }
    significances = []
    for i, score in enumerate(scores):
        mean, interval = sacre.mean_and_half_width(resampled[i]) if resampled else (None, None)
        values = {"mean": mean, "interval": interval}
        if i:
            values["difference"] = score - scores[0]
            if resampled:
                # every system is resampled with the same seed, so that the samples are the same sentences
                values["difference_interval"] = sacre.mean_and_half_width(resampled[i] - resampled[0])[1]
            values["p_bootstrap"], values["p_randomization"] = (p_values.get(t, {}).get(i) for t in ("bs", "ar"))
        significances.append(
            Significance(**{key: value if value is None else float(value) for key, value in values.items()})
        )
    return significances


def same(first: float, second: float) -> bool:
    """Whether two scores differ by no more than the rounding of their sums."""
    return abs(first - second) <= ROUNDING


@dataclass(frozen=True)
class Seeds:
    """The scores of several training seeds of one system."""

    values: tuple[float, ...]
    mean: float
    std: float | None  #: sample standard deviation (n - 1); None for one seed
    difference: float | None = None  #: of the means, from the first system
    #: 1 without a difference; None for the first system, for one seed, and for a difference without any variance
    p_welch: float | None = None


def across_seeds(scores: Sequence[Sequence[float]]) -> list[Seeds]:
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
    if min(len(values), len(baseline)) < 2:
        return None
    if same(statistics.fmean(values), statistics.fmean(baseline)):
        return 1.0  # also where there is no variance: t is 0, or 0/0
    if len(set(values)) == len(set(baseline)) == 1:
        return None
    from scipy import stats  # only here: it would double the time in which `labo score` starts

    p = float(stats.ttest_ind(values, baseline, equal_var=False).pvalue)
    return None if math.isnan(p) else p


def _p_values(metric, counts, scores, test, samples, seed):
    """{number of the system: p-value} for all but the first; 1 where there is no difference.

    sacreBLEU counts the samples whose difference is larger than the observed one, which suits a test of nonzero
    differences only: the samples of a difference of 0 mostly differ, or (equal systems) never do.
    """
    tested = [i for i, score in enumerate(scores) if i and not same(score, scores[0])]
    p_values = dict.fromkeys(range(1, len(scores)), 1.0)
    if tested:
        values = sacre.paired_p_values(metric, [counts[i] for i in (0, *tested)], test, samples, seed)
        p_values |= dict(zip(tested, values, strict=True))
    return p_values


def mcnemar(first: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test, of what two classifiers get right: (N,) bool each, the same examples.

    >>> mcnemar(np.array([True, True, False]), np.array([True, True, False]))
    1.0
    """
    from scipy.stats import binomtest

    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    return float(binomtest(only_first, only_first + only_other).pvalue) if only_first + only_other else 1.0
