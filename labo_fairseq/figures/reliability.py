"""The reliability diagram, of tokens and of images."""

from ..measures.calibration import ece
from .style import GREY, look, marked, new_figure, plain, title


def reliability(bins, name, unit="tokens"):
    """Reliability diagram before and after calibration: accuracy over confidence, and the number of tokens below.

    bins: rows of reliability.tsv, as records.reliability.read_reliability gives them. unit: what is counted.
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
        label += f" (ECE {_ece(rows):.3f})"
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


def _ece(rows):
    """ECE of rows of the diagram, those with tokens."""
    columns = [[row["count"] * row.get(name, 1) for row in rows] for name in ("", "confidence", "accuracy")]
    return float(ece(columns)) if rows else 0.0
