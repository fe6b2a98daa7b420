"""What `labo mbr` leaves beside its translations: the fit of a temperature, and a row about each choice."""

import json
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import UserError, above
from ..files import write_aside
from .tables import table_of
from .text import read_text, split_lines

FORMAT, VERSION = "labo-mbr", 1
# columns of --report, each a number
COLUMNS = ("id", "candidates", "texts", "rank", "weight", "utility")
_AGAIN = "write it again: labo mbr"


class Fit(NamedTuple):
    """A fitted temperature.

    utility: signature of what was maximized; sentences: of the validation set; rows: for each kind of weights that was
    tried a dict of "weights" (a temperature, or words), "utility" (mean against the references, 0 to 100), "difference"
    (from uniform weights) and its "standard error"
    """

    temperature: float
    utility: str
    sentences: int
    rows: list[dict[str, Any]]


def write_fit(fit: Fit, path: str | os.PathLike) -> None:
    """Write the JSON file that `read_fit` reads."""
    record = {"format": FORMAT, "version": VERSION, **fit._asdict()}
    record["tried"] = record.pop("rows")
    with write_aside(path) as stream:
        stream.write(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_fit(path: str | os.PathLike) -> Fit:
    """The Fit in a file. Raises UserError where it is none, or damaged."""
    try:
        record = json.loads(read_text(path))
        if (record["format"], record["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        temperature = float(record["temperature"])
        above(f"{path}: temperature", temperature, 0)
        numbers = ("utility", "difference", "standard error")
        rows = [{"weights": str(row["weights"]), **{n: _finite(row[n]) for n in numbers}} for row in record["tried"]]
        return Fit(temperature, str(record["utility"]), int(record["sentences"]), rows)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: no file of `labo mbr --fit-temperature` ({error}): fit it anew") from None


def write_choices(rows: Sequence[dict[str, Any]], path: str | os.PathLike, as_json: bool) -> None:
    """Write what `read_choices` reads: one dict of `COLUMNS` for each sentence, as JSON or TSV."""
    with write_aside(path) as stream:
        stream.write((json.dumps(rows, indent=1) if as_json else table_of("", rows).as_tsv()) + "\n")


def read_choices(path: str | os.PathLike) -> list[dict[str, float]]:
    """Rows of `labo mbr --report`, TSV or JSON, each column a finite number. Raises UserError where it is damaged."""
    text = read_text(path)
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else _rows_of_tsv(text)
        read = [{name: _finite(row[name]) for name in COLUMNS} for row in rows]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise UserError(f"{path}: no rows of {', '.join(COLUMNS)}: {_AGAIN} --report") from None
    if not read:
        raise UserError(f"{path}: is empty: {_AGAIN} --report")
    return read


def read_mbr(path: str | os.PathLike) -> Fit | list[dict[str, float]]:
    """A Fit, or the rows of choices: whichever the file holds. Raises UserError."""
    return read_fit(path) if read_text(path).lstrip().startswith("{") else read_choices(path)


def _rows_of_tsv(text):
    heading, *lines = [line.split("\t") for line in split_lines(text) if line and not line.startswith("#")]
    return [dict(zip(heading, cells, strict=True)) for cells in lines]


def _finite(value):
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return number
