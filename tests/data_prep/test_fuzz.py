"""Readers of archives and raw corpora on damaged and hostile files: what they want, or a UserError of one line.

The fast tests try the same inputs in every run; `pytest -m slow -s` tries others, many more, and prints the counts.
"""

import gzip
import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from _damage import OUTCOMES, damaged, read_or_refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labo_fairseq.data_prep import download, markup, pipeline, text, verify
from labo_fairseq.data_prep.inputs import facts_of

from labo_fairseq import archives
from labo_fairseq.cli import main

LINES = "".join(f"Satz {n * n} über {n}.\n" for n in range(40)).encode()
XML = "".join(f'<seg id="{n}"> Satz {n} </seg>\n<title>T</title>\n<url>u</url>\n' for n in range(9)).encode()
MANIFEST = json.dumps({"corpus": "files", "tools": {}, "downloads": {}, "files": {"a": {"sha256": "0", "step": "raw"}}})
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
NAMES = ["d/x", "d/y", "z", "../evil", "/evil", "d/../../evil", "d", "d/", "./d/x", "d//x", "d/x/y", "~/evil", "d\\x",
         "n" * 300, "d/" + "n" * 255, "d/x\n", "ü", "", ".", "/", "d/x "]  # fmt: skip
KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE,
         tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME]  # fmt: skip
MEMBERS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(NAMES), st.text(min_size=1, max_size=12)), st.sampled_from(KINDS),
        st.sampled_from(["d/x", "/etc/passwd", "../../evil", ""]), st.binary(max_size=40),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def tar(members):
    """A tar file of (name, kind, link, data)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, link, data in members:
            entry = tarfile.TarInfo(name.encode(errors="replace").decode().replace("\0", ""))
            entry.type, entry.linkname, entry.size = kind, link, len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """A zip file of (name, kind, link, data); links as Unix marks them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, kind, _, data in members:
            entry = zipfile.ZipInfo(name.encode(errors="replace").decode() or "x")
            entry.external_attr = (0o120777 if kind == tarfile.SYMTYPE else 0o100644) << 16
            archive.writestr(entry, data, method)
    return stream.getvalue()


GOOD = [("d/x", tarfile.REGTYPE, "", LINES), ("d/y", tarfile.REGTYPE, "", b"more"), ("e", tarfile.REGTYPE, "", b"not")]
TAR = tar(GOOD)
TGZ = gzip.compress(TAR, mtime=0)
ZIPS = [zipped(GOOD, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                            zipfile.ZIP_LZMA)]  # fmt: skip


def unpack(name, data, members=("d",)):
    """Unpack the bytes; nothing may appear but the members, below the folder, and nothing half-done."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in/orig"
        folder.mkdir(parents=True)
        archive = Path(place) / "in" / name
        archive.write_bytes(data)
        outcome = read_or_refused(name, lambda: archives.unpack(archive, list(members), folder))
        assert sorted(path.name for path in folder.parent.iterdir()) == sorted([name, "orig"])
        assert [path.name for path in Path(place).iterdir()] == ["in"]
        made = {path.name for path in folder.iterdir()}
        assert made == ({member.split("/")[0] for member in members} if outcome == "read" else set())
        assert not any(path.is_symlink() for path in folder.rglob("*"))


def with_file(name, data, function):
    """function(path) on a file of these bytes."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        path.write_bytes(data)
        return function(path)


def read(path):
    """Every reader of raw text on one file."""
    read_or_refused("raw text", lambda: list(text.read_lines(path)))
    read_or_refused("tagged text", lambda: list(markup.tagged(path, ("<url>",))))
    read_or_refused("segments", lambda: list(markup.segments(path)))
    read_or_refused("hash and lines", lambda: facts_of(path))


def pair(one, other):
    """Two sides that need not be aligned, one of them compressed."""
    with tempfile.TemporaryDirectory() as place:
        paths = Path(place) / "a.de", Path(place) / "a.en.gz"
        for path, data in zip(paths, (one, other), strict=True):
            path.write_bytes(data)
        read_or_refused("pairs", lambda: list(text.read_pairs(*paths)))


def manifest(data):
    """The manifest of a folder, for --verify and for a second run."""
    with tempfile.TemporaryDirectory() as place:
        Path(place, "manifest.json").write_bytes(data)
        read_or_refused("verify", lambda: verify.verify(place))
        read_or_refused("manifest", lambda: pipeline._load(Path(place), {"corpus": "files"}))


def downloaded(name, data):
    """What a server sent; ValueError is how the downloader says that it is no archive."""

    def check(path):
        try:
            download._check_readable(path, f"http://server/{name}")
        except ValueError as error:
            assert "no whole archive" in str(error)

    read_or_refused(f"downloaded {name[1:]}", lambda: with_file("text", data, check))


READERS = {
    "tgz": (damaged(TGZ), lambda data: unpack("a.tgz", data)),
    "tar within": (damaged(TAR), lambda data: unpack("a.tgz", gzip.compress(data, 1))),
    "hostile tgz": (MEMBERS, lambda members: unpack("a.tgz", gzip.compress(tar(members), 1))),
    "zip": (damaged(*ZIPS), lambda data: unpack("a.zip", data)),
    "hostile zip": (MEMBERS, lambda members: unpack("a.zip", zipped(members))),
    "named members": (
        MEMBERS, lambda members: unpack("a.tgz", gzip.compress(tar([*GOOD, *members]), 1), ["d/x", "e"])
    ),
    "raw text": (damaged(LINES, XML), lambda data: with_file("a.de", data, read)),
    "raw text in gzip": (damaged(gzip.compress(LINES)), lambda data: with_file("a.de.gz", data, read)),
    "gzip of anything": (damaged(LINES, XML), lambda data: with_file("a.de.gz", gzip.compress(data, 1), read)),
    "pairs": (st.tuples(damaged(LINES), damaged(gzip.compress(LINES))), lambda two: pair(*two)),
    "manifest": (damaged(MANIFEST.encode()), manifest),
    "downloads": (damaged(TGZ), lambda data: downloaded("a.tgz", data)),
    "downloaded texts": (damaged(gzip.compress(LINES)), lambda data: downloaded("a.gz", data)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", READERS)
def test_readers(name):
    strategy, reader = READERS[name]
    given(strategy)(settings(max_examples=60, derandomize=True, **QUIET)(lambda value: reader(value)))()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", READERS)
def test_readers_for_long(name):
    strategy, reader = READERS[name]
    before = {key: dict(counts) for key, counts in OUTCOMES.items()}
    given(strategy)(settings(max_examples=2000, **QUIET)(lambda value: reader(value)))()
    for key, counts in OUTCOMES.items():
        new = {what: count - before.get(key, {}).get(what, 0) for what, count in counts.items()}
        if any(new.values()):
            print(f"\nfuzz\t{name}\t{key}\ttried {sum(new.values())}\t{new}")


COMMANDS = given(
    data=st.lists(damaged(LINES), min_size=2, max_size=2),
    tokenizer=st.sampled_from(["moses", "none"]),
    kind=st.sampled_from(["bpe", "sentencepiece"]),
)


@pytest.mark.usefixtures("no_fairseq")
def test_whole_command():
    COMMANDS(settings(max_examples=15, derandomize=True, **QUIET)(whole_command))()


@pytest.mark.slow
@pytest.mark.usefixtures("no_fairseq")
def test_whole_command_for_long():
    COMMANDS(settings(max_examples=200, **QUIET)(whole_command))()
    print(f"\nfuzz\twhole command\t{dict(OUTCOMES['whole command'])}")


def whole_command(data, tokenizer, kind):
    """`labo prepare files` on damaged sides: done, or exit code 2 and no manifest."""
    with tempfile.TemporaryDirectory() as place:
        for code, side in zip(("de", "en"), data, strict=True):
            Path(place, f"text.{code}").write_bytes(side)
        command = ["prepare", "files", "--source", "de", "--target", "en", "--workers", "1", "--subword", kind]
        command += ["--tokenizer", tokenizer, "--bpe-operations" if kind == "bpe" else "--vocabulary-size", "60"]
        command += [word for flag in ("train", "valid", "test") for word in (f"--{flag}", f"{place}/text")]
        code = main([*command, "--out", f"{place}/out"])
        OUTCOMES["whole command"]["read" if code == 0 else "refused"] += 1
        assert code in (0, 2)
        assert Path(place, "out/manifest.json").exists() == (code == 0)
