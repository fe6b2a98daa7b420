"""The figures of the report, drawn with matplotlib, which is imported only here (`pip install labo_fairseq[plot]`).

They are narrow, so that their text stays readable on a phone; colours are told apart by colour-blind readers too (Okabe
and Ito) and lines differ in more than colour.
"""

from pathlib import Path

from ..errors import UserError
from ..files import write_aside
from . import words
from .page import DPI

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A8A00")
SPLIT_COLOURS = ("#08306B", "#2C7FB8", "#E6801A")
STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X"
WIDTH = 5.4  # inches
GREY = "#555555"


def save(figure, path):
    """Write a figure under its name when it is whole; the suffix chooses the format. Raises UserError."""
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in ("png", "pdf", "svg"):
        raise UserError(f"--figure: {path}: must end in .png, .pdf or .svg")
    try:
        with write_aside(path, "wb") as stream:
            figure.savefig(stream, format=kind, dpi=DPI)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a file that can be written") from error


def training_curves(logs):
    """Bits per target token over the updates: validation, and training as a thin line.

    logs: {name: train_log.TrainLog}.
    """
    figure, (axes,) = new_figure(1, 3.6)
    for i, (name, log) in enumerate(logs.items()):
        train = [(point.update, point.nll_loss) for point in log.train if point.nll_loss is not None]
        valid = [(point.update, point.nll_loss) for point in log.valid if point.nll_loss is not None]
        if train:
            axes.plot(*zip(*train, strict=True), color=look(i)["color"], linewidth=0.8, alpha=0.55)
        if valid:
            axes.plot(*zip(*valid, strict=True), label=plain(name), **marked(i))
    values = [point.nll_loss for log in logs.values() for point in log.valid if point.nll_loss is not None]
    if values:
        low, high = min(values), max(values)
        axes.set_ylim(low - 0.15 * (high - low) - 0.05, high + 0.15 * (high - low) + 0.05)
    axes.set_xlabel("update")
    axes.set_ylabel("negative log-likelihood (bits/token)")
    axes.set_title("Training: validation with marks, training set thin", **title())
    legend_below(figure, axes)
    return figure


def split_scores(parts, names, heading):
    """Grouped bars of the scores per split, with 95% intervals where there are any. parts: of splits.Part."""
    figure, (axes,) = new_figure(1, 3.4)
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        places = [place + (i - (len(names) - 1) / 2) * width for place in range(len(parts))]
        errors = [part.tests[i].interval for part in parts] if parts[0].tests else None
        if errors and None in errors:
            errors = None
        bar = {"color": COLOURS[i % len(COLOURS)], "label": plain(name), "ecolor": "#333333", "capsize": 2}
        axes.bar(places, [part.scores[i] for part in parts], width * 0.92, yerr=errors, **bar)
    axes.set_xticks(range(len(parts)), [part.name for part in parts])
    axes.set_ylabel(plain(heading))
    axes.set_title("Scores by training frequency of the source", **title())
    legend_below(figure, axes)
    return figure


def word_f1(found):
    """F1 by training count of the word. found: {system: [words.Matches]}."""
    figure, (axes,) = new_figure(1, 3.4)
    labels = [words.bucket_name(words.FREQUENCIES, i) for i in range(len(words.FREQUENCIES))]
    for i, (name, matches) in enumerate(found.items()):
        points = [(place, 100 * m.f1) for place, m in enumerate(matches) if m.f1 is not None]
        axes.plot(*zip(*points, strict=True), label=plain(name), **marked(i))
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("occurrences of the word in the training text")
    axes.set_ylabel("word F1 (%)")
    axes.set_title("Words by training frequency", **title())
    legend_below(figure, axes)
    return figure


def confidence_histograms(found):
    """A panel per system with a line per split, as Figure 2 of LABO. found: of confidence.Histogram."""
    names = list(dict.fromkeys(histogram.system for histogram in found))
    figure, panels = new_figure(len(names), 0.9 + 1.9 * len(names), sharex=True, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        of_system = [histogram for histogram in found if histogram.system == name]
        of_splits = [histogram for histogram in of_system if histogram.split != "all"] or of_system
        for i, histogram in enumerate(of_splits):
            edges = [edge / len(histogram.counts) for edge in range(len(histogram.counts) + 1)]
            shares = [100 * share for share in histogram.shares]
            line = {"color": SPLIT_COLOURS[i % len(SPLIT_COLOURS)], "linestyle": STYLES[i % len(STYLES)]}
            axes.stairs(shares, edges, label=histogram.split, linewidth=1.6, **line)
        axes.set_title(plain(name), **title())
        axes.set_ylabel("% of tokens")
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel("probability of the chosen token")
    if any(histogram.split != "all" for histogram in found):
        panels[0].legend(frameon=False, title="source frequency", loc="upper left")
    return figure


def reliability(bins, name, unit="tokens"):
    """Reliability diagram before and after calibration: accuracy over confidence, and the number of tokens below.

    bins: rows of reliability.tsv, as run_folder.read_reliability gives them. unit: what is counted.
    """
    whens = list(dict.fromkeys(row["when"] for row in bins))
    figure, panels = new_figure(2, 4.6, sharex=True, height_ratios=[3, 1])
    accuracy, numbers = panels
    accuracy.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="perfectly calibrated")
    for i, when in enumerate(whens):
        rows = [row for row in bins if row["when"] == when and row["count"] > 0]
        x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
        errors = [
            [max(0, row["accuracy"] - row["accuracy_low"]) for row in rows],
            [max(0, row["accuracy_high"] - row["accuracy"]) for row in rows],
        ]
        label = f"{when} calibration" if when in ("before", "after") else plain(when)
        label += f" (ECE {_expected_error(rows):.3f})"
        accuracy.errorbar(x, y, errors, capsize=2, linewidth=1.4, label=label, **marked(i))
        edges = [row["bin_low"] for row in bins if row["when"] == when]
        edges.append(max(row["bin_high"] for row in bins if row["when"] == when))
        counts = [row["count"] for row in bins if row["when"] == when]
        numbers.stairs(counts, edges, linewidth=1.4, **look(i))
    accuracy.set_xlim(0, 1)
    accuracy.set_ylim(0, 1)
    accuracy.set_ylabel("accuracy")
    accuracy.set_title(f"Reliability: {plain(name)}", **title())
    accuracy.legend(frameon=False, loc="best")  # overconfident systems lie low, smoothed ones high
    numbers.set_ylabel(unit)
    numbers.set_xlabel("confidence")
    return figure


def lines(series, x_label, y_label, heading, log_x=False, levels=()):
    """Curves with error bars. series: {name: [(x, y, half-width or None), …]}; levels: [(y, name)], dashed."""
    figure, (axes,) = new_figure(1, 3.4)
    for i, (name, points) in enumerate(series.items()):
        x, y, errors = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        bars = None if None in errors else errors
        axes.errorbar(x, y, bars, label=plain(name), linewidth=1.4, capsize=2, **marked(i))
    for y, name in levels:
        axes.axhline(y, color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(plain(name), (1, y), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    if log_x:
        axes.set_xscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(heading, **title())
    legend_below(figure, axes)
    return figure


def _expected_error(rows):
    """ECE of the bins (those with tokens): mean distance of accuracy and confidence, weighted by their tokens."""
    total = sum(row["count"] for row in rows)
    return sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / total if total else 0.0


def new_figure(panels, height, **options):
    """(figure, its panels below each other); height in inches. Raises UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("matplotlib: not installed: pip install 'labo_fairseq[plot]' to draw figures") from error
    # no pyplot: it keeps every figure open, and looks for a display
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    found = figure.subplots(panels, 1, squeeze=False, **options)[:, 0]
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, found


def title():
    """Layout of a title."""
    return {"loc": "left", "fontsize": 10.5}


def look(i):
    """Colour and style of the i-th line; none of the first 32 look alike."""
    # the second round of colours begins with another style
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[(i + i // len(COLOURS)) % len(STYLES)]}


def marked(i):
    """Colour, style and marker of the i-th line."""
    return {**look(i), "marker": MARKERS[(i + 3 * (i // len(COLOURS))) % len(MARKERS)], "markersize": 4}


def legend_below(figure, axes, note=None):
    """A legend of the lines of `axes` under the whole figure, which becomes higher by it; above it a small note."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    columns = max(1, min(3, len(labels), 72 // (8 + max(map(len, labels)))))
    figure.set_figheight(figure.get_figheight() + 0.21 * -(-len(labels) // columns))
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, title=note)
    legend.get_title().set(fontsize=6.5, color=GREY)


def plain(text):
    """Text that matplotlib shows as it is: a dollar begins no formula, a leading underscore hides no label."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
