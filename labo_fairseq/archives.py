"""Unpacks what is needed from a .zip or .tgz, and nothing else, without trusting it; for text and images alike."""

import contextlib
import errno
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from .errors import UserError

LARGEST = 16 << 30  # bytes of all members together; the largest corpus has under 3 GiB

# What the readers of the standard library raise on bytes that are no archive. ValueError: NUL in a name;
# NotImplementedError: an unknown method of compression; RuntimeError: a password
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    ValueError, NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip
# names that cannot all be files: one is a folder too, or is too long
_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def unpack(archive, members, folder):
    """Write the plain files `members` of `archive` below `folder`; each appears when all of them are whole.

    members: paths as the archive names them; the path of a folder stands for all files below it. Raises UserError for a
    truncated or damaged archive, an absolute path or one with `..` anywhere in it, a member that is missing or no plain
    file (a link, a device), and more than LARGEST bytes; OSError where the files cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack.", suffix=".part"))
    try:
        aside.chmod(folder.stat().st_mode & 0o777)  # mkdtemp makes it private
        _extract_or_say_why_not(archive, [PurePosixPath(member) for member in members], aside)
        missing = [member for member in members if not (aside / member).exists()]
        if missing:
            raise UserError(f"{archive}: has no {min(missing)}: is it the right archive?")
        for member in members:
            (folder / member).parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / member, folder / member)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def open_tgz(path):
    """A tarfile.TarFile to be read in order; at the end the rest is read too, for the checksum behind it all."""
    with gzip.open(path) as data:
        with tarfile.open(fileobj=data, mode="r|") as stream:
            yield stream
        while data.read(1 << 20):
            pass


def _extract_or_say_why_not(archive, wanted, aside):
    try:
        _extract(archive, wanted, aside)
    except UserError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive}: ends too early or is damaged ({reason}): get it again") from error
    except OSError as error:
        if error.errno in _NAMES:
            raise UserError(f"{archive}: refused: {error.strerror}: {Path(error.filename).name!r}") from error
        if error.errno in (None, errno.EINVAL):  # not the disk's: bz2 of bad data, zipfile of an offset below 0
            raise UserError(f"{archive}: ends too early or is damaged ({error}): get it again") from error
        raise


def _extract(archive, wanted, aside):
    """Write the wanted members below `aside`, in one pass over the archive."""
    total = 0
    bar = tqdm(desc=f"unpack {archive.name}", unit=" files", disable=None, leave=False, delay=1)
    members = _of_zip(archive) if archive.suffix == ".zip" else _of_tgz(archive)
    with bar, contextlib.closing(members):
        for name, size, kind, opened in members:
            bar.update()
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise UserError(f"{archive}: refused: {name!r} points outside of the archive")
            total += size
            if total > LARGEST:
                raise UserError(f"{archive}: refused: unpacks to more than {LARGEST >> 30} GiB")
            if kind == "folder" or not any(path.is_relative_to(root) for root in wanted):
                continue
            if kind != "file":
                raise UserError(f"{archive}: refused: {name!r} is no plain file")
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            with open(aside / path, "wb") as target, opened() as source:
                shutil.copyfileobj(source, target, 1 << 20)


def _of_tgz(path):
    """Yield (name, size, kind, function that opens it) of the members; a member can be read until the next one."""
    with open_tgz(path) as stream:
        for member in stream:
            kind = "folder" if member.isdir() else "file" if member.isfile() else "other"
            yield member.name, member.size, kind, lambda member=member: stream.extractfile(member)


def _of_zip(path):
    """As _of_tgz."""
    with zipfile.ZipFile(path) as stream:
        for member in stream.infolist():
            mode = stat.S_IFMT(member.external_attr >> 16)  # of Unix; 0 where another system made it
            # not member.is_dir(), which fails on an empty name in Python 3.11
            folder = member.filename.endswith("/")
            kind = "folder" if folder else "file" if mode in (0, stat.S_IFREG) else "other"
            yield member.filename, member.file_size, kind, lambda member=member: stream.open(member)
