"""Files that appear under their final name only when they are whole. Standard library only."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from .errors import UserError

PACKAGE = Path(__file__).resolve().parent  # what fairseq takes as --user-dir


@contextlib.contextmanager
def write_aside(path, mode="w"):
    """Open a file beside `path` for writing; it takes the name `path` only after the block ended without an error.

    The bytes are flushed to the disk before the rename, so a crash leaves the old file or the new one, never a part.
    Text is UTF-8 with `\\n` line ends on every platform.
    """
    path = Path(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def sha256(path):
    """Hex digest of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _umask():
    # mkstemp makes files private; a result should have the permissions that open() would have given it
    mask = os.umask(0)
    os.umask(mask)
    return mask


def result_folder(path, flag="--out"):
    """The folder of results, made where it is missing. Raises UserError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{flag}: {path}: {error.strerror}: give a folder that can be written") from error
    return path
