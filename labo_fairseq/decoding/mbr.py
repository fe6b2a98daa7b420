"""Minimum-Bayes-risk decoding: of the candidates of a sentence the one of highest expected utility.

The utility of a candidate is its similarity to another one (chrF, BLEU, …); its expectation is over the other
candidates, each with a weight. Candidates come from generate logs: n-best lists, samples, several systems together.

Weights. *uniform*: each hypothesis of a log counts the same, so that a frequent sample counts as often as it was drawn.
*model*: in proportion to the probability that the model gives a text. *calibrated*: to that probability to the
power of 1/T, where T > 1 trusts the model less and T < 1 more. In the latter two a text counts once, however often it
was drawn, and the probabilities of its different divisions into subwords are added. Each of several logs has the same
share of the weight, long or short: probabilities of different models, and of samples and n-best lists, cannot be
compared.
"""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from ..errors import UserError
from ..records.generate_log import Hypothesis, Sentence
from ..records.mbr import Fit, read_fit

TEMPERATURES = tuple(10 ** (k / 10) for k in range(-10, 21))  #: that a fit tries: 0.1 to 100
_SAME = 1e-3  # nats per token within which two scores are of the same subwords: P- lines have four decimals


class Draw(NamedTuple):
    """One candidate. log_prob: of the whole hypothesis, nats, None where it is not known; tokens: that have it."""

    text: str
    hypothesis: Hypothesis
    log_prob: float | None
    tokens: int


@dataclass(frozen=True)
class Candidates:
    """The different texts of one sentence, n of them, the most probable first, from m systems.

    hypotheses: of each text the most probable one; draws: (m, n), how many hypotheses of a system have this text;
    log_probs: (m, n), nats, −inf where a system does not have it; None where a log has no P- lines.
    """

    sentence: Sentence  #: its id, source and target
    texts: list[str]
    hypotheses: list[Hypothesis]
    draws: np.ndarray
    log_probs: np.ndarray | None

    def weights(self, temperature: float | None) -> np.ndarray:
        """(n,), with the sum 1: uniform (None), or softmax(log_probs / temperature), averaged over the logs."""
        if temperature is None:
            return (self.draws / self.draws.sum(axis=1, keepdims=True)).mean(axis=0)
        if self.log_probs is None:
            raise UserError(f"id {self.sentence.id}: no P- lines: weights by probability need them: generate with them")
        return softmax(self.log_probs / temperature, axis=1).mean(axis=0)


class Choice(NamedTuple):
    """The hypothesis of highest expected utility of one sentence, and what it was chosen from."""

    sentence: Sentence  #: with this hypothesis alone
    utility: float  #: expected, 0 to 100
    weight: float  #: of its text
    texts: int  #: different ones
    candidates: int
    rank: int  #: of its text by probability (by H- score without P- lines), 1 for the most probable


def candidates_of(logs: Sequence[Sequence[Sentence]], names: Sequence[str]) -> list[Candidates]:
    """The Candidates of each sentence, from the logs of m systems on one test set; names: of their files, for messages.

    Raises UserError where the logs are not of the same sentences.
    """
    for log, name in zip(logs[1:], names[1:], strict=True):
        if len(log) != len(logs[0]):
            raise UserError(f"{name}: has {len(log)} sentences, {names[0]} has {len(logs[0])}: give logs of one set")
        for first, other in zip(logs[0], log, strict=True):
            if None not in (first.source, other.source) and first.source != other.source:
                raise UserError(f"{name}: S-{other.id} is another sentence than in {names[0]}: give logs of one set")
    return [_of_one(sentences) for sentences in zip(*logs, strict=True)]


def _of_one(sentences):
    draws = [[_draw(hypothesis) for hypothesis in sentence.hypotheses] for sentence in sentences]
    return merged(next((s for s in sentences if s.target is not None), sentences[0]), draws)


def _draw(hypothesis):
    scores = hypothesis.positional_scores
    log_prob = None if scores is None else sum(scores) * math.log(2)
    return Draw(text_of(hypothesis), hypothesis, log_prob, len(scores or ()))


def merged(sentence: Sentence, draws: Sequence[Sequence[Draw]]) -> Candidates:
    """The Candidates of one sentence. draws: of each system."""
    groups: dict[str, list[list[Draw]]] = {}
    for system, drawn in enumerate(draws):
        for draw in drawn:
            groups.setdefault(draw.text, [[] for _ in draws])[system].append(draw)
    every = [list(itertools.chain(*group)) for group in groups.values()]
    scored = all(draw.log_prob is not None for group in every for draw in group)
    counts = np.array([list(map(len, group)) for group in groups.values()]).T
    order, matrix = np.arange(len(every)), None
    if scored:
        matrix = np.array([[_total(drawn) for drawn in group] for group in groups.values()]).T
        order = np.argsort(-matrix.max(axis=0), kind="stable")
        matrix = matrix[:, order]
        every = [sorted(group, key=lambda draw: draw.log_prob or 0.0, reverse=True) for group in every]
    hypotheses = [every[k][0].hypothesis for k in order]
    return Candidates(sentence, [every[k][0].text for k in order], hypotheses, counts[:, order], matrix)


def text_of(hypothesis: Hypothesis) -> str:
    """The detokenized text of a hypothesis, or its tokens with subwords of `@@` joined."""
    if hypothesis.text is not None:
        return hypothesis.text.strip()
    return (" ".join(hypothesis.tokens) + " ").replace("@@ ", "").strip()


def _total(drawn):
    """log of the sum of the probabilities of the different divisions into subwords among draws of one text."""
    kept: list = []
    for length, value in sorted((draw.tokens, draw.log_prob) for draw in drawn):
        if not kept or kept[-1][0] != length or value - kept[-1][1] > _SAME * length:
            kept.append((length, value))
    return float(logsumexp([value for _, value in kept])) if kept else -math.inf


def decode(candidates: Iterable[Candidates], utility: Any, temperature: float | None = None) -> Iterator[Choice]:
    """The Choice of each sentence.

    utility: of utilities.py; temperature: None for uniform weights, 1 for those of the model. Of equal expected
    utilities the more probable text counts.
    """
    for one in candidates:
        weights = one.weights(temperature)
        expected = utility.expected(one.sentence.source, one.texts, weights)
        best = int(np.argmax(expected))
        sentence = Sentence(one.sentence.id, one.sentence.source, one.sentence.target, (one.hypotheses[best],))
        count = int(one.draws.sum())
        yield Choice(sentence, float(expected[best]), float(weights[best]), len(one.texts), count, best + 1)


def fit(candidates: Iterable[Candidates], references: Sequence[str], utility: Any) -> Fit:
    """The temperature of the weights that chooses the best translations of a validation set, of `TEMPERATURES`.

    references: a text for each sentence. Of equally good temperatures the highest counts, which trusts the model least.
    """
    kinds = [None, *TEMPERATURES]
    collected = []
    for one, reference in zip(candidates, references, strict=True):
        weights = np.stack([one.weights(temperature) for temperature in kinds], axis=1)
        expected = utility.expected(one.sentence.source, one.texts, weights)
        against = utility.against(one.sentence.source, one.texts, reference)
        collected.append([*against[expected.argmax(axis=0)], against[0], against.max()])
    scores = np.array(collected)
    means = scores.mean(axis=0)
    best = max(range(1, len(kinds)), key=lambda k: (means[k], k))
    errors = (scores - scores[:, :1]).std(axis=0) / math.sqrt(len(scores))
    names = ["uniform", *(f"{t:.4g}" for t in TEMPERATURES), "most probable", "best of all"]
    rows = [
        {"weights": name, "utility": float(mean), "difference": float(mean - means[0]), "standard error": float(error)}
        for name, mean, error in zip(names, means, errors, strict=True)
    ]
    return Fit(TEMPERATURES[best - 1], utility.signature, len(scores), rows)


def load_temperature(path: str | os.PathLike, utility: Any) -> float:
    """The temperature of a fit's file. Raises UserError where it is damaged, or fitted for another utility."""
    found = read_fit(path)
    if found.utility != utility.signature:
        raise UserError(f"{path}: was fitted for the utility {found.utility}, not {utility.signature}: fit it anew")
    return found.temperature
