"""Figures of a set of tokens: all of them, and by group; and the numbers of a reliability diagram.

Tokens are grouped by what is known without the reference: the type that the model predicts (whose probability the
confidence is) and the position. Grouping by the target instead would make a perfectly calibrated model look
overconfident on rare types, because the group itself tells something about the label.
"""

import torch

from ..functional.calibration import (
    BINS,
    BinSums,
    adaptive_ece,
    bootstrap_ece,
    ece_of_a_calibrated_model,
    risk_coverage_area,
    wilson_interval,
)

POSITIONS = (0, 1, 5, 10, 20)
_INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)


def ece_figures(confidence, correct, sentence, bins=BINS):
    """The ECE of tokens, and what it is to be compared with; `sentence` is that of each token, (N,).

    ece_low, ece_high: 95 % bootstrap interval over sentences (percentiles; of a small ECE it lies above the value,
        because resampling adds noise to every bin)
    ece_calibrated_model, ece_calibrated_model_high: mean and 97.5 % point of the ECE that a perfectly calibrated model
        with as many tokens and the same confidences would show
    """
    low, high = bootstrap_ece(confidence, correct, sentence, bins=bins).quantile(_INTERVAL)
    calibrated = ece_of_a_calibrated_model(confidence, bins=bins)
    return {
        "ece": float(BinSums.of(confidence, correct, bins).ece()),
        "ece_low": float(low),
        "ece_high": float(high),
        "ece_calibrated_model": float(calibrated.mean()),
        "ece_calibrated_model_high": float(calibrated.quantile(0.975)),
    }


def figures(found, sentence):
    """{name: value} of a TokenStatistics and the sentence of each token; nll in nats, brier in [0, 2]."""
    confidence, correct = found.confidence, found.correct
    return ece_figures(confidence, correct, sentence) | {
        "mce": float(BinSums.of(confidence, correct).mce()),
        "adaptive_ece": float(adaptive_ece(confidence, correct)),
        "nll": float(found.nll.double().mean()),
        "brier": float(found.brier.double().mean()),
        "risk_coverage_area": float(risk_coverage_area(confidence, correct)),
        "accuracy": float(correct.double().mean()),
        "confidence": float(confidence.double().mean()),
        "tokens": len(sentence),
        "sentences": len(sentence.unique()),
    }


def by_group(found, tokens, groups, sign):
    """{group: its figures and signature}: "all", the type groups, EOS or not, positions; those that have tokens.

    groups: None for images, which have "all" alone
    sign: function from the number of tokens to the signature
    """
    masks = {"all": torch.ones_like(found.correct)}
    if groups is not None:
        masks |= _type_masks(found.predicted, groups) | _positions(tokens.position)
    return {
        name: figures(found.select(mask), tokens.sentence[mask]) | {"signature": sign(int(mask.sum()))}
        for name, mask in masks.items()
        if bool(mask.any())
    }


def signature(temperature, unit, count, bins=BINS):
    """Of a figure, as sacreBLEU does it: `ece|bins:15|unit:bpe|T:1.37|n:13842`."""
    return f"ece|bins:{bins}|unit:{unit}|T:{temperature}|n:{count}"


def subword_unit(symbols):
    """ "bpe", "sentencepiece" or "word", by the marks in a dictionary's symbols."""
    if any(symbol.endswith("@@") for symbol in symbols):
        return "bpe"
    return "sentencepiece" if any(symbol.startswith("▁") for symbol in symbols) else "word"


def reliability(confidence, correct, bins=BINS):
    """Rows of a reliability diagram, one per bin: bin_low, bin_high, count, confidence, accuracy, accuracy_low, …_high.

    Means of the bin, and the 95 % Wilson interval of its accuracy (tokens taken as independent); NaN where it is empty.
    """
    sums = BinSums.of(confidence, correct, bins)
    low, high = wilson_interval(sums.correct, sums.count)
    columns = (sums.mean_confidence(), sums.accuracy(), low, high)
    names = ("confidence", "accuracy", "accuracy_low", "accuracy_high")
    return [
        {"bin_low": b / bins, "bin_high": (b + 1) / bins, "count": int(sums.count[b])}
        | {name: float(column[b]) for name, column in zip(names, columns, strict=True)}
        for b in range(bins)
    ]


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
