"""A table of text, as every command prints it: TSV, Markdown, and HTML in the report."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_NUMBER = re.compile(r"[+\-−]?[\d.,]+%?|–")


@dataclass(frozen=True)
class TextTable:
    """Rows of strings under a title (none where it is empty), the heading first; `notes` belong below."""

    title: str
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    @property
    def numeric(self) -> list[bool]:
        """For each column, whether all its cells are numbers, so that it is set to the right."""
        heading, *rows = self.rows
        return [all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(heading))]

    def as_tsv(self) -> str:
        """The title and the notes as lines that begin with "#", the rows between them."""
        lines = [f"# {self.title}"] if self.title else []
        lines += ["\t".join(map(cell, row)) for row in self.rows]
        return "\n".join(lines + [f"# {note}" for note in self.notes])

    def as_markdown(self) -> str:
        """A table for a Markdown page, the notes as a list below it."""
        heading, *rows = [[cell(text).replace("|", "\\|") for text in row] for row in self.rows]
        cells = [heading, ["--:" if number else "---" for number in self.numeric], *rows]
        lines = [f"| {' | '.join(line)} |" for line in cells]
        return "\n".join([*([self.title, ""] if self.title else []), *lines, "", *(f"- {note}" for note in self.notes)])


def table_of(
    title: str, rows: Sequence[Mapping[str, Any]], layout: str = ".4f", notes: Sequence[str] = ()
) -> TextTable:
    """A TextTable of dicts with the same keys: floats in a layout, a dash for NaN and None, other values as text."""
    cells = [[_shown_value(value, layout) for value in row.values()] for row in rows]
    return TextTable(title, [list(rows[0]), *cells], list(notes))


def print_tables(tables: Iterable[TextTable]) -> None:
    """TSV on standard output, an empty line between tables."""
    print("\n\n".join(table.as_tsv() for table in tables))


def cell(text: str) -> str:
    """Text without the characters that would break a row."""
    return " ".join(text.split())


def shown(value: Any, layout: str) -> str:
    """A number in a layout, or a dash where there is none."""
    return "–" if value is None else format(value, layout)


def _shown_value(value, layout):
    if value is None or value != value:
        return "–"
    return format(value, layout) if isinstance(value, float) else str(value)
