"""Probabilities of the tokens that beam search chose (Figure 2 of LABO), from the P- lines of generate logs."""

import itertools
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..measures.correlation import SAMPLES, SEED, correlations
from ..records.tables import TextTable, shown
from . import systems

BINS = 20
COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Histogram:
    """Probabilities of the chosen tokens of one system in one split."""

    system: str
    split: str
    sentences: int
    counts: tuple[int, ...]  #: per bin; bins of equal width, closed on the left, 1.0 in the last
    mean: float
    median: float
    surprisal: float  #: mean of -log2 p, bits per token

    @property
    def tokens(self):
        """Number of tokens, ends of sentences included."""
        return sum(self.counts)

    @property
    def shares(self):
        """The histogram as shares of the tokens; they add up to 1."""
        return [count / self.tokens for count in self.counts]

    @property
    def entropy(self):
        """Entropy of the histogram, in bits, from 0 to log2 of the number of bins."""
        shares = np.array([share for share in self.shares if share])
        return float(-(shares * np.log2(shares)).sum()) + 0.0  # no -0.0


def has_probabilities(system):
    """Whether a System is a generate log with P- lines."""
    return system.sentences is not None and None not in [h.positional_scores for h in system.best()]


def token_probabilities(system):
    """One array per sentence: natural probabilities of the tokens of the best translation, the end of it last.

    Raises UserError where the system is no generate log or has no P- lines.
    """
    if system.sentences is None:
        raise UserError(f"{system.file}: is no generate log: give the output of fairseq-generate")
    scores = [hypothesis.positional_scores for hypothesis in system.best()]
    if None in scores:
        raise UserError(f"{system.file}: has no P- lines: give the whole output of fairseq-generate")
    return [np.exp2(np.array(logs)) for logs in scores]


def histograms(probabilities, splits=(), bins=BINS):
    """[Histogram] of each system, of all sentences and then of each split.

    probabilities: {system: [array per sentence]}; splits: of frequency.Split.
    """
    made = []
    for name, sentences in probabilities.items():
        pieces = [("all", range(len(sentences))), *((split.name, split.ids) for split in splits)]
        for split, ids in pieces:
            values = np.concatenate([sentences[i] for i in ids])
            # 2^0 and 2^tiny are 1: anything above is the rounding of the four decimals that fairseq prints
            counts, _ = np.histogram(np.minimum(values, 1), bins=bins, range=(0, 1))
            with np.errstate(divide="ignore"):  # log2 0 is -inf
                surprisal = float(-np.log2(values).mean()) + 0.0
            shape = (float(values.mean()), float(np.median(values)), surprisal)
            made.append(Histogram(name, split, len(ids), tuple(map(int, counts)), *shape))
    return made


def overlap(first, second):
    """Area that two histograms share, in [0, 1]: the sum of the smaller shares (1 minus the total variation)."""
    return sum(map(min, first.shares, second.shares))


def risk_coverage(system, references, lowercase=False, tokenize=None):
    """[(coverage, sentences, lowest confidence, BLEU)] of the most confident sentences; None without C- lines.

    references: a References; tokenize: of BLEU, None for 13a.
    """
    if system.sentences is None or system.best()[0].confidence is None:
        return None
    metric = references.metric("bleu", lowercase, tokenize)
    lines = systems.texts(system, references.first, references.name, detokenized_as=references.detokenized_as)
    return most_confident(metric, metric.count(lines), [hypothesis.confidence for hypothesis in system.best()])


def most_confident(metric, counts, confidences):
    """[(coverage, sentences, lowest confidence, score)] of the most confident sentences.

    metric: a bleu.Metric; counts: its statistics of each sentence; confidences: of each
    """
    confidences = np.array(confidences)
    order = np.argsort(-confidences, kind="stable")
    rows = []
    for coverage in COVERAGES:
        chosen = order[: max(1, round(coverage * len(order)))]
        rows.append((coverage, len(chosen), float(confidences[chosen[-1]]), metric.score(counts[chosen]).value))
    return rows


def chrf_correlations(system, references, lowercase=False, samples=SAMPLES, seed=SEED):
    """{number: {"kendall", "pearson": Correlation}} with sentence chrF2; None without C- lines.

    The numbers are the sentence confidence and, for comparison, the mean log-probability of the tokens.
    """
    if system.sentences is None or system.best()[0].confidence is None:
        return None
    lines = systems.texts(system, references.first, references.name, detokenized_as=references.detokenized_as)
    scores = np.array(references.metric("chrf2", lowercase).sentence_scores(lines))
    numbers = {"confidence": [hypothesis.confidence for hypothesis in system.best()]}
    if system.best()[0].positional_scores is not None:
        numbers["mean log-probability"] = [np.mean(hypothesis.positional_scores) for hypothesis in system.best()]
    if len(scores) < 2:
        raise UserError(f"{system.file}: one sentence alone: a correlation needs two")
    return {name: correlations(np.array(values), scores, samples, seed) for name, values in numbers.items()}


def table_of_correlations(found):
    """A row for each system with C- lines and number."""
    rows = [["system", "number", "Kendall", "95% from", "to", "Pearson", "95% from", "to"]]
    for system, numbers in found.items():
        for name, of_number in (numbers or {}).items():
            cells = [
                shown(None if value != value else value, "+.3f")
                for one in of_number.values()
                for value in (one.value, one.low, one.high)
            ]
            rows.append([system, name, *cells])
    notes = [f"Kendall's tau-b and Pearson's r over the sentences; bootstrap of {SAMPLES} samples, seed {SEED}"]
    return TextTable("correlation with sentence chrF2", rows, notes)


def table_of_summary(histograms):
    """One row per system and split."""
    rows = [["system", "split", "sentences", "tokens", "mean", "median", "surprisal", "entropy"]]
    for h in histograms:
        numbers = [f"{value:.3f}" for value in (h.mean, h.median, h.surprisal, h.entropy)]
        rows.append([h.system, h.split, str(h.sentences), str(h.tokens), *numbers])
    notes = [
        "surprisal: mean of -log2 p in bits, 0 where the model is always certain; entropy: how evenly these "
        "probabilities spread over the bins from 0 to 1, in bits, 0 where one bin holds them all (the model's own "
        "predictions may be surer or less sure than that)"
    ]
    return TextTable("probabilities of the chosen tokens, the end of the sentence included", rows, notes)


def table_of_histograms(histograms):
    """One row per bin: shares of the tokens in per cent."""
    bins = len(histograms[0].counts)
    rows = [["from", "to", *(_label(h) for h in histograms)]]
    for i in range(bins):
        rows.append([f"{i / bins:.3f}", f"{(i + 1) / bins:.3f}", *(f"{100 * h.shares[i]:.2f}" for h in histograms)])
    return TextTable("histogram, % of the tokens", rows)


def tables_of_overlap(histograms):
    """[TextTable]: overlap between the splits of each system, and between systems on each split; those that exist."""
    by_place = {(histogram.system, histogram.split): histogram for histogram in histograms}
    names, pieces = (list(dict.fromkeys(values)) for values in zip(*by_place, strict=True))
    tables = []
    pairs = list(itertools.combinations(pieces[1:], 2))
    if pairs:
        rows = [["system", *(f"{a}, {b}" for a, b in pairs)]]
        rows += [[n, *(f"{overlap(by_place[n, a], by_place[n, b]):.3f}" for a, b in pairs)] for n in names]
        tables.append(TextTable("overlap between the histograms of two splits (1: equal)", rows))
    pairs = list(itertools.combinations(names, 2))
    if pairs:
        rows = [["systems", *pieces]]
        rows += [[f"{a}, {b}", *(f"{overlap(by_place[a, s], by_place[b, s]):.3f}" for s in pieces)] for a, b in pairs]
        tables.append(TextTable("overlap between the histograms of two systems (1: equal)", rows))
    return tables


def table_of_coverage(coverage):
    """BLEU of the most confident sentences of each system with C- lines."""
    rows = [["system", "share", "sentences", "lowest confidence", "BLEU"]]
    for name, points in coverage.items():
        for share, sentences, lowest, value in points or []:
            rows.append([name, f"{share:.0%}", str(sentences), f"{lowest:.3f}", f"{value:.2f}"])
    lacking = [name for name, points in coverage.items() if points is None]
    notes = [f"no C- lines: {', '.join(lacking)}"] if lacking else []
    return TextTable("BLEU of the most confident sentences", rows, notes)


def _label(histogram):
    return f"{histogram.system}: {histogram.split}"
