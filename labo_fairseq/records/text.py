"""Reading text as the other tools of the field read it: UTF-8, plain or gzip, lines end at "\\n" and nowhere else.

Python's own line splitting also breaks at U+2028, U+0085, a bare carriage return and others; one such character inside
a sentence would shift every later line against its reference.
"""

import gzip
import zlib
from pathlib import Path

from ..errors import UserError

GZIP_MAGIC = b"\x1f\x8b"


def read_text(path: str | Path) -> str:
    """The whole text of a UTF-8 file, plain or gzip (told by its first bytes, not by its name).

    Raises UserError, naming the file and the line, where the file is missing, damaged or not UTF-8.
    """
    try:
        data = Path(path).read_bytes()
        if data.startswith(GZIP_MAGIC):
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file ({error}): write it again") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}: give a file that can be read") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 (byte {error.start} of the file): convert it to UTF-8") from error


def split_lines(text: str) -> list[str]:
    """Lines of a text without their line ends; the last line needs no line end."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines
