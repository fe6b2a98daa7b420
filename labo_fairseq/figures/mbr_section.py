"""Section of the report about minimum-Bayes-risk decoding: what `labo mbr` has left in files."""

import numpy as np

from ..records.mbr import Fit
from ..records.tables import TextTable
from . import style
from .page import Section, write_figure, write_table

NAMED = ("uniform", "most probable")  # of the rows of a fit: choices without a temperature, levels of its figure
TEXT = (
    "Of the candidates of each sentence, the one of highest expected utility is taken. Fit: the mean utility of the "
    "choices against the references of the validation set, by the temperature of the candidates' weights. Choices: "
    "where the chosen one stands among the different candidates in the order of their probability."
)


def section(files, out):
    """Curves of fits and ranks of choices; None without files.

    files: [(name, records.mbr.Fit or the rows of read_choices)]
    """
    if not files:
        return None
    fits = [(name, content) for name, content in files if isinstance(content, Fit)]
    choices = [(name, content) for name, content in files if not isinstance(content, Fit)]
    figures, tables = [], []
    for i, (name, fit) in enumerate(fits, 1):
        title = f"fit of the weights of {name}"
        figures.append(write_figure(style.headed(curve(fit), name), out, f"mbr_fit_{i}", title))
        tables.append(write_table(_table_of_fit(fit, title), out, f"mbr_fit_{i}"))
    if choices:
        figures.append(write_figure(ranks(choices), out, "mbr_ranks", "ranks of the chosen candidates"))
        tables.append(write_table(_table_of_choices(choices), out, "mbr_choices"))
    return Section("Minimum Bayes risk", TEXT, figures, tables)


def curve(fit):
    """The mean utility against the temperature, with uniform weights and the most probable candidate as levels."""
    points = [(float(row["weights"]), row["utility"], None) for row in fit.rows if _is_temperature(row)]
    levels = [(row["utility"], row["weights"]) for row in fit.rows if row["weights"] in NAMED]
    heading = f"Choices by weights, chosen T = {fit.temperature:.4g}"
    return style.lines({fit.utility: points}, "temperature T of the weights", fit.utility, heading, True, levels)


def ranks(choices):
    """The share of sentences whose choice is among the k most probable candidates, against k."""
    series = {}
    for name, rows in choices:
        found, counts = np.unique([row["rank"] for row in rows], return_counts=True)
        shares = 100 * counts.cumsum() / len(rows)
        series[_unused(name, series)] = [(k, share, None) for k, share in zip(found, shares, strict=True)]
    return style.lines(series, "k most probable candidates", "choices among them (%)", "Ranks of the choices", True)


def _unused(name, taken):
    """The name, or the name with a number where it is taken."""
    return next(n for n in (name, *(f"{name} ({i})" for i in range(2, len(taken) + 3))) if n not in taken)


def _is_temperature(row):
    try:
        return float(row["weights"]) > 0
    except ValueError:
        return False


def _table_of_fit(fit, title):
    names = ("utility", "difference", "standard error")
    rows = [["weights", *names, "chosen"]]
    for row in fit.rows:
        chosen = _is_temperature(row) and np.isclose(float(row["weights"]), fit.temperature, rtol=1e-3)
        rows.append([row["weights"], *(f"{row[name]:.4f}" for name in names), "yes" if chosen else ""])
    notes = [f"{fit.utility} of {fit.sentences} sentences; difference: from uniform weights, with its standard error"]
    return TextTable(title, rows, notes)


def _table_of_choices(choices):
    rows = [["system", "sentences", "candidates", "different", "most probable chosen", "expected utility", "weight"]]
    for name, found in choices:
        means = {key: np.mean([row[key] for row in found]) for key in found[0]}
        first = np.mean([row["rank"] == 1 for row in found])
        cells = [f"{means['candidates']:.1f}", f"{means['texts']:.1f}", f"{first:.1%}"]
        rows.append([name, str(len(found)), *cells, f"{means['utility']:.2f}", f"{means['weight']:.4f}"])
    note = "means over sentences: candidates, different texts among them, expected utility and weight of the choice"
    return TextTable("choices of minimum-Bayes-risk decoding", rows, [note])
