"""The probability that a translation is good, from the scores that beam search gave its tokens.

A logistic model with three features of the hypothesis: the mean and the least log-probability of its tokens (EOS
included) and the logarithm of their number. "Good" means a sentence chrF2 against the reference of at least a chosen
level. Fitted on a validation set that was decoded as the text to come will be (same calibrator, beam and ensemble);
`labo sentence-confidence` does it.
"""

from dataclasses import dataclass

import numpy as np

FEATURES = ("mean log-prob", "least log-prob", "log(tokens)")
# a log-probability below this tells no more (and −inf, of a type that the model rules out, is no number to fit)
_LEAST = -50.0
_RIDGE = (
    1e-3  # per sentence, on standardized features: keeps weights finite where the classes can be told apart exactly
)


def features(log_probs):
    """The features of a hypothesis, (3,), from the log-probabilities of its tokens in nats, EOS last."""
    scores = np.maximum(np.asarray(log_probs, dtype=np.float64), _LEAST)
    return np.array([scores.mean(), scores.min(), np.log(len(scores))])


@dataclass(frozen=True)
class SentenceConfidence:
    """P(good) = 1/(1 + exp(−(bias + weights · features))).

    weights: (3,), of FEATURES in their order
    chrf: the sentence chrF2, 0 to 100, from which on a translation counts as good
    """

    weights: tuple
    bias: float
    chrf: float

    def probability(self, log_probs):
        """P(good) in [0, 1] of a hypothesis; see `features`."""
        return float(_logistic(features(log_probs) @ np.array(self.weights) + self.bias))

    @classmethod
    def fit(cls, rows, good, chrf):
        """The maximum-likelihood model (with a slight ridge) of features (N, 3) and labels (N,), of both classes."""
        rows, good = np.asarray(rows, dtype=np.float64), np.asarray(good, dtype=np.float64)
        mean, scale = rows.mean(0), rows.std(0) + 1e-9
        x = np.column_stack([np.ones(len(rows)), (rows - mean) / scale])
        ridge = _RIDGE * len(rows) * np.array([0.0, *[1.0] * len(FEATURES)])
        theta = np.zeros(x.shape[1])
        for _ in range(100):  # Newton's method
            p = _logistic(x @ theta)
            gradient = x.T @ (p - good) + ridge * theta
            step = np.linalg.solve((x.T * (p * (1 - p) + 1e-9)) @ x + np.diag(ridge), gradient)
            theta -= step
            if np.abs(step).max() < 1e-10:
                break
        weights = theta[1:] / scale
        return cls(tuple(weights.tolist()), float(theta[0] - weights @ mean), chrf)

    def to_json(self):
        """The content of calibration.json's `sentence_confidence`, but for the measures."""
        return {"features": list(FEATURES), "weights": list(self.weights), "bias": self.bias, "chrf": self.chrf}

    @classmethod
    def from_json(cls, record):
        """Raises ValueError, KeyError or TypeError on a record that is broken or of another version."""
        weights, numbers = tuple(map(float, record["weights"])), (float(record["bias"]), float(record["chrf"]))
        if record["features"] != list(FEATURES) or len(weights) != len(FEATURES):
            raise ValueError("features that this version does not compute")
        if not np.isfinite([*weights, *numbers]).all():
            raise ValueError("a number that is not finite")
        return cls(weights, *numbers)


def _logistic(x):
    return 0.5 * (1 + np.tanh(x / 2))  # without overflow
