"""The probability that a translation is good, from the scores that beam search gave its tokens.

A logistic model with three features of the hypothesis: the mean and the least log-probability of its tokens (EOS
included) and the logarithm of their number. "Good" means a sentence chrF2 against the reference of at least a chosen
level. Fitted on a validation set that was decoded as the text to come will be (same calibrator, beam and ensemble);
`labo sentence-confidence` does it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from ..measures.calibration import BINS, auroc, bin_sums, ece, risk_coverage, risk_coverage_area

FEATURES = ("mean log-prob", "least log-prob", "log(tokens)")
# a log-probability below this tells no more (and −inf, of a type that the model rules out, is no number to fit)
_LEAST = -50.0
# per sentence, on standardized features: keeps weights finite where the classes can be told apart exactly
_RIDGE = 1e-3
FEWEST = 10  # good and bad sentences that each half must hold


def features(log_probs: Any) -> np.ndarray:
    """The features of a hypothesis, (3,), from the log-probabilities of its tokens in nats, EOS last."""
    scores = np.maximum(np.asarray(log_probs, dtype=np.float64), _LEAST)
    return np.array([scores.mean(), scores.min(), np.log(len(scores))])


def _sigmoid(z):
    return np.exp(-np.logaddexp(0.0, -z))  # without overflow at either end


@dataclass(frozen=True)
class SentenceConfidence:
    """P(good) = 1/(1 + exp(−(bias + weights · features))).

    weights: (3,), of FEATURES in their order
    chrf: the sentence chrF2, 0 to 100, from which on a translation counts as good
    """

    weights: tuple
    bias: float
    chrf: float

    def probability(self, log_probs: Any) -> float:
        """P(good) in [0, 1] of a hypothesis; see `features`."""
        return float(_sigmoid(features(log_probs) @ np.array(self.weights) + self.bias))

    @classmethod
    def fit(cls, rows: Any, good: np.ndarray, chrf: float) -> "SentenceConfidence":
        """The maximum-likelihood model (with a slight ridge) of features (N, 3) and labels (N,), of both classes."""
        from scipy.optimize import minimize  # only here: every training and decoding reads this module as it starts

        rows, good = np.asarray(rows, dtype=np.float64), np.asarray(good, dtype=np.float64)
        mean, scale = rows.mean(0), rows.std(0) + 1e-9
        x = np.column_stack([np.ones(len(rows)), (rows - mean) / scale])
        ridge = _RIDGE * len(rows) * np.array([0.0, *[1.0] * len(FEATURES)])

        def objective(theta):
            """Negative log-likelihood with the ridge, and its gradient."""
            z = x @ theta
            value = np.logaddexp(0, z).sum() - good @ z + (ridge * theta**2).sum() / 2
            return value, x.T @ (_sigmoid(z) - good) + ridge * theta

        theta = minimize(objective, np.zeros(x.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-8}).x
        weights = theta[1:] / scale
        return cls(tuple(weights.tolist()), float(theta[0] - weights @ mean), chrf)

    def to_json(self) -> dict:
        """The content of calibration.json's `sentence_confidence`, but for the measures."""
        return {"features": list(FEATURES), "weights": list(self.weights), "bias": self.bias, "chrf": self.chrf}

    @classmethod
    def from_json(cls, record: dict) -> "SentenceConfidence":
        """Raises ValueError, KeyError or TypeError on a record that is broken or of another version."""
        given = [*record["weights"], record["bias"], record["chrf"]]
        if any(not isinstance(number, int | float) or isinstance(number, bool) for number in given):
            raise TypeError("a value that is no number")
        *weights, bias, chrf = map(float, given)
        if record["features"] != list(FEATURES) or len(weights) != len(FEATURES):
            raise ValueError("features that this version does not compute")
        if not np.isfinite([*weights, bias, chrf]).all():
            raise ValueError("a number that is not finite")
        return cls(tuple(weights), bias, chrf)


def fit_and_measure(log_probs: list, good: np.ndarray, chrf: float) -> tuple[SentenceConfidence, dict, list[dict]]:
    """(SentenceConfidence, its measures, risk-coverage rows) of the best hypotheses of a validation set.

    log_probs: for each sentence the log-probabilities of its tokens, nats; good: (N,) bool; chrf: what made them good.
    Fitted on the sentences with even numbers, measured on those with odd ones. Raises UserError where either half has
    too few good or bad ones.
    """
    for name, half in (("even", good[::2]), ("odd", good[1::2])):
        if min(half.sum(), (~half).sum()) < FEWEST:
            raise UserError(
                f"{half.sum()} of {len(half)} translations with {name} ids reach chrF2 {chrf:g}: "
                f"at least {FEWEST} must, and as many must not: choose another --chrf, or use a larger set"
            )
    model = SentenceConfidence.fit([features(scores) for scores in log_probs[::2]], good[::2], chrf)
    confidence = np.array([model.probability(scores) for scores in log_probs[1::2]])
    return model, measures(confidence, good[1::2]), risk_coverage_rows(confidence, good[1::2])


def measures(confidence: np.ndarray, good: np.ndarray) -> dict:
    """AUROC, ECE, Brier score and the area under the risk-coverage curve, of N confidences and labels."""
    return {
        "n": len(good),
        "good": float(good.mean()),
        "mean_confidence": float(confidence.mean()),
        "auroc": auroc(confidence, good),
        "ece": float(ece(bin_sums(confidence, good))),
        "brier": float(((confidence - good) ** 2).mean()),
        "aurc": risk_coverage_area(confidence, good),
        "signature": f"sentence-confidence|bins:{BINS}|split:odd-ids|n:{len(good)}",
    }


def risk_coverage_rows(confidence: np.ndarray, good: np.ndarray) -> list[dict]:
    """Rows {coverage, threshold, risk}: the share of bad translations among the most confident ones, for each count."""
    coverage, risk = risk_coverage(confidence, good)
    threshold = np.sort(confidence)[::-1]
    return [
        {"coverage": float(c), "threshold": float(t), "risk": float(r)}
        for c, t, r in zip(coverage, threshold, risk, strict=True)
    ]
