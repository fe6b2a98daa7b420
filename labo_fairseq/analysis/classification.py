"""Tables and figures about image classifiers, from files of predictions; sections of the report."""

import statistics
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from . import class_figures, predictions, significance
from .page import Section, drawn, saved
from .tables import TextTable, shown

HISTOGRAM_BINS = 20
SHOWN_CLASSES = 20  # more do not fit on a page
# heading: (key of measured(), factor, layout); the first ones with a test where there are several seeds
COLUMNS = {
    "accuracy": ("accuracy", 100, ".2f"),
    "top-5": ("top5", 100, ".2f"),
    "ECE": ("ece", 1, ".4f"),
    "ECE after": ("ece_after", 1, ".4f"),
    "NLL": ("nll", 1, ".4f"),
    "NLL after": ("nll_after", 1, ".4f"),
    "T": ("temperature", 1, ".3f"),
    "risk-coverage area": ("risk_coverage_area", 1, ".4f"),
}
TESTED = ("accuracy", "top-5", "ECE", "ECE after")


@dataclass(frozen=True)
class Seed:
    """One training: predictions to measure, the temperature that other images chose (None without such), notes."""

    test: predictions.Predictions
    temperature: float | None
    warnings: tuple = ()

    def measured(self):
        """{name: value} of predictions.measures, and ece_after, nll_after, temperature; None where there is no T."""
        found = predictions.measures(self.test)
        after = {} if self.temperature is None else predictions.measures(self.test, self.temperature)
        extra = {f"{name}_after": after.get(name) for name in ("ece", "nll", "signature")}
        return {**found, **extra, "temperature": self.temperature}


def seed_of(checkpoint, subset, fit_subset, fit_share=1.0):
    """The Seed of the files beside a checkpoint. Raises UserError for a missing or damaged one.

    fit_share: share of the fit_subset's images, drawn at random, that the temperature is fitted to
    """
    test = predictions.read(predictions.path_beside(checkpoint, subset))
    path = predictions.path_beside(checkpoint, fit_subset)
    if not path.exists():
        return Seed(test, None, (f"{path}: not there: nothing to fit a temperature to",))
    fitted = predictions.read(path)
    same = np.array_equal(fitted.labels, test.labels) and np.array_equal(fitted.logits, test.logits)
    note = f"{test.data}: {fit_subset} and {subset} are the same images: the ECE after calibration is not held out"
    notes = [note] if same else []
    for name, found in ((subset, test), (fit_subset, fitted)):
        if found.clean_labels is not None:
            wrong = 100 * float((found.clean_labels != found.labels).mean())
            notes.append(f"{name}: {wrong:.1f} % of the labels are noise that the training run added: all is by them")
    temperature = predictions.fit_temperature(predictions.share_of(fitted, fit_share))
    return Seed(test, temperature, tuple(dict.fromkeys(notes)))


def check_same_images(systems):
    """Raise UserError where the systems were measured on different images or classes."""
    (first, one), *others = ((name, seed.test) for name, seeds in systems.items() for seed in seeds)
    for name, test in others:
        if test.classes != one.classes or not np.array_equal(test.labels, one.labels):
            raise UserError(f"{name}: was measured on other images or classes than {first}: report on them separately")


def table(systems):
    """TextTable of {name: [Seed, …]}, the first system being what the others are compared with.

    Several seeds: mean, sample standard deviation, difference and Welch's test. One: McNemar's exact test of accuracy.
    """
    found = {name: [seed.measured() for seed in seeds] for name, seeds in systems.items()}
    several = max(map(len, systems.values())) > 1
    columns = [["system", *systems]]
    if several:
        columns.append(["seeds", *(str(len(seeds)) for seeds in systems.values())])
    for heading, (key, factor, layout) in COLUMNS.items():
        values = [[factor * m[key] for m in seeds if m[key] is not None] for seeds in found.values()]
        columns.append([heading, *(shown(statistics.fmean(v) if v else None, layout) for v in values)])
        if several:
            columns += _over_seeds(heading, values, layout)
    if not several and len(systems) > 1:
        first, *others = (seeds[0].test for seeds in systems.values())
        columns.append(["accuracy p (McNemar)", "–", *(shown(mcnemar(first, other), ".4f") for other in others)])
    notes = dict.fromkeys(note for seeds in systems.values() for seed in seeds for note in seed.warnings)
    signatures = [f"{name}: {seeds[0]['signature']}" for name, seeds in found.items()]
    signatures += [f"{name} after: {s[0]['signature_after']}" for name, s in found.items() if s[0]["signature_after"]]
    return TextTable("accuracy (%), calibration, NLL (nats)", list(zip(*columns, strict=True)), [*signatures, *notes])


def _over_seeds(heading, values, layout):
    if not all(values):
        return []
    seeds = significance.across_seeds(values)
    columns = [[f"{heading} std", *(shown(s.std, layout) for s in seeds)]]
    if heading in TESTED and len(values) > 1:
        columns.append([f"{heading} difference", *(shown(s.difference, "+" + layout) for s in seeds)])
        columns.append([f"{heading} p (Welch)", *(shown(s.p_welch, ".4f") for s in seeds)])
    return columns


def mcnemar(first, other):
    """Exact two-sided p-value of McNemar's test on the images that one of two classifiers alone gets right.

    None where the two were measured on different images.
    """
    from scipy.stats import binomtest

    if not np.array_equal(first.labels, other.labels):
        return None
    one, two = (p.logits.argmax(1) == p.labels for p in (first, other))
    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    return float(binomtest(only_one, only_one + only_two).pvalue) if only_one + only_two else 1.0


def as_json(systems):
    """Everything that `table` shows, unrounded: {"systems": {name: [{…} of each seed]}}."""
    return {"systems": {name: [seed.measured() for seed in seeds] for name, seeds in systems.items()}}


# sections: each takes ({name: [Seed, …]}, folder of the figures and tables) and returns a Section


def scores(systems, out):
    """Accuracy, ECE and NLL, and the accuracy of each class."""
    text = "The temperature is fitted to validation images. Everything below is of the first seed of each system."
    tables = [saved(table(systems), out, "classification"), _shortened(saved(per_class(systems), out, "per_class"))]
    return Section("Accuracy and calibration", text, tables=tables)


def calibration(systems, out):
    """Reliability before and after temperature scaling."""
    figures = []
    for i, (name, seeds) in enumerate(systems.items(), 1):
        seed = seeds[0]
        whens = [("before", 1.0)] + ([] if seed.temperature is None else [("after", seed.temperature)])
        rows = [row for when, t in whens for row in predictions.reliability_rows(seed.test, t, when)]
        sign = ";  ".join(predictions.signature(t, len(seed.test)) for _, t in whens)
        figure = class_figures.reliability(rows, name, sign)
        figures.append(drawn(figure, out, f"classes_reliability_{i}", f"reliability of {name}"))
        figures.append(drawn(class_figures.bin_errors(rows, name, sign), out, f"bin_errors_{i}", f"bins of {name}"))
        saved(_table_of_bins(rows, name), out, f"bin_errors_{i}")
        cells = [["" if isinstance(v, float) and np.isnan(v) else f"{v}" for v in row.values()] for row in rows]
        saved(TextTable(f"reliability of {name}: {sign}", [list(rows[0]), *cells]), out, f"classes_reliability_{i}")
    text = "How often images of a given confidence are right; below, how many there are. Vertical bars: 95%."
    return Section("Reliability of classes", text, figures)


def _table_of_bins(rows, name):
    """TextTable of the images in each bin and the distance of accuracy and confidence there."""
    lines = [["when", "low", "high", "images", "|accuracy − confidence|"]]
    for row in rows:
        gap = abs(row["accuracy"] - row["confidence"]) if row["count"] else None
        bounds = (f"{row[key]:.4f}" for key in ("bin_low", "bin_high"))
        lines.append([row["when"], *bounds, f"{row['count']:.0f}", shown(gap, ".4f")])
    return TextTable(f"calibration error by bin: {name}", lines)


def confidence(systems, out):
    """Histograms of the largest probability, right and wrong apart, and risk against coverage."""
    found = {n: predictions.confidence_and_correct(seeds[0].test) for n, seeds in systems.items()}
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = {n: [np.histogram(p[c], edges)[0] for c in (right, ~right)] for n, (p, right) in found.items()}
    rows = [["system", "low", "high", "right", "wrong"]]
    for name, (right, wrong) in counts.items():
        cells = zip(edges[:-1], edges[1:], right, wrong, strict=True)
        rows += [[name, f"{low:.2f}", f"{high:.2f}", str(r), str(w)] for low, high, r, w in cells]
    saved(TextTable("images by the probability of the predicted class", rows), out, "softmax_histogram")
    curves = {name: predictions.risk_coverage(*pair) for name, pair in found.items()}
    rows = [["system", "coverage", "risk"]]
    for name, (coverage, risk) in curves.items():
        picked = np.unique(np.linspace(0, len(risk) - 1, 200).round().astype(int))
        rows += [[name, f"{coverage[i]:.4f}", f"{risk[i]:.6f}"] for i in picked]
    saved(TextTable("error rate of the most confident images", rows), out, "risk_coverage")
    count = len(next(iter(systems.values()))[0].test)
    figures = [
        drawn(
            class_figures.softmax_histograms(counts, edges, predictions.signature(1, count, "softmax")),
            out, "softmax_histogram", "histograms of the probability of the predicted class",
        ),
        drawn(
            class_figures.risk_coverage(curves, predictions.signature(1, count, "risk-coverage")),
            out, "risk_coverage", "error rate against coverage",
        ),
    ]  # fmt: skip
    text = (
        "Left: the probability of the predicted class, T = 1. Right: the error rate if only the most confident images "
        "are answered; the area under it is the mean over all coverages."
    )
    return Section("Confidence of classes", text, figures)


def confusions(systems, out):
    """What is taken for what."""
    figures, tables = [], []
    for i, (name, seeds) in enumerate(systems.items(), 1):
        test = seeds[0].test
        counts = predictions.confusion(test)
        rows = [["true \\ predicted", *test.classes]]
        rows += [[label, *map(str, row)] for label, row in zip(test.classes, counts.tolist(), strict=True)]
        saved(TextTable(f"confusion of {name}, images", rows), out, f"confusion_{i}")
        sign = predictions.signature(1, len(test), "confusion")
        figure = class_figures.confusion(counts, test.classes, name, sign)
        figures.append(drawn(figure, out, f"confusion_{i}", f"confusion matrix of {name}"))
        tables.append(_mistakes(name, test.classes, counts))
    text = "Shares of the images of a true class (rows), in percent. The most frequent mistakes are below."
    return Section("Confusion", text, figures, tables)


SECTIONS = (scores, calibration, confidence, confusions)


def per_class(systems):
    """TextTable: accuracy in percent of every class, the hardest of the first system first."""
    test = {name: seeds[0].test for name, seeds in systems.items()}
    rates, sizes = {}, None
    for name, one in test.items():
        counts = predictions.confusion(one)
        sizes = counts.sum(1) if sizes is None else sizes
        with np.errstate(invalid="ignore"):
            rates[name] = 100 * counts.diagonal() / counts.sum(1)
    first = next(iter(test.values()))
    order = np.argsort(next(iter(rates.values())), kind="stable")
    rows = [["class", "images", *rates]]
    for i in order:
        cells = (shown(None if np.isnan(r[i]) else r[i], ".2f") for r in rates.values())
        rows.append([first.classes[i], str(sizes[i]), *cells])
    return TextTable("accuracy of each class (%)", rows)


def _shortened(found):
    if len(found.rows) <= SHOWN_CLASSES + 1:
        return found
    note = f"the {SHOWN_CLASSES} hardest of {len(found.rows) - 1} classes; all are in per_class.tsv"
    return TextTable(found.title, found.rows[: SHOWN_CLASSES + 1], [note])


def _mistakes(name, classes, counts, most=5):
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows = [["true", "predicted", "images"]]
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            rows.append([classes[i], classes[j], str(wrong[i, j])])
    return TextTable(f"most frequent mistakes of {name}", rows)
