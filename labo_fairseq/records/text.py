"""Reading text as the other tools of the field read it: UTF-8, plain or gzip, lines end at "\\n" and nowhere else.

Python's own line splitting also breaks at U+2028, U+0085, a bare carriage return and others; one such character inside
a sentence would shift every later line against its reference.
"""

import gzip
import os
import re
import zlib
from pathlib import Path

from ..errors import UserError
from .messages import note

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = "\ufeff"
_MARKS = re.compile(f"^{BYTE_ORDER_MARK}+", re.MULTILINE)
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | os.PathLike) -> str:
    """The whole text of a UTF-8 file, plain or gzip (told by its first bytes, not by its name).

    Byte order marks at the beginnings of lines, where files were joined too, are left out, with a note on standard
    error. Raises UserError, naming the file and the line, where the file is missing, damaged or not UTF-8.
    """
    try:
        data = Path(path).read_bytes()
        if data.startswith(GZIP_MAGIC):
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error}): write it again") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name that another file holds
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: {reason}: give a file that can be read") from error
    try:
        return _without_marks(data.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        if data.startswith(UTF_16_MARKS):
            raise UserError(f"{path}: UTF-16, not UTF-8: convert it to UTF-8") from error
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 (byte {error.start} of the file): convert it to UTF-8") from error


def _without_marks(text, path):
    if BYTE_ORDER_MARK not in text:
        return text
    mended, count = _MARKS.subn("", text)
    if count:
        note(f"{path}: byte order mark left out")
    return mended


def split_lines(text: str) -> list[str]:
    """Lines of a text without their line ends; the last line may lack its own."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines
