"""How many labels are wrong, from a model's predictions for images that it was not trained on; numpy and scipy alone.

Mean field (ours): the wrong labels are taken to be uniform, and the model's logits z to know the clean class up to a
temperature. Then P(label i) = (a − b)·softmax(z/τ)_i + b with b = (1−a)/(M−1), and the clean rate a and τ are those of
the highest likelihood of the labels seen. Where the model is sure, the share of labels that agree is a; where not,
τ says so, and its mistakes are not counted as noise. A mistake that the model is sure of is.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ..measures.classification import log_probabilities

_LOWEST, _HIGHEST = math.log(0.02), math.log(20)  # of τ


@dataclass(frozen=True)
class Estimate:
    """A clean rate in [0, 1], its 95 % interval, the temperature τ that was fitted with it."""

    clean_rate: float
    low: float
    high: float
    temperature: float


def mean_field(predictions, samples=200, seed=1):
    """The Estimate of held-out predictions, by bootstrap over the images."""
    start = _fit(predictions.logits, predictions.labels, _first_guess(predictions))
    rng = np.random.default_rng(seed)
    count = len(predictions)
    rates = []
    for _ in range(samples):
        drawn = rng.integers(count, size=count)
        rates.append(expit(_fit(predictions.logits[drawn], predictions.labels[drawn], start)[0]))
    low, high = np.quantile(rates, [0.025, 0.975]) if rates else (np.nan, np.nan)
    return Estimate(float(expit(start[0])), float(low), float(high), float(np.exp(start[1])))


def confident_joint(predictions):
    """The clean rate by cleanlab's confident joint (Northcutt et al. 2021); None where cleanlab is not installed."""
    try:
        from cleanlab.count import estimate_joint
    except ImportError:
        return None
    return float(np.trace(estimate_joint(predictions.labels, np.exp(log_probabilities(predictions.logits)))))


def negative_log_likelihood(logits, labels, clean_rate, temperature):
    """Mean over the images of −log P(label) under the mean field, in nats."""
    p = np.exp(log_probabilities(logits, temperature)[np.arange(len(labels)), labels])
    wrong = (1 - clean_rate) / (logits.shape[1] - 1)
    return float(-np.log(np.maximum((clean_rate - wrong) * p + wrong, 1e-300)).mean())


def _first_guess(predictions):
    agree = np.clip((predictions.logits.argmax(1) == predictions.labels).mean(), 0.02, 0.98)
    return np.array([math.log(agree / (1 - agree)), 0.0])


def _fit(logits, labels, start):
    """(log a/(1−a), log τ) of the highest likelihood."""
    optimum = minimize(
        lambda x: negative_log_likelihood(logits, labels, expit(x[0]), math.exp(x[1])),
        start,
        method="L-BFGS-B",
        # 1e-6 from certainty: the likelihood has no maximum where all labels agree
        bounds=[(-13.8, 13.8), (_LOWEST, _HIGHEST)],
    )
    return optimum.x
