"""Figures about image classifiers, in the style of style.py; each carries a signature of what it shows."""

import numpy as np

from . import style
from .reliability import reliability as reliability_diagram
from .style import COLOURS, MARKERS, STYLES, new_figure, plain, signed, title

_WRITTEN = 20  # classes up to which a confusion matrix has room for names and numbers


def reliability(rows, name, signature):
    """Reliability diagram; rows as in reliability.tsv."""
    return signed(reliability_diagram(rows, name, unit="images"), signature)


def softmax_histograms(counts, edges, signature):
    """A panel per system: share of images by the probability of the predicted class, right and wrong apart.

    counts: {name: (right, wrong)}, (B,) each; edges: (B+1,)
    """
    figure, panels = new_figure(len(counts), 0.9 + 1.7 * len(counts), sharex=True, sharey=True)
    for axes, (name, (right, wrong)) in zip(panels, counts.items(), strict=True):
        total = right.sum() + wrong.sum()
        for i, (label, part) in enumerate((("right", right), ("wrong", wrong))):
            look = {"color": COLOURS[i], "linestyle": STYLES[i], "linewidth": 1.6}
            axes.stairs(100 * part / total, edges, label=label, **look)
        axes.set_title(plain(name), **title())
        axes.set_ylabel("% of images")
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)  # mistakes are few
        axes.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axes.set_ylim(0, 100)
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel("probability of the predicted class")
    panels[0].legend(frameon=False, loc="upper left")
    return signed(figure, signature)


def bin_errors(rows, name, signature):
    """Images (bars) and distance of accuracy and confidence (line) in each bin, as Figure 7 of Guo (2020).

    rows: as in reliability.tsv
    """
    whens = list(dict.fromkeys(row["when"] for row in rows))
    figure, panels = new_figure(len(whens), 0.9 + 2.0 * len(whens), sharex=True, sharey=True)
    for axes, when in zip(panels, whens, strict=True):
        mine = [row for row in rows if row["when"] == when]
        centres = [(row["bin_low"] + row["bin_high"]) / 2 for row in mine]
        width = 0.9 * (mine[0]["bin_high"] - mine[0]["bin_low"])
        axes.bar(centres, [row["count"] for row in mine], width, color=COLOURS[1], alpha=0.45)
        axes.set_ylabel("images (bars)")
        right = axes.twinx()
        right.spines["top"].set_visible(False)
        filled = [
            (x, abs(row["accuracy"] - row["confidence"])) for x, row in zip(centres, mine, strict=True) if row["count"]
        ]
        right.plot(*zip(*filled, strict=True), color=COLOURS[2], marker=MARKERS[0], markersize=4)
        right.set_ylim(0, 1)
        right.set_ylabel("calibration error (line)")
        axes.set_title(f"{plain(name)}, {when} scaling", **title())
    panels[-1].set_xlim(0, 1)
    panels[-1].set_xlabel("confidence")
    return signed(figure, signature)


def training(logs):
    """Training loss above, validation error below, as Figure 2 of Guo (2020). logs: {name: train_log.read_epochs}."""
    figure, (losses, errors) = new_figure(2, 5.0, sharex=True)
    for i, (name, epochs) in enumerate(logs.items()):
        _line(losses, epochs, "loss", i, plain(name))
        _line(errors, epochs, "error", i, plain(name))
    losses.set_ylabel("training loss (bits)")
    losses.set_title("Training loss and validation error", **title())
    errors.set_ylabel("validation error (%)")
    errors.set_xlabel("epoch")
    error_rates = sorted(one["error"] for epochs in logs.values() for one in epochs if "error" in one)
    if error_rates:  # the first epochs would press all others together
        errors.set_ylim(0, 1.5 * error_rates[int(0.9 * (len(error_rates) - 1))] + 0.1)
    style.legend_below(figure, losses)
    return figure


def ece_by_epoch(logs):
    """ECE above, ECE after temperature scaling below, as Figure 6 of Guo (2020)."""
    figure, panels = new_figure(2, 5.0, sharex=True)
    for axes, key, heading in zip(panels, ("ece", "ece_scaled"), ("ECE", "ECE after scaling"), strict=True):
        for i, (name, epochs) in enumerate(logs.items()):
            _line(axes, epochs, key, i, plain(name))
        axes.set_title(f"{heading}, validation", **title())
        axes.set_ylabel("ECE")
        axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("epoch")
    style.legend_below(figure, panels[0])
    return figure


def target_mass(masses):
    """Mean targets of the two true classes and of the largest others, as Figure 4 of Guo (2020).

    masses: {name: {target_true_1: mean, …, target_other_1: mean, …}}
    """
    figure, panels = new_figure(len(masses), 0.8 + 2.0 * len(masses), sharey=True)
    for axes, (name, mass) in zip(panels, masses.items(), strict=True):
        colours = [COLOURS[2] if "true" in target else COLOURS[1] for target in mass]
        bars = axes.bar(range(len(mass)), list(mass.values()), color=colours)
        axes.bar_label(bars, fmt="%.3f", fontsize=7)
        axes.set_xticks(range(len(mass)), [target.removeprefix("target_").replace("_", " ") for target in mass])
        axes.set_ylabel("target mass")
        axes.margins(y=0.12)
        axes.set_title(plain(name), **title())
    return figure


def errors_by_weight(errors):
    """Test error against the weight of the smoothing distribution, as Figure 3 of Guo (2020). errors: {weight: [%]}."""
    figure, (axes,) = new_figure(1, 3.2)
    means = [np.mean(values) for values in errors.values()]
    spread = [np.std(values, ddof=1) if len(values) > 1 else 0 for values in errors.values()]
    axes.errorbar(list(errors), means, spread, color=COLOURS[0], marker=MARKERS[0], markersize=4, capsize=3)
    axes.set_xticks(list(errors))
    axes.set_xlabel("weight of the smoothing distribution")
    axes.set_ylabel("test error (%)")
    axes.set_title("Weight factor; bars: standard deviation over seeds", **title())
    return figure


def _line(axes, epochs, key, i, label):
    points = [(one["epoch"], one[key]) for one in epochs if key in one]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4, **style.look(i))


def risk_coverage(curves, signature):
    """Error rate of the most confident images against their share. curves: {name: (coverage, risk)}."""
    figure, (axes,) = new_figure(1, 3.6)
    for i, (name, (coverage, risk)) in enumerate(curves.items()):
        label = f"{plain(name)} (area {100 * risk.mean():.2f}%)"
        axes.plot(100 * coverage, 100 * risk, label=label, markevery=0.1, **style.marked(i))
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: most confident images answered (%)")
    axes.set_ylabel("risk: errors among them (%)")
    axes.set_title("Risk and coverage", **title())
    style.legend_below(figure, axes, signature)
    return figure


def confusion(counts, classes, name, signature):
    """Confusion matrix: percent of each row; names and numbers where there are few classes."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, (axes,) = new_figure(1, 4.7)
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"Confusion: {plain(name)}", **title())
    if len(classes) <= _WRITTEN:
        places = range(len(classes))
        names = [plain(one if len(one) <= 12 else one[:11] + "…") for one in classes]
        rotation = 0 if max(map(len, names)) <= 3 else 90
        axes.set_xticks(places, names, fontsize=7, rotation=rotation)
        axes.set_yticks(places, names, fontsize=7)
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "#fefefe" if shares[i, j] > 60 else "#111111"  # no colours of svg.THEME: the cell stays as it is
            axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    return signed(figure, signature)
