"""For the documentation site: the package's docstrings as Markdown (an extension of griffe, see mkdocs.yml).

Docstrings here are plain text. Arguments stand as `name: what it is`, continued by indented lines; they become a list.
Examples begin with >>> and become blocks of code.
"""

import re

import griffe

ARGUMENT = re.compile(r"(?P<names>\*{0,2}[A-Za-z_]\w*(, \*{0,2}[A-Za-z_]\w*)*): (?P<text>.*)")


def as_markdown(text: str) -> str:
    """A docstring without its indentation, as Markdown; other lines stay as they are."""
    return "\n\n".join(_paragraph(lines) for lines in _paragraphs(text))


def _paragraphs(text):
    return (part.splitlines() for part in re.split(r"\n[ ]*\n", text.strip("\n")))


def _paragraph(lines):
    if lines[0].lstrip().startswith(">>>"):
        return "\n".join(["```python", *lines, "```"])
    if not ARGUMENT.fullmatch(lines[0]):
        return "\n".join(lines)
    found = (ARGUMENT.fullmatch(line) for line in lines)
    return "\n".join(
        f"- `{match['names']}`: {match['text']}" if match else f"    {line.strip()}"
        for line, match in zip(lines, found, strict=True)
    )


class Docstrings(griffe.Extension):
    """Rewrites every docstring that griffe collects."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Called once for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
