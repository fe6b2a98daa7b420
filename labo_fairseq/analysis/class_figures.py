"""Figures about image classifiers, in the style of figures.py; each carries a signature of what it shows."""

import numpy as np

from . import figures
from .figures import COLOURS, GREY, MARKERS, STYLES, new_figure, plain, title

_WRITTEN = 20  # classes up to which a confusion matrix has room for names and numbers


def reliability(rows, name, signature):
    """Reliability diagram; rows as in reliability.tsv."""
    return _signed(figures.reliability(rows, name, unit="images"), signature)


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
    return _signed(figure, signature)


def risk_coverage(curves, signature):
    """Error rate of the most confident images against their share. curves: {name: (coverage, risk)}."""
    figure, (axes,) = new_figure(1, 3.6)
    for i, (name, (coverage, risk)) in enumerate(curves.items()):
        look = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)]}
        look |= {"marker": MARKERS[i % len(MARKERS)], "markersize": 4, "markevery": 0.1}
        axes.plot(100 * coverage, 100 * risk, label=f"{plain(name)} (area {100 * risk.mean():.2f}%)", **look)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: most confident images answered (%)")
    axes.set_ylabel("risk: errors among them (%)")
    axes.set_title("Risk and coverage", **title())
    axes.legend(frameon=False, loc="upper left")
    return _signed(figure, signature)


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
            colour = "white" if shares[i, j] > 60 else "black"
            axes.text(j, i, f"{shares[i, j]:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    return _signed(figure, signature)


def _signed(figure, signature):
    figure.supxlabel(signature, fontsize=6.5, color=GREY)
    return figure
