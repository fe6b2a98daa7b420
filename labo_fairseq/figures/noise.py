"""Figures about label noise and smoothing, after those of Chen et al. (2020); arrays in, matplotlib figures out."""

import numpy as np

from .style import COLOURS, GREY, MARKERS, look, new_figure, plain, title

NAMES = {"alpha": "α", "beta": "β", "gamma": "γ"}


def landscapes(rates, masses, losses, optima, classes):
    """Figure 1: a panel per type, loss over clean rate and target mass, with the best mass of every clean rate.

    rates: (A,); masses: (P,); losses: {type: (P, A)} in nats, may be infinite; optima: {type: (A,)}
    """
    figure, panels = new_figure(len(losses), 0.5 + 2.3 * len(losses), sharex=True)
    for axes, (kind, loss) in zip(panels, losses.items(), strict=True):
        _heatmap(figure, axes, rates, masses, loss, "loss (nats)", np.log(classes) * 2)
        axes.plot(rates, optima[kind], color="white", linestyle="--", linewidth=1.4)
        axes.set_ylabel("p on the label")
        axes.set_title(f"{NAMES[kind]} type, {classes} classes (dashed: best p)", **title())
    panels[-1].set_xlabel("clean rate a")
    return figure


def optima(rates, curves, heading):
    """Figures 2 to 4: best target mass over the clean rate. curves: {name: (A,)}."""
    figure, (axes,) = new_figure(1, 3.5)
    for i, (name, values) in enumerate(curves.items()):
        axes.plot(rates, values, label=plain(name), **look(i))
    axes.set_xlabel("clean rate a")
    axes.set_ylabel("best p on the label")
    axes.set_ylim(0, 1.02)
    axes.set_title(heading, **title())
    axes.legend(frameon=False, fontsize=8)
    return figure


def slices(curves, points, heading):
    """Figures 6 and 7: a panel per clean rate, predicted loss as a line, measured losses as marks.

    curves: {clean rate: (masses, losses)}; points: {clean rate: {name: [(mass, loss)]}}
    """
    figure, panels = new_figure(len(curves), 0.6 + 2.5 * len(curves), sharex=True)
    for axes, (rate, (masses, losses)) in zip(panels, curves.items(), strict=True):
        axes.plot(masses, losses, color=GREY, linewidth=1.4, label="predicted")
        for i, (name, found) in enumerate(points[rate].items()):
            marks = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none", "markersize": 5}
            marks |= {"fillstyle": "none" if i else "full"}  # several may lie on one point
            axes.plot(*zip(*found, strict=True), label=name, **marks)
        axes.set_ylabel("loss (nats)")
        axes.set_ylim(bottom=0)
        axes.set_title(f"{heading}, clean rate {rate:g}", **title())
        axes.legend(frameon=False, fontsize=8)
    panels[-1].set_xlabel("p on the label")
    return figure


def heatmaps(rates, masses, fields, marks=None):
    """Figures 5 and 9: a panel per field over clean rate and target mass, its best cell of each clean rate marked.

    fields: {heading: ((P, A) values, "lowest" or "highest")}; NaN where nothing was measured
    """
    figure, panels = new_figure(len(fields), 0.5 + 2.3 * len(fields), sharex=True)
    for axes, (heading, (values, best)) in zip(panels, fields.items(), strict=True):
        _heatmap(figure, axes, rates, masses, values, "", None, nearest=True)
        for rate, column in zip(rates, values.T, strict=True):
            if np.isfinite(column).any():
                place = np.nanargmin(column) if best == "lowest" else np.nanargmax(column)
                axes.plot(rate, masses[place], marker="+", color="white", markersize=8, markeredgewidth=2)
        axes.set_ylabel("p on the label")
        axes.set_title(f"{heading} (+: {best})", **title())
    panels[-1].set_xlabel("clean rate a")
    return figure


def _heatmap(figure, axes, rates, masses, values, label, highest, nearest=False):
    axes.grid(False)
    values = np.where(np.isinf(values), np.nan if highest is None else highest, values)
    shading = "nearest" if nearest else "gouraud"
    image = axes.pcolormesh(rates, masses, values, cmap="viridis", vmax=highest, shading=shading, rasterized=True)
    figure.colorbar(image, ax=axes, label=label)
