"""Pictures. matplotlib is imported only when one is drawn; without it there is none, and a warning says so."""

import contextlib
import importlib.util
import logging

from ..files import write_aside

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def figure(path, rows, columns, **options):
    """Yields (figure, axes) of matplotlib's subplots, or None without matplotlib; saved as PNG at the end."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning("%s is not drawn: install matplotlib for it (pip install matplotlib)", path)
        yield None
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(layout="constrained", figsize=options.pop("figsize", (9, 5)))
    FigureCanvasAgg(drawing)
    yield drawing, drawing.subplots(rows, columns, **options)
    with write_aside(path, "wb") as stream:
        drawing.savefig(stream, format="png", dpi=150)


def reliability_diagram(panels, path):
    """Accuracy against confidence, with 95 % intervals, above the number of tokens in each bin.

    panels: {title: rows of measures.reliability}
    """
    size = (4.5 * len(panels), 6)
    grid = {"figsize": size, "sharex": True, "squeeze": False, "height_ratios": [3, 1], "sharey": "row"}
    with figure(path, 2, len(panels), **grid) as drawn:
        if drawn is None:
            return
        _, axes = drawn
        for column, (title, rows) in enumerate(panels.items()):
            _accuracies(axes[0][column], [row for row in rows if row["count"]], title)
            _counts(axes[1][column], rows)
        axes[0][0].set_ylabel("accuracy")
        axes[1][0].set_ylabel("tokens")


def _accuracies(axis, rows, title):
    accuracy = [row["accuracy"] for row in rows]
    interval = [
        [row["accuracy"] - row["accuracy_low"] for row in rows],
        [row["accuracy_high"] - row["accuracy"] for row in rows],
    ]
    axis.bar(
        [row["bin_low"] for row in rows],
        accuracy,
        width=[row["bin_high"] - row["bin_low"] for row in rows],
        align="edge",
        color="#c6dbef",
        edgecolor="white",
    )
    axis.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="calibrated")
    axis.errorbar(
        [row["confidence"] for row in rows],
        accuracy,
        yerr=interval,
        fmt="o",
        markersize=4,
        capsize=2,
        color="#08519c",
        label="accuracy at the mean confidence, 95 %",
    )
    axis.set(title=title, xlim=(0, 1), ylim=(0, 1))
    axis.title.set_fontsize(10)
    axis.legend(loc="lower right", fontsize=8)


def _counts(axis, rows):
    axis.bar(
        [row["bin_low"] for row in rows],
        [row["count"] for row in rows],
        width=[row["bin_high"] - row["bin_low"] for row in rows],
        align="edge",
        color="#9ecae1",
        edgecolor="white",
    )
    axis.set(xlabel="confidence", yscale="log", ylim=(0.8, None))
    axis.minorticks_off()
