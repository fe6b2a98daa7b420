"""One HTML page that needs nothing but itself: no network, no script, images inline; for screens, phones and paper."""

import base64
import io
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ..files import write_aside
from .style import DPI

STYLE = """
:root { color-scheme: light; --line: #d0d0d0; --quiet: #555; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; margin: 0 auto; padding: 1rem;
       max-width: 66rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p, ul { margin: .4rem 0; max-width: 46rem; }
nav a { display: inline-block; margin: .1rem .9rem .1rem 0; padding: .2rem 0; }
h1, h2, h3, p { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
td.n, th.n { text-align: right; }
td.n { white-space: nowrap; }
.notes { color: var(--quiet); font-size: .8rem; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: .5rem 0; max-width: 34rem; }
figure img { width: 100%; height: auto; display: block; }
.example { border-left: 3px solid var(--line); padding: .1rem 0 .1rem .8rem; margin: 1rem 0; }
.example dl { margin: 0; display: grid; grid-template-columns: minmax(5rem, max-content) 1fr; gap: .15rem .8rem; }
.example dt { color: var(--quiet); font-size: .85rem; overflow-wrap: anywhere; max-width: 12rem; }
.example dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  body { padding: .7rem; }
  th, td { padding: .25rem .35rem; }
  td:not(.n) { min-width: 5.5rem; }
  table { font-size: .8rem; }
  .example dl { grid-template-columns: 1fr; }
  .example dt { max-width: none; }
  .example dd { margin-bottom: .3rem; }
}
@media print {
  @page { margin: 15mm; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav { display: none; }
  .scroll { overflow: visible; break-inside: avoid; }
  table { font-size: 7.5pt; }
  th, td { padding: .12rem .3rem; }
  td.n { white-space: normal; }
  h2, h3 { break-after: avoid; }
  figure, tr, .example { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; }
}
"""


@dataclass(frozen=True)
class Figure:
    """A PNG image with the words for those who do not see it."""

    png: bytes
    alternative: str


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


def saved(table, folder, name):
    """Write a TextTable as FOLDER/NAME.tsv; returns it."""
    with write_aside(Path(folder, f"{name}.tsv")) as stream:
        stream.write(table.as_tsv() + "\n")
    return table


def drawn(figure, folder, name, alternative):
    """Write a figure of matplotlib as FOLDER/NAME.png; returns its Figure."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=DPI)
    with write_aside(Path(folder, f"{name}.png"), "wb") as stream:
        stream.write(image.getvalue())
    return Figure(image.getvalue(), alternative)


def page(title, text, sections):
    """The page as text. Everything that comes in is escaped."""
    links = "".join(f'<a href="#{_anchor(i)}">{escape(section.title)}</a>' for i, section in enumerate(sections))
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            # a second guard beside escaping: the browser runs no script and loads nothing
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(text)}</p>",
            f"<nav>{links}</nav>",
            *(_section(i, section) for i, section in enumerate(sections)),
            "</body>",
            "</html>",
            "",
        ]
    )


def _anchor(i):
    return f"section{i + 1}"


def _section(i, section):
    parts = [f'<section id="{_anchor(i)}">', f"<h2>{escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{escape(section.text)}</p>")
    if section.figures:
        parts += ['<div class="figures">', *map(_figure, section.figures), "</div>"]
    parts += map(_table, section.tables)
    parts += map(_example, section.examples)
    return "\n".join([*parts, "</section>"])


def _figure(figure):
    data = base64.b64encode(figure.png).decode("ascii")
    return f'<figure><img alt="{escape(figure.alternative)}" src="data:image/png;base64,{data}"></figure>'


def _table(table):
    heading, *rows = table.rows
    numeric = table.numeric
    parts = [f"<h3>{escape(table.title)}</h3>", '<div class="scroll" tabindex="0">', "<table>", "<thead>"]
    parts += [_row("th", heading, numeric), "</thead>", "<tbody>"]
    parts += [_row("td", row, numeric) for row in rows]
    parts += ["</tbody>", "</table>", "</div>"]
    if table.notes:
        parts.append(f'<p class="notes">{"<br>".join(escape(note).replace("|", "|<wbr>") for note in table.notes)}</p>')
    return "\n".join(parts)


def _row(tag, cells, numeric):
    return "<tr>" + "".join(map(_cell, [tag] * len(cells), cells, numeric)) + "</tr>"


def _cell(tag, text, numeric):
    text = _breakable(text)
    return f'<{tag} class="n">{text}</{tag}>' if numeric else f"<{tag}>{text}</{tag}>"


def _breakable(text):
    """Escaped text that may break after an underscore, as names of systems are long words."""
    return escape(text).replace("_", "_<wbr>")


def _example(example):
    # the corpus may be of any script: each line finds its own direction
    lines = "".join(f'<dt>{_breakable(label)}</dt><dd dir="auto">{escape(text)}</dd>' for label, text in example.lines)
    return f'<div class="example"><h3>{escape(example.heading)}</h3><dl>{lines}</dl></div>'
