"""Reading and writing line-aligned text strictly: UTF-8, lines end at `\\n` and nowhere else.

Other tools end lines at `\\r`, U+2028 or U+0085 too, and then see more lines than the other side has. Here a `\\r` or a
NUL is an error; U+2028, U+2029, U+0085, vertical tab and form feed are plain white space inside a line: they stay in
raw/ and are a space from tok/ on (the Moses tokenizer joins any white space).
"""

import gzip
import itertools
import re
import zlib
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..files import write_aside

_NOTHING_VISIBLE = re.compile(r"[\s\x00-\x1f]*")


def read_lines(path):
    """Yield the lines of a text file, plain or .gz, without their `\\n`.

    Raises UserError `file:line: reason` for invalid UTF-8, `\\r`, NUL, a byte order mark, a cut or damaged .gz, and
    `file: reason` for a missing or empty file.
    """
    path = Path(path)
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                yield _decode(line.removesuffix(b"\n"), path, number)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
        raise UserError(f"{path}:{number + 1}: the gzip file {reason}: get it again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if number == 0:
        raise UserError(f"{path}: the file is empty")


def _decode(line, path, number):
    where = f"{path}:{number}"
    if line.endswith(b"\r"):
        raise UserError(f"{where}: \\r ends the line, as on Windows: convert it with sed -i 's/\\r$//' {path.name}")
    for byte, name in ((b"\r", "\\r"), (b"\0", "NUL")):
        if byte in line:
            raise UserError(f"{where}: {name} inside the line, at its byte {line.index(byte)}: cut it or put a space")
    if number == 1 and line.startswith(b"\xef\xbb\xbf"):
        raise UserError(f"{where}: starts with a byte order mark: cut these three bytes, they stick to the first word")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 at byte {error.start} of the line ({error.reason})") from error


def read_pairs(source, target):
    """Yield (source line, target line) of two line-aligned files; UserError with both counts if they differ."""
    counts = [0, 0]
    for pair in itertools.zip_longest(read_lines(source), read_lines(target)):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        if None not in pair:
            yield pair
    if counts[0] != counts[1]:
        raise UserError(f"{source}: {counts[0]} lines, but {target} has {counts[1]}: the sides must be line-aligned")


def is_empty(line):
    """True for a line of nothing but white space and control characters, of which the tokenizer leaves nothing."""
    return _NOTHING_VISIBLE.fullmatch(line) is not None


def map_lines(function, source, destination):
    """Write function(line) for every line of the file `source` to `destination`, which appears when it is whole."""
    with write_aside(destination) as stream:
        for line in progress(read_lines(source), f"{destination.parent.name}/{destination.name}", "lines"):
            stream.write(f"{function(line)}\n")


def progress(items, what, unit):
    """A tqdm bar over `items` on standard error, shown only on a terminal and only after a second."""
    return tqdm(items, desc=what, unit=f" {unit}", disable=None, leave=False, delay=1)
