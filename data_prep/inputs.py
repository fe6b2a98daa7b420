"""The files that a corpus is read from: loose in --raw-dir, in archives there, or downloaded."""

import contextlib
import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from pooch.hashes import hash_matches

from ..errors import UserError
from ..files import sha256
from .sources import SOURCES


@dataclass
class Inputs:
    """Which file comes from where.

    needed: {path of a text as its archive names it: name of the archive, or of the text itself, in sources.SOURCES}.
    After `find`: `downloads` are the files to download, `archives` those to unpack.
    """

    corpus: str
    needed: dict
    raw_dir: Path | None
    out: Path
    downloads: list = field(default_factory=list)
    archives: dict = field(default_factory=dict)  # name: its path
    _loose: dict = field(default_factory=dict)

    def __post_init__(self):
        names = dict.fromkeys(self.needed.values())
        if self.raw_dir is None:
            self.downloads = list(names)
            self.archives = {name: self.out / "download" / name for name in names if name.endswith(".tgz")}
            return
        self._loose = {path: found for path in self.needed if (found := _loose(self.raw_dir, path))}
        missing = [path for path in self.needed if path not in self._loose]
        for path in missing:
            archive = self.raw_dir / self.needed[path]
            if not (archive.suffix == ".tgz" and archive.is_file()):
                raise UserError(self._what_is_missing(path))
            self.archives[archive.name] = archive

    def _what_is_missing(self, path):
        archive = self.needed[path]
        name = Path(path).name.removesuffix(".gz")
        instead = (
            f"unpacked, or the archive {self._described(archive)}" if archive.endswith(".tgz") else f"or {name}.gz"
        )
        return f"{self.raw_dir / name}: missing ({instead}): --raw-dir needs all files of {self.corpus}"

    def _described(self, archive):
        """The name of an archive, and which file has to be renamed where the release calls it otherwise."""
        url = self.source(archive).urls[0]
        if Path(url).name == archive:
            return archive
        here = self._by_hash(archive) or url
        return f"{archive}; rename {here}: the release has two archives {Path(url).name}"

    def _by_hash(self, archive):
        """The archive in --raw-dir that is this one by its hash, whatever its name; None where there is none."""
        known = self.source(archive).hash
        here = sorted(path for path in self.raw_dir.glob("*.tgz*") if path.is_file())
        return next((path for path in here if known and hash_matches(str(path), known)), None)

    def __getitem__(self, path):
        """Where the text with this path lies once the steps fetch and unpack are done."""
        if path in self._loose:
            return self._loose[path]
        archive = self.needed[path]
        return self.out / "orig" / path if archive in self.archives else self.out / "download" / archive

    def members(self, archive):
        """The paths to unpack from an archive."""
        return [path for path, name in self.needed.items() if name == archive and path not in self._loose]

    def given(self):
        """{name without .gz: hash, and lines of a text} of what lies in --raw-dir, whatever folder that is.

        Raises UserError for an archive that has not the hash of the table.
        """
        if self.raw_dir is None:
            return {}
        facts = {path.removesuffix(".gz"): facts_of(found) for path, found in self._loose.items()}
        return facts | {name: {"sha256": self._checked(name, path)} for name, path in self.archives.items()}

    def _checked(self, name, path):
        known = self.source(name).hash
        if known and not hash_matches(str(path), known):
            others = {other: source.hash for other, source in SOURCES[self.corpus].items() if source.hash}
            other = next((other for other, hash in others.items() if hash_matches(str(path), hash)), None)
            if other:
                raise UserError(
                    f"{path}: by its hash this is the archive {other}: rename it, and get {self.source(name).urls[0]}"
                )
            raise UserError(
                f"{path}: its hash is not {known}: get it again, or unpack it and name the folder with --raw-dir"
            )
        return sha256(path)

    def source(self, name):
        """The sources.Source of a file."""
        return SOURCES[self.corpus][name]


def _loose(folder, path):
    plain = path.removesuffix(".gz")
    places = (folder / plain, folder / Path(plain).name)
    return next((at for place in places for at in (Path(f"{place}.gz"), place) if at.is_file()), None)


def facts_of(path):
    """The hash and the number of lines of a text, plain or .gz; no number for a damaged one, which the reader names."""
    facts = {"sha256": sha256(path)}
    damaged = EOFError, gzip.BadGzipFile, zlib.error
    with contextlib.suppress(*damaged), gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
        facts["lines"] = sum(1 for _ in stream)
    return facts
