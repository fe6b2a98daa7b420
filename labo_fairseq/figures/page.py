"""One HTML page that needs nothing but itself: no network, no script, images inline; for screens, phones and paper."""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

from ..files import write_aside
from .style import DPI


@dataclass(frozen=True)
class Figure:
    """A PNG image with the words for those who do not see it."""

    png: bytes
    alternative: str

    @property
    def data(self):
        """The image as base64, for an address within the page."""
        return base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Example:
    """One sentence: a heading and (label, text) pairs."""

    heading: str
    lines: list


@dataclass(frozen=True)
class Section:
    """A heading with text, figures, tables (of tables.TextTable) and examples, each optional."""

    title: str
    text: str = ""
    figures: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    examples: list = field(default_factory=list)


def write_table(table, folder, name):
    """Write a TextTable as FOLDER/NAME.tsv; returns it."""
    with write_aside(Path(folder, f"{name}.tsv")) as stream:
        stream.write(table.as_tsv() + "\n")
    return table


def write_figure(figure, folder, name, alternative):
    """Write a figure of matplotlib as FOLDER/NAME.png; returns its Figure."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    with write_aside(Path(folder, f"{name}.png"), "wb") as stream:
        stream.write(image.getvalue())
    return Figure(image.getvalue(), alternative)


def page(title, text, sections):
    """The page as text. Everything that comes in is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0], ""),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html.j2").render(title=title, text=text, sections=sections).rstrip() + "\n"


def _breakable(text, after="_"):
    """Escaped text that may break after a character, as names of systems are long words."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace(after, f"{after}<wbr>"))
