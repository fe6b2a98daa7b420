"""Files that appear under their final name only when they are whole. Standard library only."""

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PACKAGE = Path(__file__).resolve().parent  # what fairseq takes as --user-dir


@contextlib.contextmanager
def write_aside(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file beside `path` for writing; it takes the name `path` only after the block ended without an error.

    The bytes are flushed to the disk before the rename, so a crash leaves the old file or the new one, never a part.
    Text is UTF-8 with `\\n` line ends on every platform. What killed writers of the same file have left is removed.
    Raises OSError, naming `path`, where it cannot be written.
    """
    path = Path(path)
    text: dict = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        sweep_parts(path.parent, path.name)
        descriptor, aside = _locked_file(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    lock = os.dup(descriptor) if fcntl else None  # outlives the stream: a closed file may be renamed everywhere
    try:
        with os.fdopen(descriptor, mode, **text) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        if isinstance(error, OSError) and error.filename in (None, aside):  # a full disk
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _locked_file(path):
    """(descriptor, name) of a new file beside `path`, locked while its writer lives."""
    while True:
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        if fcntl is None or not _try_lock(descriptor):  # some file systems have no locks: then nobody sweeps either
            return descriptor, aside
        if os.path.exists(aside):  # else another run has taken it for left over, between its birth and its lock
            return descriptor, aside
        os.close(descriptor)


def sweep_parts(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove the unfinished files in a folder, those of `name` or all, whose writers are gone with their locks."""
    if fcntl is None:
        return
    part = re.compile(rf"\.{'.+' if name is None else re.escape(name)}\.[a-z0-9_]{{8}}\.part")
    for found in filter(part.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError), open(Path(folder, found), "rb") as stream:
            if _try_lock(stream.fileno()):
                os.unlink(stream.name)


def _try_lock(descriptor):
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sha256(path: str | os.PathLike) -> str:
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


def result_folder(path: str | os.PathLike, flag: str = "--out") -> Path:
    """The folder of results, made where it is missing. Raises UserError."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{flag}: {path}: {error.strerror}: give a folder that can be written") from error
    return path
