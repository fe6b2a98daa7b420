"""One HTML page that needs nothing but itself: no network, pictures inline; for screens, phones and paper.

It can be read without JavaScript; with it tables are sorted by a click and sentences are searched. Data never become
code: text is escaped, the sentences are JSON in which no character can end the element (`json_in_page`), and the page's
security policy names the one script that may run by its hash.
"""

import base64
import functools
import hashlib
import io
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import write_aside
from .style import DPI
from .svg import svg

_WIDE, _HUGE = 44, 110  # characters of a table's row that a phone, a sheet of paper holds
# characters with which text could end its element or, in old browsers, a line of code
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Figure:
    """A figure of matplotlib with a name that is unique on the page, and words for those who do not see it."""

    figure: Any
    name: str
    alternative: str

    @functools.cached_property
    def svg(self):
        """The figure as an <svg> element that is safe to insert."""
        from markupsafe import Markup

        return Markup(svg(self.figure, self.name))


@dataclass(frozen=True)
class Image:
    """A small picture with its caption; address: a data: URI."""

    address: str
    caption: str


@dataclass(frozen=True)
class Piece:
    """A token of a shown sentence: the space before it, its text, its CSS classes, what hovering says."""

    gap: str
    text: str
    look: str
    tip: str


@dataclass(frozen=True)
class Line:
    """A labelled sentence; `pieces` of Piece where its tokens are shaded, else its text."""

    label: str
    text: str = ""
    pieces: list = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """One sentence: a heading and its Lines."""

    heading: str
    lines: list


@dataclass(frozen=True)
class Browser:
    """The sentences of a test set, to search and sort.

    systems: names; splits: names of the frequency splits, or empty; orders: [(key of page.js, label)]; data: what
    page.js reads (figures/sentences.py makes it)
    """

    systems: list
    splits: list
    orders: list
    data: dict

    @property
    def json(self):
        """The data as JSON that is safe inside a script element."""
        from markupsafe import Markup

        return Markup(json_in_page(self.data))


@dataclass(frozen=True)
class Section:
    """A heading with text, figures, tables (of tables.TextTable), examples and pictures, each optional.

    images: [(heading, [Image])]; legend: whether to explain the shades of tokens
    """

    title: str
    text: str = ""
    figures: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    examples: list = field(default_factory=list)
    images: list = field(default_factory=list)
    browser: Browser | None = None
    legend: bool = False


def json_in_page(data):
    """JSON in which `<`, `>`, `&`, U+2028 and U+2029 are escapes: no text in it can end a script element.

    >>> json_in_page(["</script>"])
    '["\\\\u003c/script\\\\u003e"]'
    """
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def image_address(png):
    """The data: URI of the bytes of a PNG."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


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
    return Figure(figure, name, alternative)


def page(title, text, sections):
    """The page as text. Everything that comes in is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0], ""),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    environment.filters |= {"breakable": _breakable, "width": _width, "numbered": lambda names: [*enumerate(names)]}
    script = _own("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    own = {"script": Markup(script), "script_hash": f"sha256-{digest}", "style": Markup(_own("page.css"))}
    rendered = environment.get_template("page.html.j2").render(title=title, text=text, sections=sections, **own)
    return rendered.rstrip() + "\n"


def write_page(title, text, sections, folder):
    """Write FOLDER/report.html; returns `path<tab>size`, the line that commands print. Raises OSError."""
    path = Path(folder, "report.html")
    with write_aside(path) as stream:
        stream.write(page(title, text, sections))
    return f"{path}\t{path.stat().st_size / 1e6:.1f} MB"


def _own(name):
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _breakable(text, after="_"):
    """Escaped text that may break after a character, as names of systems are long words."""
    from markupsafe import Markup, escape

    return Markup(str(escape(text)).replace(after, f"{after}<wbr>"))


def _width(table):
    """CSS classes of a table by the characters of its longest row: on a phone, on paper it needs another layout."""
    longest = sum(max(min(len(row[i]), 30) for row in table.rows) + 2 for i in range(len(table.rows[0])))
    return " ".join(name for name, limit in (("wide", _WIDE), ("huge", _HUGE)) if longest > limit)
