"""The figures of the report, drawn with matplotlib.

They are narrow, so that their text stays readable on a phone; colours are told apart by colour-blind readers too (Okabe
and Ito) and lines differ in more than colour.
"""

from ..analysis import words
from .style import COLOURS, SPLIT_COLOURS, STYLES, legend_below, look, marked, new_figure, plain, title


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


def learning_curves(nll, scores, heading):
    """Two panels over the updates: validation nll in bits, and BLEU of kept checkpoints, with deviations over seeds.

    nll, scores: {method: [(updates, mean, standard deviation or None)]}
    """
    figure, panels = new_figure(2, 5.6, sharex=True)
    for i, name in enumerate(dict.fromkeys([*nll, *scores])):
        for axes, curves in zip(panels, (nll, scores), strict=True):
            # of no points too, so that the first panel's legend names every method
            x, y, deviations = zip(*curves[name], strict=True) if name in curves else ([], [], [None])
            bars = None if None in deviations else deviations
            every = max(1, len(x) // 12)  # a marker at each of a hundred validations would hide the lines
            line = {"linewidth": 1.4, "capsize": 2, "markevery": every, "errorevery": every, **marked(i)}
            axes.errorbar(x, y, bars, label=plain(name), **line)
    panels[0].set_ylabel("nll (bits/token)")
    panels[1].set_ylabel("BLEU")
    panels[1].set_xlabel("updates")
    panels[0].set_title(plain(heading), **title())
    legend_below(figure, panels[0])
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


def word_f1(matches_of):
    """F1 by training count of the word. matches_of: {system: [words.Matches]}."""
    figure, (axes,) = new_figure(1, 3.4)
    labels = [words.bucket_name(words.FREQUENCIES, i) for i in range(len(words.FREQUENCIES))]
    for i, (name, matches) in enumerate(matches_of.items()):
        points = [(place, 100 * m.f1) for place, m in enumerate(matches) if m.f1 is not None]
        axes.plot(*zip(*points, strict=True), label=plain(name), **marked(i))
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("occurrences of the word in the training text")
    axes.set_ylabel("word F1 (%)")
    axes.set_title("Words by training frequency", **title())
    legend_below(figure, axes)
    return figure


def confidence_histograms(histograms):
    """A panel per system with a line per split, as Figure 2 of LABO. histograms: of confidence.Histogram."""
    names = list(dict.fromkeys(histogram.system for histogram in histograms))
    figure, panels = new_figure(len(names), 0.9 + 1.9 * len(names), sharex=True, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        of_system = [histogram for histogram in histograms if histogram.system == name]
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
    if any(histogram.split != "all" for histogram in histograms):
        panels[0].legend(frameon=False, title="source frequency", loc="upper left")
    return figure
