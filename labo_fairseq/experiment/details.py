"""What stands beside the scores of an experiment: the parts of BLEU, calibration, probabilities of chosen tokens."""

import statistics

import numpy as np

from ..analysis import confidence, systems
from ..analysis.references import of_corpus
from ..records.tables import TextTable, shown

ORDERS = 4  # of BLEU's n-grams


def precisions(title, read, corpus):
    """TextTable of BLEU, its n-gram precisions, its brevity penalty and the length ratio, means over the seeds.

    read: {method: [analysis.systems.System of each seed]}
    """
    references, tokenize = of_corpus(corpus)
    metric = references.metric("bleu", corpus.lowercase, tokenize)
    orders = [f"{n}-gram" for n in range(1, ORDERS + 1)]
    rows = [["method", "seeds", "BLEU", *orders, "brevity penalty", "length ratio"]]
    for method, seeds in read.items():
        texts = [systems.texts(system, references.first, references.name) for system in seeds]
        scores = [metric.metric.corpus_score(lines, None) for lines in texts]
        numbers = [f"{statistics.fmean(score.score for score in scores):.2f}"]
        numbers += [f"{statistics.fmean(score.precisions[n] for score in scores):.1f}" for n in range(ORDERS)]
        numbers += [f"{statistics.fmean(getattr(score, key) for score in scores):.3f}" for key in ("bp", "ratio")]
        rows.append([method, str(len(seeds)), *numbers])
    return TextTable(title, rows, [f"BLEU: {metric.signature}"])


def confidence_of_chosen(title, read):
    """TextTable of the probabilities of the chosen tokens, mean and deviation over the seeds. read: as `precisions`."""
    rows = [["method", "seeds", "mean", "std", "median", "below 0.5 (%)", "surprisal (bits)"]]
    for method, seeds in read.items():
        tokens = [np.concatenate(confidence.token_probabilities(system)) for system in seeds]
        means = [float(values.mean()) for values in tokens]
        std = statistics.stdev(means) if len(means) > 1 else None
        median = statistics.fmean(float(np.median(values)) for values in tokens)
        unsure = statistics.fmean(100 * float((values < 0.5).mean()) for values in tokens)
        with np.errstate(divide="ignore"):  # log 0, where a model ruled the token out
            surprisal = statistics.fmean(float(-np.log2(values).mean()) for values in tokens)
        numbers = [f"{statistics.fmean(means):.3f}", shown(std, ".3f"), f"{median:.3f}"]
        rows.append([method, str(len(seeds)), *numbers, f"{unsure:.1f}", f"{surprisal:.3f}"])
    return TextTable(title, rows, ["of the best translation, the end of the sentence included"])


def calibration(title, scores):
    """TextTable of ECE and NLL of validation and test data, before and after one temperature, means over the seeds.

    scores: {method: [{"before": {"ece", "nll"}, "after": …, "test before": …, "test after": …} of each seed]}
    """
    sets = {"before": "valid", "after": "valid after", "test before": "test", "test after": "test after"}
    heading = [f"{name} {label}".strip() for label in sets.values() for name in ("ECE", "ECE std", "NLL")]
    rows = [["method", "seeds", *heading]]
    for method, seeds in scores.items():
        cells = []
        for key in sets:
            measured = [seed[key] for seed in seeds if key in seed]
            ece, nll = ([row[name] for row in measured] for name in ("ece", "nll"))
            std = statistics.stdev(ece) if len(ece) > 1 else None
            means = [statistics.fmean(values) if values else None for values in (ece, nll)]
            cells += [shown(means[0], ".4f"), shown(std, ".4f"), shown(means[1], ".3f")]
        rows.append([method, str(len(seeds)), *cells])
    return TextTable(title, rows, ["next token given the reference, end of sentence included; 15 bins; NLL in nats"])
