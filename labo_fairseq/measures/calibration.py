"""Calibration measures of a classifier's predictions: of images, of next tokens, of tokens that beam search produced.

The confidence is the probability of the predicted (most probable) type, and a prediction is correct where that type is
the target. Bins are of equal width and left-closed, [b/B, (b+1)/B), with 1.0 in the last one.

Bin sums are an array (3, B): the number of predictions in each bin, the sum of their confidences, the number of correct
ones. They add over batches and workers, and ECE, MCE and reliability diagrams need nothing else. `bin_sums` makes them
of arrays here, functional/calibration.py of tensors on any device. Measures that rank the predictions (adaptive ECE,
risk and coverage) need all of them.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

BINS = 15
_MEANS = ("confidence", "accuracy")


def bin_sums(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin sums (3, bins), float64, of confidences (N,) in [0, 1] and whether each is correct (N,), bool or 0/1.

    NaN falls into the last bin and turns its sums into NaN.

    >>> bin_sums(np.array([0.1, 0.9, 1.0]), np.array([True, False, True]), bins=2)
    array([[1. , 2. ],
           [0.1, 1.9],
           [1. , 1. ]])
    """
    confidence, correct = np.asarray(confidence), np.asarray(correct)
    index = _bin_index(confidence, bins)
    return np.stack([np.bincount(index, w, minlength=bins) for w in (np.ones(len(index)), confidence, correct)])


def ece(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error Σ_b n_b/N·|accuracy_b − confidence_b| (Guo et al. 2017, eq. 3), in [0, 1].

    sums: bin sums (…, 3, B), leading dimensions being as many independent sets; the result has shape (…).
    NaN without predictions.

    >>> float(ece(np.array([[1, 2], [0.1, 1.9], [1, 1]])))
    0.6
    """
    count, confidence, correct = np.moveaxis(np.asarray(sums, np.float64), -2, 0)
    with np.errstate(invalid="ignore"):
        return np.abs(correct - confidence).sum(-1) / count.sum(-1)


def mce(sums: np.ndarray) -> np.ndarray:
    """Maximum calibration error: the largest |accuracy_b − confidence_b| of a bin (Guo et al. 2017, eq. 5), in [0, 1].

    sums: as for `ece`. NaN without predictions.
    """
    count, confidence, correct = np.moveaxis(np.asarray(sums, np.float64), -2, 0)
    gap = np.abs(correct - confidence) / np.maximum(count, 1)
    return np.where(count.sum(-1) > 0, gap.max(-1), np.nan)


def rmsce(sums: np.ndarray) -> np.ndarray:
    """Root mean square calibration error √(Σ_b n_b/N·(accuracy_b − confidence_b)²) (Kumar et al. 2019), in [0, 1].

    sums: as for `ece`. NaN without predictions.
    """
    count, confidence, correct = np.moveaxis(np.asarray(sums, np.float64), -2, 0)
    with np.errstate(invalid="ignore"):
        return np.sqrt(((correct - confidence) ** 2 / np.maximum(count, 1)).sum(-1) / count.sum(-1))


def wilson_interval(correct: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval (low, high) of a share of `correct` in `count` trials (Wilson 1927); NaN where count is 0.

    >>> [round(float(end), 4) for end in wilson_interval(81, 263)]
    [0.2553, 0.3662]
    """
    correct, count = np.asarray(correct, np.float64), np.asarray(count, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, ratio = correct / count, z * z / count
        middle = (share + ratio / 2) / (1 + ratio)
        half = z / (1 + ratio) * np.sqrt(share * (1 - share) / count + ratio / (4 * count))
        # the share lies inside, which rounding must not change at 0 and 1
        return np.minimum(middle - half, share).clip(0), np.maximum(middle + half, share).clip(None, 1)


def reliability(sums: np.ndarray) -> list[dict]:
    """Rows of a reliability diagram, one per bin: bin_low, bin_high, count, confidence, accuracy, accuracy_low, …_high.

    sums: bin sums (3, B). Means of the bin, and the 95 % Wilson interval of its accuracy (predictions taken as
    independent); NaN where it is empty.
    """
    count, confidence, correct = np.asarray(sums, np.float64)
    low, high = wilson_interval(correct, count)
    with np.errstate(invalid="ignore"):
        columns = {
            "confidence": confidence / count,
            "accuracy": correct / count,
            "accuracy_low": low,
            "accuracy_high": high,
        }
    bins = len(count)
    return [
        {"bin_low": b / bins, "bin_high": (b + 1) / bins, "count": int(count[b])}
        | {name: float(column[b]) for name, column in columns.items()}
        for b in range(bins)
    ]


def recalibrated(confidence: np.ndarray, rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """What share of predictions of such a confidence are right, by a reliability diagram: histogram binning, smoothed.

    confidence: any shape, in [0, 1]; rows: as of `reliability`, at least one with a count. The accuracies of the bins
    are made to rise by isotonic regression, weighted by their counts (Zadrozny & Elkan 2002), and lie on straight lines
    between the bins' mean confidences.

    >>> rows = [{"count": 5, "confidence": 0.2, "accuracy": 0.4}, {"count": 5, "confidence": 0.6, "accuracy": 0.8}]
    >>> recalibrated(np.array([0.1, 0.2, 0.4, 1.0]), rows).round(3).tolist()
    [0.4, 0.4, 0.6, 0.8]
    """
    from scipy.optimize import isotonic_regression  # only here: it doubles the time in which commands start

    filled = [row for row in rows if row["count"] > 0]
    count, mean, accuracy = (np.array([row[key] for row in filled], float) for key in ("count", *_MEANS))
    return np.interp(confidence, mean, isotonic_regression(accuracy, weights=count).x)


def adaptive_ece(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """ECE over bins of equal mass (Nguyen & O'Connor 2015): predictions sorted by confidence, in `bins` equal parts.

    The first N mod B parts hold one prediction more. Tied confidences share their mean correctness, so that the value
    does not depend on the order of the predictions. In [0, 1]; NaN without predictions.
    """
    confidence, correct = _ranked(confidence, correct)
    if not len(confidence):
        return float("nan")
    return float(sum(abs(gap.sum()) for gap in np.array_split(correct - confidence, bins)) / len(confidence))


def risk_coverage(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coverage, risk), each (N,): error rate of the n most confident predictions, n = 1..N (Geifman & El-Yaniv 2017).

    Tied confidences share their mean correctness, so that the order of the predictions does not matter.
    """
    _, correct = _ranked(confidence, correct)
    covered = np.arange(1, len(correct) + 1)
    return covered / max(1, len(correct)), 1 - np.cumsum(correct[::-1]) / covered


def risk_coverage_area(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Area under the risk-coverage curve, in [0, 1]; lower is better: the mean risk over coverages 1/N, 2/N, …, 1.

    It looks at the ranking only, which a scalar temperature hardly changes. NaN without predictions.
    """
    risk = risk_coverage(confidence, correct)[1]
    return float(risk.mean()) if len(risk) else float("nan")


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive example has a higher score than a negative one; ties count one half.

    score: (N,); positive: (N,) bool, with both values in it.

    >>> auroc(np.array([0.1, 0.4, 0.4]), np.array([False, False, True]))
    0.75
    """
    from scipy.stats import rankdata  # only here: it doubles the time in which commands start

    positive = np.asarray(positive, bool)
    ranks = rankdata(score)
    number = int(positive.sum())
    above = ranks[positive].sum() - number * (number + 1) / 2
    return float(above / (number * (len(positive) - number)))


def ece_of_a_calibrated_model(confidence: np.ndarray, draws: int = 200, bins: int = BINS, seed: int = 0) -> np.ndarray:
    """ECE of `draws` label sets that are drawn with just these confidences, (draws,).

    A finite sample of a perfectly calibrated model has an ECE above 0; a measured ECE within this distribution gives
    no evidence of miscalibration.
    """
    rng = np.random.default_rng(seed)
    confidence = np.asarray(confidence, np.float64)
    count, mean, _ = bin_sums(confidence, confidence, bins)
    correct = [bin_sums(confidence, rng.random(len(confidence)) < confidence, bins)[2] for _ in range(draws)]
    return ece(np.stack([np.stack([count, mean, one]) for one in correct]))


def bootstrap_ece(
    confidence: np.ndarray,
    correct: np.ndarray,
    sentence: np.ndarray,
    samples: int = 1000,
    bins: int = BINS,
    seed: int = 0,
) -> np.ndarray:
    """ECE of `samples` bootstrap samples of the sentences, (samples,).

    sentence: (N,) integers, the sentence of each token. Tokens of one sentence depend on each other, so whole sentences
    are drawn, with replacement.
    """
    rng = np.random.default_rng(seed)
    _, sentence = np.unique(sentence, return_inverse=True)
    sentences = int(sentence.max()) + 1
    confidence = np.asarray(confidence)
    index = _bin_index(confidence, bins)
    gap = np.bincount(sentence * bins + index, np.asarray(correct, np.float64) - confidence, sentences * bins)
    gap, size = gap.reshape(sentences, bins), np.bincount(sentence)
    values = []
    for _ in range(samples):
        weight = np.bincount(rng.integers(sentences, size=sentences), minlength=sentences)
        values.append(np.abs(weight @ gap).sum() / (weight @ size))
    return np.array(values)


# what the columns of a table of calibration mean, for the lines below it
LEGEND = {
    "ece": "expected calibration error: how far the probability of the chosen token lies from how often it is right, "
    "in the mean over bins of equal width; 0 is best",
    "ece_low, ece_high": "95 % interval of the ece over samples of sentences",
    "ece_calibrated_model, ece_calibrated_model_high": "ece by chance of a perfectly calibrated model with these "
    "probabilities: its mean, and what 2.5 % of samples exceed; an ece above it is miscalibration",
    "mce": "the same as ece, of the worst bin",
    "adaptive_ece": "the same as ece, in bins that hold equally many tokens",
    "nll": "negative log-likelihood of the right token, in nats",
    "brier": "mean squared distance of the probabilities from the right token, 0 to 2",
    "risk_coverage_area": "mean share of errors while only the surest tokens are kept; 0 is best",
}


def legend(columns: Iterable[str]) -> list[str]:
    """The lines of LEGEND for the columns that a table has."""
    have = set(columns)
    return [f"{names}: {text}" for names, text in LEGEND.items() if have & set(names.split(", "))]


def ece_figures(confidence: np.ndarray, correct: np.ndarray, sentence: np.ndarray, bins: int = BINS) -> dict:
    """The ECE of tokens, and what it is to be compared with; `sentence` is that of each token, (N,).

    ece_low, ece_high: 95 % bootstrap interval over sentences (percentiles; of a small ECE it lies above the value,
        because resampling adds noise to every bin)
    ece_calibrated_model, ece_calibrated_model_high: mean and 97.5 % point of the ECE that a perfectly calibrated model
        with as many tokens and the same confidences would show
    """
    low, high = np.quantile(bootstrap_ece(confidence, correct, sentence, bins=bins), [0.025, 0.975])
    calibrated = ece_of_a_calibrated_model(confidence, bins=bins)
    return {
        "ece": float(ece(bin_sums(confidence, correct, bins))),
        "ece_low": float(low),
        "ece_high": float(high),
        "ece_calibrated_model": float(calibrated.mean()),
        "ece_calibrated_model_high": float(np.quantile(calibrated, 0.975)),
    }


def signature(temperature: str | float, unit: str, count: int, measure: str = "ece", bins: int | None = BINS) -> str:
    """Of a figure, as sacreBLEU does it; `bins`: None for a measure without bins.

    >>> signature(1.37, "bpe", 13842)
    'ece|bins:15|unit:bpe|T:1.37|n:13842'
    """
    shown = temperature if isinstance(temperature, str) else f"{temperature:.4g}"
    return f"{measure}{f'|bins:{bins}' if bins else ''}|unit:{unit}|T:{shown}|n:{count}"


def subword_unit(symbols: list[str]) -> str:
    """ "bpe", "sentencepiece" or "word", by the marks in a dictionary's symbols."""
    if any(symbol.endswith("@@") for symbol in symbols):
        return "bpe"
    return "sentencepiece" if any(symbol.startswith("▁") for symbol in symbols) else "word"


def _bin_index(confidence, bins):
    # edges in the confidences' own precision: a float32 of 0.2 belongs to the bin that begins at 0.2
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(np.result_type(confidence, np.float32))
    return np.searchsorted(edges, confidence, side="right")


def _ranked(confidence, correct):
    """Confidences in ascending order, float64, and the correctness of each, averaged over ties."""
    values, group, size = np.unique(np.asarray(confidence, np.float64), return_inverse=True, return_counts=True)
    mean = np.bincount(group, np.asarray(correct, np.float64), minlength=len(size)) / size
    return np.repeat(values, size), np.repeat(mean, size)
