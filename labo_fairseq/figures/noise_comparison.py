"""Figures of `labo noise compare`, after Figures 5 to 11 of Chen et al. (2020)."""

import sys

import numpy as np

from . import noise as noise_figures
from . import style


def draw(comparisons, out, predicted):
    """Write the figures of comparisons (noise.compare.Comparison) to the folder `out`.

    predicted: function from (type, target masses (P,), clean rate, classes) to the predicted losses, (P,), in nats
    """
    for kind in dict.fromkeys(one.type for one in comparisons):
        mine = [one for one in comparisons if one.type == kind]
        name = noise_figures.NAMES[kind]
        style.save(noise_figures.slices(*_slices(mine, kind, predicted), f"{name} type"), out / f"slices_{kind}.png")
        rates, masses = (sorted({round(getattr(one, key), 6) for one in mine}) for key in ("clean_rate", "p"))
        if len(rates) < 2 or len(masses) < 2:
            print(f"labo noise: {name} type: one clean rate or p alone: no landscape", file=sys.stderr)
            continue
        for title, figure in _landscapes(mine, np.array(rates), np.array(masses), name).items():
            style.save(figure, out / f"{title}_{kind}.png")


def _landscapes(mine, rates, masses, name):
    """{file name: figure} over the grid of clean rates and masses."""

    def field(key):
        return _field(mine, rates, masses, key)

    losses = {"predicted loss (nats)": "predicted", "on training images": "fitted", "held out": "held_out"}
    losses = {heading: (field(key), "lowest") for heading, key in losses.items()}
    shares = {"accuracy": "accuracy", "accuracy of the best epoch": "best_accuracy"}
    shares = {heading: (100 * field(key), "highest") for heading, key in shares.items()}
    shares = {heading: pair for heading, pair in shares.items() if np.isfinite(pair[0]).any()}
    best = {heading: _best(rates, masses, *pair) for heading, pair in {**losses, **shares}.items()}
    accuracy = shares["accuracy"][0]
    errors = {f"a = {rate:g}": _points(masses, 100 - accuracy[:, i]) for i, rate in enumerate(rates)}
    curves = {f"p = {p:g}": _points(rates, accuracy[i]) for i, p in enumerate(masses)}
    return {
        "landscape": noise_figures.heatmaps(rates, masses, losses),
        "accuracy": noise_figures.heatmaps(rates, masses, shares),
        "optima": style.lines(best, "clean rate a", "p", f"Best p, {name} type"),
        "errors": style.lines(errors, "p on the label", "error (%)", "Error by p"),
        "curves": style.lines(curves, "clean rate a", "accuracy (%)", "Accuracy by clean rate"),
    }


def _slices(mine, kind, predicted):
    """(curves, points) of noise_figures.slices; of several seeds each has its mark."""
    masses = np.linspace(0.02, 0.995, 200)
    curves, points = {}, {}
    for rate in sorted({one.clean_rate for one in mine}):
        here = [one for one in mine if one.clean_rate == rate]
        curves[rate] = (masses, predicted(kind, masses, rate, here[0].classes))
        points[rate] = {
            "training images": [(one.p, one.fitted) for one in here],
            "held-out images": [(one.p, one.held_out) for one in here],
            "averaging over the noise": [(one.p, one.averaging) for one in here],
        }
    return curves, points


def _field(mine, rates, masses, key):
    """(P, A) means over the runs of a cell; NaN without one."""
    field = np.full((len(masses), len(rates)), np.nan)
    for i, p in enumerate(masses):
        for j, rate in enumerate(rates):
            cell = [getattr(o, key) for o in mine if round(o.p, 6) == p and round(o.clean_rate, 6) == rate]
            cell = [value for value in cell if value is not None]
            if cell:
                field[i, j] = np.mean(cell)
    return field


def _best(rates, masses, values, which):
    """[(clean rate, best mass, None)] where anything was measured."""
    ranked = np.where(np.isfinite(values), values if which == "lowest" else -values, np.inf)
    columns = zip(rates, ranked.T, strict=True)
    return [(rate, masses[column.argmin()], None) for rate, column in columns if np.isfinite(column).any()]


def _points(x, y):
    return [(a, b, None) for a, b in zip(x, y, strict=True) if np.isfinite(b)]
