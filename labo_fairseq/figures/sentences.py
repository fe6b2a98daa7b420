"""The sentences of a test set under all systems, for the sentence browser and the examples of the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis import compare, scored_tokens
from ..analysis.scored_tokens import Scored
from ..files import write_aside
from ..measures.calibration import recalibrated
from .page import Browser, Example, Line, Piece

THOUSAND = 1000  # probabilities are whole thousandths: shorter, and finer than anyone sees
ORDERS = (
    ("order", "order of the text"),
    ("difference", "difference of the two systems"),
    ("score", "chrF2 of the system"),
    ("confidence", "confidence of the system"),
    ("disagreement", "disagreement of all systems"),
    ("length", "length"),
)


@dataclass(frozen=True)
class Output:
    """The translations of one system.

    scored: a Scored per sentence; scores: chrF2 of each, 0 to 100; confidences: of each in [0, 1], or None;
    calibration: rows of a reliability diagram that its probabilities are calibrated by, or None
    """

    scored: Sequence[Scored]
    scores: Sequence[float]
    confidences: Sequence[float | None]
    calibration: Sequence[Mapping] | None = None

    @property
    def calibrated(self):
        """The calibrated probability of each thousandth, in thousandths, (1001,); None without a calibration."""
        if self.calibration is None:
            return None
        exact = recalibrated(np.arange(THOUSAND + 1) / THOUSAND, self.calibration)
        return [round(THOUSAND * float(p)) for p in exact]


def output(system, texts, metric, segment=None, calibration=None):
    """The Output of a System.

    texts: its lines as they are shown; metric: the chrF2; segment: for scored_tokens.scored; calibration: for Output
    """
    scores = metric.sentence_scores(texts)
    if system.sentences is None:
        return Output([scored_tokens.plain(text) for text in texts], scores, [None] * len(texts))
    best = system.best()
    pieces = [scored_tokens.scored(hypothesis, text, segment) for hypothesis, text in zip(best, texts, strict=True)]
    return Output(pieces, scores, [confidence_of(hypothesis) for hypothesis in best], calibration)


def confidence_of(hypothesis):
    """The confidence of its C- line, else the geometric mean of its tokens' probabilities; None without P- lines."""
    if hypothesis.confidence is not None:
        return hypothesis.confidence
    scores = hypothesis.positional_scores
    return min(1.0, 2.0 ** (math.fsum(scores) / len(scores))) if scores else None


def browser(outputs, references, sources, splits, lowercase):
    """The Browser of {name: Output}. sources: lines or None; splits: of frequency.Split."""
    split_of = {i: number for number, split in enumerate(splits) for i in split.ids}
    systems = [{"name": name, "calibrated": one.calibrated} for name, one in outputs.items()]
    sentences = []
    for i, reference in enumerate(references):
        scored = [one.scored[i] for one in outputs.values()]
        sentences.append(
            {
                "id": i,
                "words": len(reference.split()),
                "split": split_of.get(i),
                "source": sources[i] if sources else None,
                "reference": reference,
                "disagreement": round(scored_tokens.disagreement([one.text for one in scored], lowercase), 3),
                "out": [_packed(one, i, reference, lowercase) for one in outputs.values()],
            }
        )
    names = [split.name for split in splits]
    data = {"systems": systems, "splits": names, "sentences": sentences}
    orders = [one for one in ORDERS if len(outputs) > 1 or one[0] not in ("difference", "disagreement")]
    return Browser(list(outputs), names, orders, data)


def _packed(one, i, reference, lowercase):
    """[score, confidence, pieces, probabilities or 0, marks of differing words] as page.js reads it."""
    scored, confidence = one.scored[i], one.confidences[i]
    marks = scored_tokens.differing(scored.pieces, reference, lowercase)
    probabilities = 0 if scored.probabilities is None else [_thousandths(p) for p in scored.probabilities]
    confidence = None if confidence is None else round(confidence, 4)
    return [round(one.scores[i], 2), confidence, list(scored.pieces), probabilities, "".join("01"[m] for m in marks)]


def _thousandths(probability):
    return round(THOUSAND * probability)


def examples(outputs, references, sources, lowercase, number):
    """[Example]: the sentences that each system wins and loses most clearly against the first, `number` of each."""
    (baseline, base), *others = outputs.items()
    found = []
    for name, one in others:
        gained = compare.wins_and_losses(one.scores, base.scores, number)
        for label, ids in zip(("better", "worse"), gained, strict=True):
            for i in ids:
                lines = [Line("source", sources[i])] if sources else []
                lines.append(Line("reference", references[i]))
                lines += [_line(n, outputs[n], i, references[i], lowercase) for n in (baseline, name)]
                gap = abs(one.scores[i] - base.scores[i])
                found.append(Example(f"{name} {label} than {baseline} by {gap:.1f}: id {i}", lines))
    return found


def _line(name, one, i, reference, lowercase):
    """A Line whose pieces look as page.js would make them."""
    scored, calibrated = one.scored[i], one.calibrated
    marks = scored_tokens.differing(scored.pieces, reference, lowercase)
    texts, ends = list(scored.pieces), []
    if scored.probabilities is not None and len(scored.probabilities) > len(texts):
        texts, ends, marks = [*texts, "end"], [len(texts)], [*marks, False]
    pieces = []
    for place, (text, mark) in enumerate(zip(texts, marks, strict=True)):
        looks = ["t", *["d"] * mark, *["end"] * (place in ends)]
        tip = ""
        if scored.probabilities is not None:
            raw = _thousandths(scored.probabilities[place])
            p = raw if calibrated is None else calibrated[raw]
            looks.append(f"p{min(9, p // 100)}")
            tip = f"{text.strip()}: p {raw / THOUSAND:.3f}"
            tip += "" if calibrated is None else f", calibrated {p / THOUSAND:.3f}"
        shown = text.lstrip()
        pieces.append(Piece(text[: len(text) - len(shown)], shown, " ".join(looks), tip))
    return Line(f"{name} ({one.scores[i]:.1f})", pieces=pieces)


def write_sentences(outputs, references, sources, path):
    """Write all sentences as TSV: id, source, reference; of each system its text, chrF2 and confidence."""
    heading = ["id", *["source"] * bool(sources), "reference"]
    heading += [f"{name}{what}" for name in outputs for what in ("", " chrF2", " confidence")]
    with write_aside(path) as stream:
        stream.write("\t".join(heading) + "\n")
        for i, reference in enumerate(references):
            cells = [str(i), *([sources[i]] if sources else []), reference]
            for one in outputs.values():
                confidence = one.confidences[i]
                cells += [one.scored[i].text, f"{one.scores[i]:.2f}", "" if confidence is None else f"{confidence:.4f}"]
            stream.write("\t".join(" ".join(cell.split()) for cell in cells) + "\n")
