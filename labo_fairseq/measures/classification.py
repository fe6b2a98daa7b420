"""Measures of a classifier's logits (N, K) and labels (N,): accuracy, likelihood, calibration, confusion."""

import numpy as np

from .calibration import BINS, bin_sums, ece, reliability, risk_coverage_area, signature


def log_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Log-probabilities (N, K) in nats, float64, of softmax(logits / temperature)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(1, keepdims=True))


def confidence_and_correct(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) each: the probability of the predicted class, in [0, 1], and whether it is the true one."""
    log_p = log_probabilities(logits, temperature)
    return np.exp(log_p.max(1)), log_p.argmax(1) == labels


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean over the examples, in nats.

    >>> round(negative_log_likelihood(np.zeros((1, 4)), np.array([2])), 4)  # log 4
    1.3863
    """
    log_p = log_probabilities(logits, temperature)
    return float(-log_p[np.arange(len(labels)), labels].mean())


def top_k(logits: np.ndarray, labels: np.ndarray, k: int = 5) -> float:
    """Share of examples whose class is among the k of the largest logits; of equal logits the first ones count."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return float((best == labels[:, None]).any(1).mean())


def measures(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict:
    """{name: value}: accuracy, top5 and ece in [0, 1], nll in nats, risk_coverage_area in [0, 1] (lower is better)."""
    confidence, correct = confidence_and_correct(logits, labels, temperature)
    return {
        "accuracy": float(correct.mean()),
        "top5": top_k(logits, labels),
        "ece": float(ece(bin_sums(confidence, correct))),
        "nll": negative_log_likelihood(logits, labels, temperature),
        "risk_coverage_area": risk_coverage_area(confidence, correct),
        "signature": image_signature(temperature, len(labels)),
    }


def image_signature(temperature: float, count: int, measure: str = "ece") -> str:
    """Signature of a figure about images; only the ECE has bins."""
    return signature(temperature, "image", count, measure, BINS if measure == "ece" else None)


def reliability_rows(logits: np.ndarray, labels: np.ndarray, temperature: float, when: str) -> list[dict]:
    """Rows of a reliability diagram (calibration.reliability), each with its "when", as in reliability.tsv."""
    sums = bin_sums(*confidence_and_correct(logits, labels, temperature))
    return [{"when": when, **row} for row in reliability(sums)]


def confusion(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(K, K) int64: how often class i (row) was predicted as class j (column)."""
    size = logits.shape[1]
    cells = labels * size + logits.argmax(1)
    return np.bincount(cells, minlength=size * size).reshape(size, size)
