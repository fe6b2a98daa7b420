"""A table of text, shown as TSV here and as HTML in the report."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextTable:
    """Rows of strings under a title, the heading first; `notes` belong below."""

    title: str
    rows: list
    notes: list = field(default_factory=list)

    def as_tsv(self):
        """The title and the notes as lines that begin with "#", the rows between them."""
        lines = [f"# {self.title}", *("\t".join(map(cell, row)) for row in self.rows)]
        return "\n".join(lines + [f"# {note}" for note in self.notes])


def print_tables(tables):
    """TSV on standard output, an empty line between tables."""
    print("\n\n".join(table.as_tsv() for table in tables))


def cell(text):
    """Text without the characters that would break a row."""
    return " ".join(text.split())


def shown(value, layout):
    """A number in a layout, or a dash where there is none."""
    return "–" if value is None else format(value, layout)
