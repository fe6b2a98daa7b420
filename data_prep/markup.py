"""The text of released evaluation files, as fairseq's scripts take it with grep and sed, line by line.

Not an XML parser, on purpose: the files are not always well-formed, the scripts never decoded entities, and the counts
that papers print are those of the scripts. A `\\r` is white space here, as it is to the Perl tokenizer.
"""

import re

from .text import read_lines

_TITLES = re.compile(r"</?(?:title|description)>")
_OPEN, _CLOSE = re.compile(r'<seg id="[0-9]*">\s*'), re.compile(r"\s*</seg>\s*")


def tagged(path, dropped):
    """Yield the sentences of a train.tags.* file: no line with one of the tags `dropped`, titles without theirs."""
    for line in read_lines(path, returns=b" "):
        if not any(tag in line for tag in dropped):
            yield _TITLES.sub("", line).strip()


def segments(path):
    """Yield the segments of an .xml or .sgm file: lines with `<seg id`, without the tags, ’ as '."""
    for line in read_lines(path, returns=b" "):
        if "<seg id" in line:
            yield _CLOSE.sub("", _OPEN.sub("", line)).replace("’", "'").strip()
