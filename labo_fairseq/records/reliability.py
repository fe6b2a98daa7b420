"""reliability.tsv: the bins of a reliability diagram, before and after calibration."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import write_aside
from .text import read_text, split_lines

COLUMNS = ("when", "bin_low", "bin_high", "count", "confidence", "accuracy", "accuracy_low", "accuracy_high")


def read_reliability(folder: str | os.PathLike) -> list[dict[str, Any]] | None:
    """Rows of reliability.tsv as dicts: "when" (before or after), the others numbers; None where there is none.

    Columns: when, bin_low, bin_high, count, confidence and accuracy (means of the bin), accuracy_low, accuracy_high.
    Raises UserError where the file is damaged.
    """
    path = Path(folder, "reliability.tsv")
    if not path.exists():
        return None
    heading, *lines = [line for line in split_lines(read_text(path)) if line and not line.startswith("#")] or [""]
    names = heading.split("\t")
    if names != list(COLUMNS):
        raise UserError(f"{path}: columns {', '.join(names)}: expected {', '.join(COLUMNS)}: calibrate again")
    rows = []
    for line in lines:
        when, *cells = line.split("\t")
        try:
            # an empty bin has a count of 0 and no means
            numbers = [float(cell) if cell else math.nan for cell in cells]
            rows.append({"when": when, **dict(zip(COLUMNS[1:], numbers, strict=True))})
        except ValueError as error:
            raise UserError(f"{path}: {line[:60]!r}: not {len(COLUMNS)} columns of numbers: calibrate again") from error
    if not rows:
        raise UserError(f"{path}: no bins: calibrate again")
    return rows


def write_reliability(rows: Mapping[str, Iterable[Mapping[str, Any]]], path: str | os.PathLike) -> None:
    """Write rows as `read_reliability` gives them, {set of predictions: its bins}; the cells of NaN are empty."""
    with write_aside(path) as stream:
        stream.write("\t".join(COLUMNS) + "\n")
        for when, bins in rows.items():
            stream.writelines("\t".join([when, *(_cell(row[name]) for name in COLUMNS[1:])]) + "\n" for row in bins)


def _cell(value):
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return str(value)
