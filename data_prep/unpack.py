"""Unpacks the needed files of a .tgz, and nothing else, without trusting it."""

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from ..errors import UserError

LARGEST = 16 << 30  # bytes of all members together; the largest corpus has under 3 GiB


def unpack(archive, members, folder):
    """Write the plain files `members` of `archive` below `folder`; each appears when all of them are whole.

    Raises UserError for a truncated or damaged archive, an absolute path or one with `..` anywhere in it, a member that
    is missing or no plain file (a link, a device), and more than LARGEST bytes.
    """
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack.", suffix=".part"))
    try:
        missing = set(members) - set(_extract(archive, set(members), aside))
        if missing:
            raise UserError(f"{archive}: has no {min(missing)}: is it the right archive?")
        for member in members:
            (folder / member).parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / member, folder / member)
    except (tarfile.ReadError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{archive}: ends too early or is damaged ({error}): get it again") from error
    except tarfile.TarError as error:
        raise UserError(f"{archive}: refused: {error}") from error
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


def _extract(archive, wanted, aside):
    """Extract the wanted members, in one pass over the archive; yield their names."""
    total = 0
    bar = tqdm(desc=f"unpack {archive.name}", unit=" files", disable=None, leave=False, delay=1)
    with bar, open_tgz(archive) as stream:
        for member in stream:
            bar.update()
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise UserError(f"{archive}: refused: {member.name!r} points outside of the archive")
            total += member.size
            if total > LARGEST:
                raise UserError(f"{archive}: refused: unpacks to more than {LARGEST >> 30} GiB")
            name = str(path)
            if name in wanted:
                if not member.isfile():
                    raise UserError(f"{archive}: refused: {member.name} is no plain file")
                stream.extract(member, aside, filter="data")
                yield name
