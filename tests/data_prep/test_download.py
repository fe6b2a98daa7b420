"""Downloads from a server on this machine: hashes, retries, mirrors, resuming, and what goes wrong."""

import gzip
import hashlib
import http.server
import json
import random
import threading

import pytest
from labo_fairseq.data_prep import download, inputs
from labo_fairseq.data_prep.sources import SOURCES, Source

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError

TEXT = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
PIECE = 65536  # of a broken answer whole pieces are kept
GOOD = f"sha256:{hashlib.sha256(TEXT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `faults` maps a path to a list of what the next answers do: a status, or a number of bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.log, self.ranges = {}, {}, [], True
        self.base = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.log.append((self.path, asked))
        fault = server.faults[self.path].pop(0) if server.faults.get(self.path) else None
        data = server.files.get(self.path)
        if data is None or (isinstance(fault, tuple)):
            self.send_error(fault[0] if fault else 404)
            return
        start = int(asked[6:-1]) if asked and server.ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:] if fault is None else data[start : start + fault])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "download").mkdir()
    return tmp_path / "download/text.gz"


def fetch(server, place, hash=GOOD, known=None, paths=("/text.gz",)):
    return download.fetch(Source(tuple(server.base + path for path in paths), hash), place, known)


def test_plain(server, place):
    server.files["/text.gz"] = TEXT
    assert f"sha256:{fetch(server, place)}" == GOOD
    assert place.read_bytes() == TEXT
    assert [path.name for path in place.parent.iterdir()] == ["text.gz"]
    fetch(server, place)
    assert len(server.log) == 1  # nothing to do


def test_retries(server, place):
    server.files["/text.gz"] = TEXT
    server.faults["/text.gz"] = [(503,), (500,)]
    fetch(server, place)
    assert place.read_bytes() == TEXT


def test_broken_connection_is_resumed(server, place):
    server.files["/text.gz"] = TEXT
    server.faults["/text.gz"] = [100_000, 70_000]
    fetch(server, place)
    assert place.read_bytes() == TEXT
    assert server.log == [("/text.gz", None), ("/text.gz", f"bytes={PIECE}-"), ("/text.gz", f"bytes={2 * PIECE}-")]


def test_killed_download_is_resumed_by_the_next_run(server, place):
    server.files["/text.gz"] = TEXT
    server.faults["/text.gz"] = [100_000, 0, 0]
    with pytest.raises(UserError):
        fetch(server, place)
    assert not place.exists()
    fetch(server, place)
    assert server.log[-1] == ("/text.gz", f"bytes={PIECE}-")
    assert place.read_bytes() == TEXT


def test_server_that_cannot_resume(server, place):
    server.ranges = False
    server.files["/text.gz"] = TEXT
    server.faults["/text.gz"] = [100_000]
    fetch(server, place)
    assert place.read_bytes() == TEXT


def test_file_that_became_shorter(server, place):
    server.files["/text.gz"] = TEXT
    server.faults["/text.gz"] = [len(TEXT) - 1, 0, 0]
    with pytest.raises(UserError):
        fetch(server, place)
    server.files["/text.gz"] = TEXT[:PIECE]
    with pytest.raises(UserError, match="no whole archive"):
        fetch(server, place)
    server.files["/text.gz"] = TEXT
    fetch(server, place)
    assert place.read_bytes() == TEXT


def test_mirror(server, place):
    server.files["/mirror/text.gz"] = TEXT
    fetch(server, place, paths=("/text.gz", "/mirror/text.gz"))
    assert place.read_bytes() == TEXT


def test_wrong_hash_everywhere(server, place):
    server.files["/text.gz"] = gzip.compress(b"another text")
    with pytest.raises(UserError) as caught:
        fetch(server, place)
    message = str(caught.value)
    assert message.startswith("text.gz: cannot be downloaded: http://127.0.0.1")
    assert GOOD.partition(":")[2] in message
    assert "\n" not in message
    assert not place.exists()


def test_nobody_there(place):
    with pytest.raises(
        UserError, match=r"text\.gz: cannot be downloaded: http://127\.0\.0\.1:1/x: no connection: get it"
    ):
        download.fetch(Source(("http://127.0.0.1:1/x",)), place)


def test_corrupted_file_is_named_and_fetched_again(server, place, capsys):
    server.files["/text.gz"] = TEXT
    digest = fetch(server, place, hash=None)
    place.write_bytes(TEXT[:-1])
    assert fetch(server, place, hash=None, known=digest) == digest
    assert place.read_bytes() == TEXT
    assert f"{place}: its hash is not sha256:{digest}: fetching it again" in capsys.readouterr().err


def test_without_a_hash_an_error_page_is_still_found_out(server, place):
    server.files["/text.gz"] = b"<html>we have moved</html>"
    with pytest.raises(UserError, match="what arrived is no whole archive"):
        fetch(server, place, hash=None)
    assert not place.exists()


@pytest.fixture
def online(server, raw, monkeypatch):
    """The tiny Multi30k on the server; hashes unknown."""
    table = {}
    for path in raw.iterdir():
        server.files[f"/{path.name}.gz"] = gzip.compress(path.read_bytes(), mtime=0)
        table[f"{path.name}.gz"] = Source((f"{server.base}/{path.name}.gz",))
    monkeypatch.setitem(SOURCES, "multi30k", table)
    assert inputs.SOURCES is SOURCES
    return server


def prepare(out):
    command = "prepare multi30k --source de --target en --bpe-operations 30 --workers 1 --out".split()
    return main([*command, str(out)])


@pytest.mark.usefixtures("no_fairseq")
def test_whole_command(online, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare(out) == 0
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(online.files["/val.de.gz"]).hexdigest()
    assert manifest["downloads"]["val.de.gz"] == manifest["files"]["download/val.de.gz"]["sha256"] == digest
    asked = len(online.log)
    assert prepare(out) == 0
    assert len(online.log) == asked
    before = (out / "manifest.json").read_bytes()
    (out / "download/val.de.gz").write_bytes(b"rotten")
    capsys.readouterr()
    assert prepare(out) == 0
    assert f"{out}/download/val.de.gz: its hash is not sha256:{digest}: fetching it again" in capsys.readouterr().err
    assert len(online.log) == asked + 1
    assert (out / "manifest.json").read_bytes() == before


@pytest.mark.usefixtures("no_fairseq")
def test_the_first_download_binds_later_ones(online, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare(out) == 0
    (out / "download/val.de.gz").unlink()
    online.files["/val.de.gz"] = gzip.compress(b"Ganz anders.\n" * 6, mtime=0)
    assert prepare(out) == 2
    assert "val.de.gz: cannot be downloaded" in capsys.readouterr().err
    assert not (out / "download/val.de.gz").exists()


def test_archive_in_raw_dir_with_a_wrong_hash(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    for name in ("de-en.tgz", "test.de-en.tgz", "test.en-de.tgz"):
        (tmp_path / "raw" / name).write_bytes(b"no archive")
    command = ["prepare", "iwslt17", "--source", "de", "--target", "en", "--raw-dir", str(tmp_path / "raw")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "de-en.tgz: its hash is not md5:ca2b94d694150d4d6c5dc64c200fa589: get it again" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def iwslt17(raw, *more, source="de"):
    command = ["prepare", "iwslt17", "--source", source, "--target", "en", "--raw-dir", str(raw), *more]
    return main([*command, "--out", str(raw.parent / "out")])


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A folder; the hashes of the table are those of short texts: a file's text is its name in the table."""
    (tmp_path / "raw").mkdir()
    table = {
        name: Source(source.urls, f"sha256:{hashlib.sha256(name.encode()).hexdigest()}")
        for name, source in SOURCES["iwslt17"].items()
    }
    monkeypatch.setitem(SOURCES, "iwslt17", table)
    return tmp_path / "raw"


def test_training_archive_alone_says_which_one_to_rename(archives, capsys):
    (archives / "de-en.tgz").write_text("de-en.tgz")
    assert iwslt17(archives) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert (
        "or the archive test.de-en.tgz; rename https://raw.githubusercontent.com/hlt-mt/WIT3/master/archive/"
        "2017-01-ted-test/texts/de/en/de-en.tgz: the release has two archives de-en.tgz" in error
    )


@pytest.mark.parametrize("name", ["de-en.tgz", "de-en (1).tgz", "de-en.tgz.1", "ted-test.tgz"])
def test_test_archive_under_another_name_is_recognized(name, archives, capsys):
    (archives / name).write_text("test.de-en.tgz")
    assert iwslt17(archives, "--valid-set", "tst2015") == 2
    error = capsys.readouterr().err
    if name == "de-en.tgz":  # taken for the training archive, the test archive is missing
        assert f"the archive test.de-en.tgz; rename {archives}/de-en.tgz: the release has two" in error
    else:  # the training archive is missing first
        assert "missing (unpacked, or the archive de-en.tgz): --raw-dir needs all files of iwslt17" in error
        (archives / "de-en.tgz").write_text("de-en.tgz")
        assert iwslt17(archives) == 2
        assert f"the archive test.de-en.tgz; rename {archives}/{name}: the release has two" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["test.de-en.tgz", "test.en-de.tgz", "fr-en.tgz"])
def test_archives_that_are_exchanged(wrong, archives, capsys):
    for name in ("de-en.tgz", "test.de-en.tgz", "test.en-de.tgz"):
        (archives / name).write_text(name)
    (archives / "de-en.tgz").write_text(wrong)
    assert iwslt17(archives) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{archives}/de-en.tgz: by its hash this is the archive {wrong}: rename it, and get https://" in error
    assert "2017-01-trnted/texts/de/en/de-en.tgz" in error


def test_the_table(capsys):
    for corpus, files in SOURCES.items():
        for name, source in files.items():
            assert name.endswith((".tgz", ".gz")), corpus
            assert all(
                url.startswith(("https://", "http://")) and name.rpartition("test.")[2] in url for url in source.urls
            )
            kind, _, digest = (source.hash or "sha256:" + "0" * 64).partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[kind]
