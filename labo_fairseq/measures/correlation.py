"""How well one number per sentence goes with another: Kendall's and Pearson's correlation, with bootstrap intervals."""

from dataclasses import dataclass

import numpy as np

SAMPLES = 1000
SEED = 12345


@dataclass(frozen=True)
class Correlation:
    """A coefficient and its 95% interval; NaN where one of the two numbers is the same for all sentences."""

    value: float
    low: float
    high: float


def correlations(x: np.ndarray, y: np.ndarray, samples: int = SAMPLES, seed: int = SEED) -> dict[str, Correlation]:
    """{"kendall": tau-b, "pearson": r} of two arrays (N,), N ≥ 2; percentile bootstrap over the N pairs.

    >>> found = correlations(np.arange(6.0), np.arange(6.0) ** 3)  # ranks agree, values are not on a line
    >>> round(found["kendall"].value, 6), found["pearson"].value < 0.96
    (1.0, True)
    """
    from scipy import stats  # only here: it takes longer to import than most commands run

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    coefficients = {"kendall": lambda a, b: stats.kendalltau(a, b).statistic, "pearson": _pearson}
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(x), size=(samples, len(x)))
    found = {}
    for name, coefficient in coefficients.items():
        resampled = np.array([coefficient(x[index], y[index]) for index in chosen])
        # a sample may hold one sentence alone, again and again
        low, high = np.nanpercentile(resampled, [2.5, 97.5]) if not np.isnan(resampled).all() else (np.nan, np.nan)
        found[name] = Correlation(float(coefficient(x, y)), float(low), float(high))
    return found


def _pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return x @ y / scale if scale else np.nan
