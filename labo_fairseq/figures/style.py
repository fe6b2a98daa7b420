"""What all figures share: size, colours, titles, legends. matplotlib is imported here and nowhere else."""

import importlib.util
import logging
from pathlib import Path

from ..compat.install import install_command
from ..errors import UserError
from ..files import write_aside

logger = logging.getLogger(__name__)

DPI = 160
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


def save_svg(figure, stream, salt):
    """Write a figure as SVG without a background, its text as text; `salt` chooses the ids of its parts."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", transparent=True)


def invisible_point(x, y, gid):
    """A mark at a place of the data that only a pointer finds; `gid` becomes its id in an SVG."""
    from matplotlib.lines import Line2D

    return Line2D([x], [y], marker="o", markersize=9, linestyle="none", color="black", alpha=0, gid=gid, zorder=20)


def lines(series, x_label, y_label, heading, log_x=False, levels=()):
    """Curves with error bars. series: {name: [(x, y, half-width or None), …]}; levels: [(y, name)], dotted."""
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


def new_figure(panels, height, **options):
    """(figure, its panels below each other); height in inches. Raises UserError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"matplotlib: not installed: {install_command('matplotlib')}") from error
    # no pyplot: it keeps every figure open, and looks for a display
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes_of = figure.subplots(panels, 1, squeeze=False, **options)[:, 0]
    for axes in axes_of:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, axes_of


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


def save_or_warn(draw, path):
    """Write the figure that draw() returns; without matplotlib say that there is none."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning("%s is not drawn: install matplotlib for it: %s", path, install_command("matplotlib"))
    else:
        save(draw(), path)


def headed(figure, heading):
    """The figure with a heading above all its panels."""
    figure.suptitle(plain(heading), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def signed(figure, signature):
    """The figure with a signature of what it shows, small, at its lower edge."""
    figure.supxlabel(signature, fontsize=6.5, color=GREY)
    return figure
