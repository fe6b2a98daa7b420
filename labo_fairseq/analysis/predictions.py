"""A file of a classifier's predictions, and measures of them; numpy alone, neither the model nor torch.

The file, an .npz without objects, holds one set of images under one checkpoint:

  logits      (N, K) float32, raw, of the last layer
  labels      (N,) int64, the class that each image is labelled with, in 0..K-1
  classes     (K,) names of the classes, in the order of the logits
  subset      valid or test
  data        the folder of the images, as it was given
  checkpoint  sha256 of the checkpoint's bytes
  clean_labels  (N,) int64, the true classes; there only where the training run made these labels noisy
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_aside

BINS = 15
CHECKPOINT = "checkpoint_best.pt"
_LOWEST, _HIGHEST = 0.1, 10.0  # temperatures, as for `labo calibrate`
_FIELDS = ("logits", "labels", "classes", "subset", "data", "checkpoint")


@dataclass(frozen=True)
class Predictions:
    """The content of a file of predictions; see the module."""

    logits: np.ndarray
    labels: np.ndarray
    classes: tuple
    subset: str
    data: str
    checkpoint: str
    clean_labels: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)


def path_beside(checkpoint, subset):
    """Where the predictions of a checkpoint on a subset are kept: run/checkpoint_best.test.npz."""
    checkpoint = Path(checkpoint)
    return checkpoint.with_name(f"{checkpoint.stem}.{subset}.npz")


def checkpoint_of(folder):
    """The best checkpoint of a run folder, which may be gone while its predictions are there."""
    folder = Path(folder)
    inside = folder / "checkpoints" / CHECKPOINT
    return inside if inside.parent.is_dir() else folder / CHECKPOINT


def write(predictions, path):
    """Write a file of predictions; it appears whole or not at all."""
    fields = _FIELDS if predictions.clean_labels is None else (*_FIELDS, "clean_labels")
    with write_aside(path, "wb") as stream:
        np.savez(stream, **{field: np.asarray(getattr(predictions, field)) for field in fields})


def read(path):
    """The Predictions of a file. Raises UserError where it cannot be read, or is damaged or inconsistent."""
    again = "remove it and run `labo classify-report` on the checkpoint"
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {field: data[field] for field in _FIELDS}
            clean = data.get("clean_labels")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the checkpoint, from which it is made") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no file of predictions ({' '.join(str(error).split())}): {again}") from None
    logits, labels, classes = found["logits"], found["labels"], tuple(found["classes"].tolist())
    if not len(labels) or logits.shape != (len(labels), len(classes)):
        raise UserError(f"{path}: {len(labels)} labels and logits of shape {logits.shape}: {again}")
    if labels.min() < 0 or labels.max() >= len(classes) or not np.isfinite(logits).all():
        raise UserError(f"{path}: labels out of range, or logits that are not finite: {again}")
    if clean is not None and (clean.shape != labels.shape or clean.min() < 0 or clean.max() >= len(classes)):
        raise UserError(f"{path}: true labels that do not fit the images: {again}")
    return Predictions(logits, labels, classes, *(str(found[field]) for field in _FIELDS[3:]), clean)


def log_probabilities(logits, temperature=1.0):
    """Log-probabilities (N, K) in nats, float64, of softmax(logits / temperature)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(1, keepdims=True))


def confidence_and_correct(predictions, temperature=1.0):
    """(N,) each: the probability of the predicted class, in [0, 1], and whether it is the true one."""
    log_p = log_probabilities(predictions.logits, temperature)
    return np.exp(log_p.max(1)), log_p.argmax(1) == predictions.labels


def negative_log_likelihood(predictions, temperature=1.0):
    """Mean over the images, in nats."""
    log_p = log_probabilities(predictions.logits, temperature)
    return float(-log_p[np.arange(len(predictions)), predictions.labels].mean())


def share_of(predictions, share):
    """A share in (0, 1] of the images, at least one, drawn at random but always the same."""
    if share == 1:
        return predictions
    count = max(1, round(share * len(predictions)))
    picked = np.sort(np.random.default_rng(1).permutation(len(predictions))[:count])
    clean = None if predictions.clean_labels is None else predictions.clean_labels[picked]
    kept = {"logits": predictions.logits[picked], "labels": predictions.labels[picked], "clean_labels": clean}
    return replace(predictions, **kept)


def fit_temperature(predictions):
    """The T in [0.1, 10] of the lowest negative log-likelihood (Guo et al. 2017), to 1e-5 of log T."""
    from scipy.optimize import minimize_scalar

    bounds = np.log([_LOWEST, _HIGHEST])  # the likelihood is convex in 1/T, so it has one minimum
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(predictions, np.exp(log_t)),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.exp(found.x))


def top_k(predictions, k=5):
    """Share of images whose class is among the k of the largest logits; of equal logits the first ones count."""
    best = np.argsort(-predictions.logits, axis=1, kind="stable")[:, :k]
    return float((best == predictions.labels[:, None]).any(1).mean())


def bin_sums(confidence, correct, bins=BINS):
    """(3, bins): count, sum of confidences and of correct ones; bins of equal width, left-closed, 1.0 in the last."""
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], confidence, side="right")
    return np.stack([np.bincount(index, w, minlength=bins) for w in (np.ones(len(index)), confidence, correct)])


def expected_calibration_error(confidence, correct, bins=BINS):
    """ECE in [0, 1] (Guo et al. 2017, equation 3)."""
    count, confident, right = bin_sums(confidence, correct, bins)
    return float(np.abs(right - confident).sum() / count.sum())


def risk_coverage(confidence, correct):
    """(coverage, risk): error rate of the most confident n images, n = 1..N (Geifman and El-Yaniv 2017).

    Images of equal confidence share their mean correctness, so that the order of the images does not matter.
    """
    _, group = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(group, correct) / np.bincount(group)
    covered = np.arange(1, len(correct) + 1)
    return covered / len(correct), 1 - np.cumsum(mean[np.sort(group)]) / covered


def measures(predictions, temperature=1.0):
    """{name: value}: accuracy, top5 and ece in [0, 1], nll in nats, risk_coverage_area in [0, 1] (lower is better)."""
    confidence, correct = confidence_and_correct(predictions, temperature)
    return {
        "accuracy": float(correct.mean()),
        "top5": top_k(predictions),
        "ece": expected_calibration_error(confidence, correct),
        "nll": negative_log_likelihood(predictions, temperature),
        "risk_coverage_area": float(risk_coverage(confidence, correct)[1].mean()),
        "signature": signature(temperature, len(predictions)),
    }


def signature(temperature, count, measure="ece"):
    """Of a figure, as sacreBLEU does it: `ece|bins:15|unit:image|T:1.37|n:10000`."""
    bins = f"|bins:{BINS}" if measure == "ece" else ""
    return f"{measure}{bins}|unit:image|T:{temperature:.4g}|n:{count}"


def reliability_rows(predictions, temperature, when, z=1.96):
    """Rows of a reliability diagram as in reliability.tsv, with 95 % Wilson intervals; NaN in empty bins."""
    count, confident, right = bin_sums(*confidence_and_correct(predictions, temperature))
    with np.errstate(invalid="ignore", divide="ignore"):
        share, ratio = right / count, z * z / count
        middle = (share + ratio / 2) / (1 + ratio)
        half = z / (1 + ratio) * np.sqrt(share * (1 - share) / count + ratio / (4 * count))
        columns = {
            "count": count,
            "confidence": confident / count,
            "accuracy": share,
            "accuracy_low": np.minimum(middle - half, share).clip(0),
            "accuracy_high": np.maximum(middle + half, share).clip(None, 1),
        }
    return [
        {"when": when, "bin_low": b / BINS, "bin_high": (b + 1) / BINS}
        | {name: float(values[b]) for name, values in columns.items()}
        for b in range(BINS)
    ]


def confusion(predictions):
    """(K, K) int64: how often class i (row) was predicted as class j (column)."""
    size = len(predictions.classes)
    cells = predictions.labels * size + predictions.logits.argmax(1)
    return np.bincount(cells, minlength=size * size).reshape(size, size)
