"""Figures of a set of tokens: all of them, and by group.

Tokens are grouped by what is known without the reference: the type that the model predicts (whose probability the
confidence is) and the position. Grouping by the target instead would make a perfectly calibrated model look
overconfident on rare types, because the group itself tells something about the label.
"""

from collections.abc import Callable
from typing import Any

import torch

from ..fairseq_models.tokens import Tokens
from ..measures.calibration import adaptive_ece, bin_sums, ece_figures, mce, risk_coverage_area
from .groups import TypeGroups

POSITIONS = (0, 1, 5, 10, 20)


def figures(statistics: Any, sentence: torch.Tensor) -> dict:
    """{name: value} of a TokenStatistics and the sentence of each token; nll in nats, brier in [0, 2]."""
    confidence, correct = statistics.confidence.numpy(), statistics.correct.numpy()
    return ece_figures(confidence, correct, sentence.numpy()) | {
        "mce": float(mce(bin_sums(confidence, correct))),
        "adaptive_ece": adaptive_ece(confidence, correct),
        "nll": float(statistics.nll.double().mean()),
        "brier": float(statistics.brier.double().mean()),
        "risk_coverage_area": risk_coverage_area(confidence, correct),
        "accuracy": float(correct.mean()),
        "confidence": float(confidence.mean(dtype="float64")),
        "tokens": len(sentence),
        "sentences": len(sentence.unique()),
    }


def by_group(statistics: Any, tokens: Tokens, groups: TypeGroups | None, sign: Callable[[int], str]) -> dict[str, dict]:
    """{group: its figures and signature}: "all", the type groups, EOS or not, positions; those that have tokens.

    groups: None for images, which have "all" alone
    sign: function from the number of tokens to the signature
    """
    masks = {"all": torch.ones_like(statistics.correct)}
    if groups is not None:
        masks |= _type_masks(statistics.predicted, groups) | _positions(tokens.position)
    return {
        name: figures(statistics.select(mask), tokens.sentence[mask]) | {"signature": sign(int(mask.sum()))}
        for name, mask in masks.items()
        if bool(mask.any())
    }


def _type_masks(predicted, groups):
    group = groups.of_type[predicted]
    eos = predicted == groups.eos
    masks = {name: group == number for number, name in enumerate(groups.names)}
    return {**masks, "eos": eos, "not eos": ~eos}


def _positions(position):
    ends = [*POSITIONS[1:], None]
    masks = {}
    for first, end in zip(POSITIONS, ends, strict=True):
        if end is None:
            masks[f"position {first} or more"] = position >= first
        else:
            name = f"position {first}" if end == first + 1 else f"position {first}-{end - 1}"
            masks[name] = (position >= first) & (position < end)
    return masks
