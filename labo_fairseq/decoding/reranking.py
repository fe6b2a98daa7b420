"""Reranking of n-best lists by a weighted sum of features, the weights tuned to a corpus score on validation data.

The weights are found by minimum error rate training (Och 2003): along a line through the space of weights the best
hypothesis of a sentence changes at finitely many points, so that the best point of the line is found exactly. Lines go
along each feature in turn and in random directions, from the decoder's own ranking and from random points.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import write_aside
from ..measures import significance
from ..measures.sacre import SentenceStatistics
from ..records.generate_log import Hypothesis, Sentence, read_generate_log
from ..records.text import read_text, split_lines

FORMAT, VERSION = "labo-rerank-weights", 1
_GAIN = 1e-6  # of the score: less is rounding
_LEAST = -50.0  # log-probabilities below tell no more; as in sentence_confidence.py
_MOST = 1e9  # of a weight in a file

#: name: what it is of a hypothesis; None where the log does not have it
FEATURES: dict[str, tuple[str, Callable[[Hypothesis], float | None]]] = {
    "score": ("score of the H- line, base 2: the decoder's own ranking", lambda h: h.score),
    "logprob": ("sum of the P- line in nats (calibrated where the search was)", lambda h: _sum(h.positional_scores)),
    "length": ("tokens, the end of the sentence included", lambda h: _length(h)),
    "least": ("least of the P- line in nats", lambda h: _least(h.positional_scores)),
    "confidence": ("log-odds of the C- line", lambda h: _log_odds(h.confidence)),
}


def _sum(scores):
    return None if scores is None else math.fsum(scores) * math.log(2)


def _least(scores):
    return None if not scores else max(min(scores) * math.log(2), _LEAST)


def _length(hypothesis):
    scores = hypothesis.positional_scores
    return float(len(hypothesis.tokens) + 1 if scores is None else len(scores))


def _log_odds(p):
    if p is None:
        return None
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


@dataclass(frozen=True)
class Weights:
    """Weights of features by name, and what they were tuned on."""

    weights: dict[str, float]
    tuned_on: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Lists:
    """The n-best lists of N sentences, one below the other: M candidates.

    features: (M, F) of `names`; starts: (N + 1,), sentence i has the candidates starts[i] to starts[i + 1] − 1
    """

    names: tuple[str, ...]
    features: np.ndarray
    starts: np.ndarray

    def best(self, weights: np.ndarray) -> np.ndarray:
        """The candidate of the largest weighted sum in each list, (N,), the first of equal ones; weights: (F,)."""
        sums = self.features @ weights
        return np.array([a + int(np.argmax(sums[a:b])) for a, b in self.bounds])

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """(first candidate, one behind the last) of each sentence."""
        return list(zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True))

    def only(self, sentences: np.ndarray) -> tuple["Lists", np.ndarray]:
        """(the lists of some sentences, the candidates that are left, as indices)."""
        kept = [np.arange(*self.bounds[i]) for i in sentences]
        index = np.concatenate(kept)
        starts = np.concatenate([[0], np.cumsum([len(group) for group in kept])])
        return Lists(self.names, self.features[index], starts), index


def lists_of(
    sentences: list[Sentence],
    file: str,
    names: Sequence[str] = (),
    others: dict | None = None,
    all_if_none: bool = True,
) -> Lists:
    """The Lists of a generate log.

    names: of FEATURES; without any, all that the log has, or with `all_if_none` off none. others: {name: M numbers in
    the order of the log}, which the Lists have besides. Raises UserError where a feature is missing or infinite.
    """
    hypotheses = [hypothesis for sentence in sentences for hypothesis in sentence.hypotheses]
    if not names and all_if_none:
        names = [name for name, (_, value) in FEATURES.items() if value(hypotheses[0]) is not None]
    columns = {}
    for name in names:
        if name not in FEATURES:
            raise UserError(
                f"--features: {name}: unknown: choose from {', '.join(FEATURES)}, or give --feature NAME=FILE"
            )
        values = [FEATURES[name][1](hypothesis) for hypothesis in hypotheses]
        if None in values:
            lacking = "C" if name == "confidence" else "P"
            raise UserError(f"{file}: has no {lacking}- lines, of which the feature {name} is made: leave it out")
        columns[name] = values
    for name, values in (others or {}).items():
        if name in columns or name in FEATURES:
            raise UserError(f"--feature {name}: is the name of a feature of the log: choose another")
        if len(values) != len(hypotheses):
            raise UserError(
                f"--feature {name}: {len(values)} scores for the {len(hypotheses)} hypotheses of {file}: score just "
                "these (labo rerank --write-candidates)"
            )
        columns[name] = values
    if not columns:
        raise UserError("--features: none is left: name one, or give --feature NAME=FILE")
    matrix = np.array(list(columns.values()), dtype=np.float64).T
    if not np.isfinite(matrix).all():
        raise UserError(f"{file}: a feature is not finite: score the hypotheses again")
    starts = np.concatenate([[0], np.cumsum([len(sentence.hypotheses) for sentence in sentences])])
    return Lists(tuple(columns), matrix, starts)


def read_feature(path: str) -> list[float]:
    """One number for each candidate: of a text with a number in each line, or of a log of fairseq-generate
    --score-reference, whose P- lines are summed, in nats.

    Raises UserError, naming the line.
    """
    text = read_text(path)
    if "\nP-" in text or text.startswith("P-"):
        sentences = read_generate_log(path)
        if any(len(sentence.hypotheses) > 1 for sentence in sentences):
            raise UserError(f"{path}: has several hypotheses of a sentence: generate with --score-reference")
        return [_sum(sentence.hypotheses[0].positional_scores) for sentence in sentences]
    numbers = []
    for number, line in enumerate(split_lines(text), 1):
        try:
            numbers.append(float(line))
        except ValueError:
            raise UserError(f"{path}:{number}: {line[:40]!r} is not a number: give one score in each line") from None
        if not math.isfinite(numbers[-1]):
            raise UserError(f"{path}:{number}: {line[:40]!r} is not finite: give one score in each line")
    return numbers


# --- tuning ---


@dataclass(frozen=True)
class Tuned:
    """Weights (F,), the score of the tuned ranking and of the decoder's own, and the gain on held-out halves."""

    weights: np.ndarray
    score: float
    before: float
    held_out: significance.Significance


def tune(
    lists: Lists,
    counts: np.ndarray,
    metric: SentenceStatistics,
    restarts: int = 5,
    seed: int = 1,
) -> Tuned:
    """The Tuned weights of the highest corpus score.

    counts: (M, statistics) of the candidates, of `metric`. The gain is also measured on sentences that the weights were
    not tuned on: each random half of them under the weights of the other half.
    """
    sentences = len(lists.starts) - 1
    if sentences < 2:
        raise UserError("one sentence alone: weights need many: give a validation set")
    search = _Search(metric, restarts, seed)
    weights = search.best(lists, counts)
    own = lists.starts[:-1]  # a log's own best hypothesis is the first of its list
    halves = np.random.default_rng(seed).permutation(sentences) < sentences // 2
    held = counts[own].copy()
    for half in (halves, ~halves):
        fitted, index = lists.only(np.flatnonzero(~half))
        chosen = lists.best(search.best(fitted, counts[index]))
        held[half] = counts[chosen[half]]
    _, test = significance.paired(metric, [counts[own], held])
    score, before = (metric.value(counts[chosen].sum(0)) for chosen in (lists.best(weights), own))
    return Tuned(weights, score, before, test)


class _Search:
    """Minimum error rate training."""

    def __init__(self, metric, restarts, seed):
        self.metric, self.restarts, self.seed = metric, restarts, seed

    def best(self, lists, counts):
        """Weights (F,) of the original features, with the sum of their amounts on features of unit spread 1."""
        scale = _spread(lists)
        inner = Lists(lists.names, lists.features / scale, lists.starts)
        rng = np.random.default_rng(self.seed)
        count = len(lists.names)
        points = [_own_ranking(lists.names)] + [rng.normal(size=count) for _ in range(self.restarts)]
        found = [self._climb(inner, counts, point, rng) for point in points]
        _, weights = max(found, key=lambda pair: pair[0])
        return weights / np.abs(weights).sum() / scale

    def _climb(self, lists, counts, point, rng):
        """(score, weights) after lines that no longer gain."""
        score = self._value(counts[lists.best(point)].sum(0))
        while True:
            before = score
            directions = [*np.eye(len(point)), *rng.normal(size=(len(point), len(point)))]
            for direction in directions:
                found, step = self._line(lists, counts, point, direction)
                if found > score + _GAIN:
                    moved = point + step * direction
                    # the middle of an interval gives just its choice, but for ties and rounding
                    score, point = self._value(counts[lists.best(moved)].sum(0)), moved / np.abs(moved).max()
            if score <= before + _GAIN:
                return score, point

    def _line(self, lists, counts, point, direction):
        """(best score, step to it) on the line point + step · direction."""
        offsets, slopes = lists.features @ point, lists.features @ direction
        changes, total = [], 0
        for a, b in lists.bounds:
            order, steps = envelope(offsets[a:b], slopes[a:b])
            total = total + counts[a + order[0]]
            changes += [(step, a + old, a + new) for step, old, new in zip(steps, order, order[1:], strict=False)]
        if not changes:
            return self._value(total), 0.0
        changes.sort()
        steps = np.array([step for step, _, _ in changes])
        old, new = (np.array(column) for column in list(zip(*changes, strict=True))[1:])
        sums = total + np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts[new] - counts[old], 0)])
        middles = np.concatenate([[steps[0] - 1], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 1]])
        # intervals of no width stand for no point
        wide = np.concatenate([[True], np.diff(steps) > 1e-9, [True]])
        values = np.array([self._value(row) for row in sums[wide]])
        best = int(np.argmax(values))
        return values[best], middles[wide][best]

    def _value(self, sums):
        return self.metric.value(sums)


def envelope(offsets: np.ndarray, slopes: np.ndarray) -> tuple[list[int], list[float]]:
    """Which of the lines offset + x · slope is the highest, from x = −∞ to ∞: (indices, the k − 1 points of change).

    >>> envelope(np.array([0.0, 0.0, -5.0]), np.array([-1.0, 1.0, 0.0]))
    ([0, 1], [0.0])
    """
    hull: list[int] = []
    steps: list[float] = []
    # by slope, of equal slopes the highest last: it is the only one that can be seen
    for i in np.lexsort((-np.arange(len(offsets)), offsets, slopes)).tolist():
        if hull and slopes[hull[-1]] == slopes[i]:
            hull.pop()
            if steps:
                steps.pop()
        while hull:
            step = float((offsets[hull[-1]] - offsets[i]) / (slopes[i] - slopes[hull[-1]]))
            if not steps or step > steps[-1]:
                steps.append(step)
                break
            hull.pop()
            steps.pop()
        hull.append(i)
    return hull, steps


def _spread(lists):
    """The standard deviation of each feature within its lists, 1 where it never differs."""
    centred = np.concatenate([lists.features[a:b] - lists.features[a:b].mean(0) for a, b in lists.bounds])
    spread = np.sqrt((centred**2).mean(0))
    return np.where(spread > 1e-12, spread, 1.0)


def _own_ranking(names):
    point = np.zeros(len(names))
    point[names.index("score") if "score" in names else 0] = 1.0
    return point


# --- the file ---


def save(weights: Weights, path: str | Path) -> None:
    """Write a file of weights; it appears whole or not at all."""
    from .. import __version__

    content = {
        "format": FORMAT,
        "version": VERSION,
        "labo_fairseq": __version__,
        "weights": weights.weights,
        "tuned_on": weights.tuned_on,
    }
    with write_aside(path) as stream:
        json.dump(content, stream, indent=1, allow_nan=False)
        stream.write("\n")


def load(path: str | Path) -> Weights:
    """Read a file of weights. Raises UserError on a broken or foreign one."""
    try:
        content: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a file of weights ({error}): name one that `labo rerank --tune` wrote") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a file of weights: name one that `labo rerank --tune` wrote")
    if content.get("version") != VERSION:
        raise UserError(f"{path}: version {content.get('version')!r:.50}: this package reads {VERSION}: tune anew")
    weights: Any = content.get("weights")
    good = isinstance(weights, dict) and weights and all(map(_is_weight, weights.values()))
    if not good or not isinstance(content.get("tuned_on"), dict):
        raise UserError(f"{path}: broken file of weights: tune anew")
    return Weights({name: float(value) for name, value in weights.items()}, content["tuned_on"])


def _is_weight(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


# --- the output ---


def reranked(sentences: list[Sentence], lists: Lists, weights: np.ndarray) -> list[Sentence]:
    """The Sentences with their hypotheses in the order of the weighted sums.

    The score of a hypothesis becomes the base-2 logarithm of its share under softmax of the sums in its list: not above
    0, as readers of a log expect, and in their order.
    """
    sums = lists.features @ weights
    found = []
    for sentence, (a, b) in zip(sentences, lists.bounds, strict=True):
        own = sums[a:b]
        shares = (own - own.max() - np.log(np.exp(own - own.max()).sum())) / math.log(2)
        order = np.argsort(-own, kind="stable")
        hypotheses = [_with_score(sentence.hypotheses[i], min(float(shares[i]), 0.0)) for i in order]
        found.append(Sentence(sentence.id, sentence.source, sentence.target, tuple(hypotheses)))
    return found


def _with_score(hypothesis, score):
    h = hypothesis
    return Hypothesis(score, h.tokens, h.text, h.positional_scores, h.alignment, h.confidence)
