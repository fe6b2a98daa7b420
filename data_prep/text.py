"""Reading and writing line-aligned text strictly: UTF-8, lines end at `\\n` and nowhere else.

Other tools end lines at `\\r`, U+2028 or U+0085 too, and then see more lines than the other side has. Here a `\\r` or a
NUL is an error; U+2028, U+2029, U+0085, vertical tab and form feed are plain white space inside a line: they stay in
raw/, are counted there, and are a space from tok/ on, whatever the tokenizer.
"""

import array
import gzip
import itertools
import math
import re
import sys
import zlib
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..files import write_aside

_NOTHING_VISIBLE = re.compile(r"[\s\x00-\x1f]*")
_ODD_SEPARATOR = re.compile(r"[\x0b\x0c\x85\u2028\u2029]")


def read_lines(path, returns=None):
    """Yield the lines of a text file, plain or .gz, without their `\\n`.

    returns: the bytes that a `\\r` becomes; without it one is an error.

    Raises UserError `file:line: reason` for invalid UTF-8, `\\r`, NUL, a byte order mark, a cut or damaged .gz, and
    `file: reason` for a missing or empty file.
    """
    path = Path(path)
    number = start = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                if returns is not None:
                    line = line.replace(b"\r", returns)
                yield _decode(line.removesuffix(b"\n"), path, number, start)
                start += len(line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = "ends too early" if isinstance(error, EOFError) else f"is damaged ({error})"
        raise UserError(f"{path}:{number + 1}: the gzip file {reason}: get it again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if number == 0:
        raise UserError(f"{path}: the file is empty")


def _decode(line, path, number, start):
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
        offset = start + error.start
        raise UserError(
            f"{where}: not UTF-8 at byte {error.start} of the line, {offset} of the text ({error.reason})"
        ) from error


def read_pairs(source, target, read=read_lines):
    """Yield (source line, target line) of two line-aligned files.

    Raises UserError with both counts, and the line from which the sides look shifted, if they differ in length.
    """
    lengths = array.array("I"), array.array("I")
    for pair in itertools.zip_longest(read(source), read(target)):
        for side, line in zip(lengths, pair, strict=True):
            if line is not None:
                side.append(len(line))
        if None not in pair:
            yield pair
    counts = tuple(map(len, lengths))
    if counts[0] != counts[1]:
        raise UserError(
            f"{source}: {counts[0]} lines, but {target} has {counts[1]}: the sides must be line-aligned; "
            f"by the lengths of the lines they look shifted from line {first_shifted(*lengths)} on"
        )


def first_shifted(source, target):
    """Where lines are likely to be missing from the shorter side: the line number, from 1, of the first shifted pair.

    source, target: the lengths of all lines. Aligned sentences have similar lengths (Gale and Church 1993): the answer
    is the line at which leaving out the surplus of the longer side makes the log ratios of the lengths smallest.
    """
    shorter, longer = sorted((source, target), key=len)
    surplus = len(longer) - len(shorter)

    def cost(one, other):
        return abs(math.log((one + 1) / (other + 1)))

    best, where = 0.0, len(shorter)
    total = 0.0  # of the lines from here to the end: shifted minus straight
    for line in reversed(range(len(shorter))):
        total += cost(shorter[line], longer[line + surplus]) - cost(shorter[line], longer[line])
        if total < best:
            best, where = total, line
    return where + 1


def is_empty(line):
    """True for a line of nothing but white space and control characters, of which the tokenizer leaves nothing."""
    return _NOTHING_VISIBLE.fullmatch(line) is not None


def has_odd_separator(line, pieces=False):
    """True for a line with a character that becomes a space, though nobody sees it as one.

    Those at which other tools would break the line in two, and with `pieces` U+2581, sentencepiece's mark of a space.
    """
    return _ODD_SEPARATOR.search(line) is not None or (pieces and "\u2581" in line)


def map_lines(pool, function, source, destination):
    """Write function's line for every line of the file `source` to `destination`, which appears when it is whole."""
    mapped = pool.map(function, read_lines(source))
    with write_aside(destination) as stream:
        for line in progress(mapped, f"{destination.parent.name}/{destination.name}", "lines"):
            stream.write(f"{line}\n")


def progress(items, what, unit, total=None):
    """A tqdm bar over `items` on standard error, shown only on a terminal and only after a second."""
    return tqdm(items, total=total, desc=what, unit=f" {unit}", disable=None, leave=False, delay=1)


def say(line):
    """Write one line of log to standard error."""
    print(f"labo prepare: {line}", file=sys.stderr, flush=True)
