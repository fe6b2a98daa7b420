"""Figures of docs/inside.md, in the style of style.py."""

import numpy as np

from .style import COLOURS, GREY, MARKERS, STYLES, WIDTH, new_figure, plain, title

_SQUARE = 2.9  # inches of a panel
_FLOOR = 1e-6  # the smallest probability that a bar shows


def penultimate(projected, classes, limit=100):
    """Scatter plots, a row per system, a column per subset; crosses are the templates (Müller et al. 2019, Figure 1).

    projected: {system: {subset: [penultimate.Projection]}}, of which the first seed is shown; at most `limit` examples
    of a class, spread evenly over the data. Panels have scales of their own: smoothing shrinks them.
    """
    subsets = list(next(iter(projected.values())))
    figure, panels = _grid(len(projected), len(subsets))
    for row, (system, by_subset) in zip(panels, projected.items(), strict=True):
        for axes, subset in zip(row, subsets, strict=True):
            _scatter(axes, by_subset[subset][0], classes, limit)
            axes.set_title(f"{plain(system)}\n{subset}", **title())
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _scatter(axes, projection, classes, limit):
    for i, name in enumerate(classes):
        points = projection.points[projection.labels == i]
        points = points[np.unique(np.linspace(0, len(points) - 1, limit).round().astype(int))]
        axes.scatter(*points.T, s=9, color=COLOURS[i], marker=MARKERS[i], alpha=0.6, linewidths=0, label=plain(name))
    look = {"marker": "x", "s": 45, "linewidths": 1.8, "zorder": 3}
    axes.scatter(*projection.templates.T, color=list(COLOURS[:3]), **look)
    axes.scatter([], [], color=GREY, label="template", **look)
    axes.set_aspect("equal", adjustable="datalim")
    tightness = projection.measures["tightness"]
    axes.set_xlabel(f"tightness {tightness:.3g}", fontsize=8.5)


def _grid(rows, columns):
    figure, _ = new_figure(1, 0.7 + _SQUARE * rows)
    figure.clear()
    figure.set_size_inches(max(WIDTH, _SQUARE * columns), 0.7 + _SQUARE * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def targets(rows, heading):
    """A panel per distribution, bars by type, on a logarithmic scale (Lu et al. 2023, Figure 1c, but linear there).

    rows: {type: {name of the distribution: probability}}
    """
    names = list(next(iter(rows.values())))
    types = [plain(token) for token in rows]
    figure, panels = new_figure(len(names), 0.8 + len(names) * (0.5 + 0.17 * len(types)), sharex=True)
    for i, (axes, name) in enumerate(zip(panels, names, strict=True)):
        values = [row[name] for row in rows.values()]
        axes.barh(range(len(types)), values, color=COLOURS[i])
        for place, value in enumerate(values):
            axes.text(max(value, _FLOOR) * 1.15, place, f"{value:.2g}", va="center", fontsize=7)
        axes.set_yticks(range(len(types)), types, fontsize=8)
        axes.invert_yaxis()
        axes.set_title(name, **title())
    panels[0].set_xscale("log")
    panels[0].set_xlim(_FLOOR, 4)
    panels[-1].set_xlabel("probability (logarithmic)")
    figure.suptitle(plain(heading if len(heading) <= 90 else heading[:89] + "…"), fontsize=8.5)
    return figure


def padding(rows, bins):
    """Reliability at T = 1, and ECE against T, of target tokens and with padding counted.

    rows, bins: dicts of the rows of padding.tsv and reliability.tsv
    """
    figure, (reliability, curve) = new_figure(2, 6.6)
    reliability.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    for i, way in enumerate(dict.fromkeys(row["counted"] for row in rows)):
        look = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4, "linestyle": STYLES[i], "linewidth": 1.4}
        mine = [row for row in bins if row["counted"] == way]
        places = sum(row["places"] for row in mine)
        label = f"{way} ({places} places)"
        reliability.plot([r["confidence"] for r in mine], [r["accuracy"] for r in mine], label=label, **look)
        points = [row for row in rows if row["counted"] == way]
        best = min(points, key=lambda row: row["ece"])
        label = f"{way}: lowest {best['ece']:.3f} at T = {best['T']:g}"
        curve.plot([r["T"] for r in points], [r["ece"] for r in points], label=label, **look)
    reliability.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence, T = 1", ylabel="accuracy")
    reliability.set_title("What counting padding does", **title())
    curve.set(xlabel="temperature", ylabel="ECE")
    curve.set_ylim(bottom=0)
    for axes in (reliability, curve):
        axes.legend(frameon=False, fontsize=8)
    return figure
