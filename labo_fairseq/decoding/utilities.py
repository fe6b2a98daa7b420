"""Utilities of minimum-Bayes-risk decoding: how good one text is if another is right.

Each has a `signature`, `expected(source, texts, weights)` and `against(source, texts, reference)`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from ..measures.pairwise import aggregate_bleu, aggregate_chrf, pairwise_bleu, pairwise_chrf


class Overlap:
    """chrF or BLEU: similarity by common n-grams.

    pairwise: function (hypotheses, references or None) -> (n, m); aggregate: function (texts, weights) -> (n,), by
    which expectations are taken against the average text in place of all; None for the exact expectation
    """

    def __init__(self, signature: str, pairwise: Any, aggregate: Any = None):
        self.signature = signature
        self._pairwise = pairwise
        self._aggregate = aggregate

    def expected(self, source: Any, texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
        """Expected utility of each of n texts, (n,) or (n, k), under weights (n,) or (n, k); 0 to 100."""
        if self._aggregate:
            return self._aggregate(texts, weights)
        return self._pairwise(texts, None) @ weights

    def against(self, source: Any, texts: Sequence[str], reference: str) -> np.ndarray:
        """Utility of each of n texts against one reference, (n,)."""
        return self._pairwise(texts, [reference])[:, 0]


def chrf(aggregate: bool = False) -> Overlap:
    """chrF2, as sacreBLEU's sentence_chrf."""
    return Overlap("chrF2" + "|aggregate" * aggregate, pairwise_chrf, aggregate_chrf if aggregate else None)


def bleu(aggregate: bool = False, tokenize: str = "13a") -> Overlap:
    """BLEU with sacreBLEU's `tokenize`, as its sentence_bleu."""

    def pairwise(hypotheses, references):
        return pairwise_bleu(hypotheses, references, tokenize)

    def average(texts, weights):
        return aggregate_bleu(texts, weights, tokenize)

    return Overlap(f"BLEU|tok:{tokenize}" + "|aggregate" * aggregate, pairwise, average if aggregate else None)


class Comet:
    """A network's judgement of each pair beside the source, times 100.

    model: has a `name`, and `scores(sources, hypotheses, references)`, lists of N texts, -> (N,), as analysis/comet.py.
    All n² pairs go through it, so that it is meant for short lists.
    """

    def __init__(self, model: Any):
        self._model = model
        self.signature = f"COMET|model:{model.name}"

    def expected(self, source: Any, texts: Sequence[str], weights: np.ndarray) -> np.ndarray:
        """As `Overlap.expected`."""
        return self._scores(source, texts, texts) @ weights

    def against(self, source: Any, texts: Sequence[str], reference: str) -> np.ndarray:
        """As `Overlap.against`."""
        return self._scores(source, texts, [reference])[:, 0]

    def _scores(self, source, texts, references):
        if source is None:
            raise UserError("--utility comet: needs the sources: give logs with S- lines")
        pairs = list(itertools.product(texts, references))
        scores = self._model.scores([source] * len(pairs), *map(list, zip(*pairs, strict=True)))
        return 100 * scores.reshape(len(texts), len(references))
