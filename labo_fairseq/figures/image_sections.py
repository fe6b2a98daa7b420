"""Sections of the report about image classifiers."""

import numpy as np

from ..analysis.classification import most_frequent_mistakes, per_class, table, worst_mistakes
from ..measures.calibration import risk_coverage
from ..measures.classification import confidence_and_correct, confusion, image_signature, reliability_rows
from ..records.tables import TextTable, shown
from . import images as class_figures
from .page import Image, Section, image_address, write_figure, write_table

HISTOGRAM_BINS = 20


SHOWN_CLASSES = 20  # more do not fit on a page


def scores(systems, out):
    """Accuracy, ECE and NLL, and the accuracy of each class."""
    text = "The temperature is fitted to validation images. Everything below is of the first seed of each system."
    tables = [
        write_table(table(systems), out, "classification"),
        _shortened(write_table(per_class(systems), out, "per_class")),
    ]
    return Section("Accuracy and calibration", text, tables=tables)


def calibration(systems, out):
    """Reliability before and after temperature scaling."""
    figures = []
    for i, (name, seeds) in enumerate(systems.items(), 1):
        seed = seeds[0]
        whens = [("before", 1.0)] + ([] if seed.temperature is None else [("after", seed.temperature)])
        rows = [row for when, t in whens for row in reliability_rows(seed.test.logits, seed.test.labels, t, when)]
        sign = ";  ".join(image_signature(t, len(seed.test)) for _, t in whens)
        figure = class_figures.reliability(rows, name, sign)
        figures.append(write_figure(figure, out, f"classes_reliability_{i}", f"reliability of {name}"))
        figures.append(
            write_figure(class_figures.bin_errors(rows, name, sign), out, f"bin_errors_{i}", f"bins of {name}")
        )
        write_table(_table_of_bins(rows, name), out, f"bin_errors_{i}")
        cells = [["" if isinstance(v, float) and np.isnan(v) else f"{v}" for v in row.values()] for row in rows]
        write_table(
            TextTable(f"reliability of {name}: {sign}", [list(rows[0]), *cells]), out, f"classes_reliability_{i}"
        )
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
    pairs = {n: confidence_and_correct(seeds[0].test.logits, seeds[0].test.labels) for n, seeds in systems.items()}
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = {n: [np.histogram(p[c], edges)[0] for c in (right, ~right)] for n, (p, right) in pairs.items()}
    rows = [["system", "low", "high", "right", "wrong"]]
    for name, (right, wrong) in counts.items():
        cells = zip(edges[:-1], edges[1:], right, wrong, strict=True)
        rows += [[name, f"{low:.2f}", f"{high:.2f}", str(r), str(w)] for low, high, r, w in cells]
    write_table(TextTable("images by the probability of the predicted class", rows), out, "softmax_histogram")
    curves = {name: risk_coverage(*pair) for name, pair in pairs.items()}
    rows = [["system", "coverage", "risk"]]
    for name, (coverage, risk) in curves.items():
        picked = np.unique(np.linspace(0, len(risk) - 1, 200).round().astype(int))
        rows += [[name, f"{coverage[i]:.4f}", f"{risk[i]:.6f}"] for i in picked]
    write_table(TextTable("error rate of the most confident images", rows), out, "risk_coverage")
    count = len(next(iter(systems.values()))[0].test)
    figures = [
        write_figure(
            class_figures.softmax_histograms(counts, edges, image_signature(1, count, "softmax")),
            out, "softmax_histogram", "histograms of the probability of the predicted class",
        ),
        write_figure(
            class_figures.risk_coverage(curves, image_signature(1, count, "risk-coverage")),
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
        counts = confusion(test.logits, test.labels)
        rows = [["true \\ predicted", *test.classes]]
        rows += [[label, *map(str, row)] for label, row in zip(test.classes, counts.tolist(), strict=True)]
        write_table(TextTable(f"confusion of {name}, images", rows), out, f"confusion_{i}")
        sign = image_signature(1, len(test), "confusion")
        figure = class_figures.confusion(counts, test.classes, name, sign)
        figures.append(write_figure(figure, out, f"confusion_{i}", f"confusion matrix of {name}"))
        tables.append(most_frequent_mistakes(name, test.classes, counts))
    text = "Shares of the images of a true class (rows), in percent. The most frequent mistakes are below."
    return Section("Confusion", text, figures, tables)


def mistakes(systems, pictures):
    """The Section of the surest mistakes of each system as small pictures; None without pictures.

    pictures: {name: {index of an image: PNG bytes}}
    """
    found = []
    for name, of_system in pictures.items():
        test = systems[name][0].test
        images = [
            Image(
                image_address(of_system[index]),
                f"{test.classes[predicted]} with p {p:.3f}, labelled {test.classes[true]} (image {index})",
            )
            for index, true, predicted, p in worst_mistakes(test)
            if index in of_system
        ]
        found += [(f"Surest mistakes of {name}", images)] if images else []
    text = "Wrong predictions with the highest probability, T = 1; below each picture what the model takes it for."
    return Section("Mistakes", text, images=found) if found else None


SECTIONS = (scores, calibration, confidence, confusions)


def _shortened(table):
    if len(table.rows) <= SHOWN_CLASSES + 1:
        return table
    note = f"the {SHOWN_CLASSES} hardest of {len(table.rows) - 1} classes; all are in per_class.tsv"
    return TextTable(table.title, table.rows[: SHOWN_CLASSES + 1], [note])
