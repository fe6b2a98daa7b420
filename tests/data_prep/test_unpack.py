"""Archives that are damaged, hostile or not the right ones."""

import io
import tarfile

import pytest
from labo_fairseq.data_prep import unpack as module

from labo_fairseq.errors import UserError


def pack(path, members, kind=tarfile.REGTYPE, link=""):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type, entry.linkname = len(data), kind, link
            archive.addfile(entry, io.BytesIO(data))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "orig").mkdir()
    return tmp_path / "orig"


def refused(archive, members, folder):
    with pytest.raises(UserError) as caught:
        module.unpack(archive, members, folder)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_only_what_is_needed(tmp_path, folder):
    pack(tmp_path / "a.tgz", {"de-en/x": b"text", "./de-en/y": b"more", "de-en/z": b"not needed"})
    module.unpack(tmp_path / "a.tgz", ["de-en/x", "de-en/y"], folder)
    assert {path.name: path.read_bytes() for path in (folder / "de-en").iterdir()} == {"x": b"text", "y": b"more"}
    assert [path.name for path in folder.iterdir()] == ["de-en"]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "de-en/../../evil"])
@pytest.mark.parametrize("needed", [True, False])
def test_paths_that_lead_outside(name, needed, tmp_path, folder):
    pack(tmp_path / "a.tgz", {name: b"x", "good": b"text"})
    message = refused(tmp_path / "a.tgz", [name] if needed else ["good"], folder)
    assert f"a.tgz: refused: {name!r} points outside of the archive" in message
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(kind, tmp_path, folder):
    pack(tmp_path / "a.tgz", {"x": b""}, kind, "/etc/passwd")
    assert "x is no plain file" in refused(tmp_path / "a.tgz", ["x"], folder)


def test_size(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    pack(tmp_path / "a.tgz", {"x": b"a" * 60, "y": b"b" * 60})
    assert "unpacks to more than" in refused(tmp_path / "a.tgz", ["x"], folder)


def test_missing_member(tmp_path, folder):
    pack(tmp_path / "a.tgz", {"x": b"text"})
    assert "has no de-en/y: is it the right archive?" in refused(tmp_path / "a.tgz", ["x", "de-en/y"], folder)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"<html>not found</html>", lambda data: data[:-4] + b"oops"],
)
def test_damaged(damage, tmp_path, folder):
    pack(tmp_path / "a.tgz", {"x": bytes(range(256)) * 999, "y": b"text"})
    (tmp_path / "b.tgz").write_bytes(damage((tmp_path / "a.tgz").read_bytes()))
    assert "b.tgz: ends too early or is damaged" in refused(tmp_path / "b.tgz", ["x"], folder)
