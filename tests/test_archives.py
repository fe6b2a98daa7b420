"""Archives that are damaged, hostile or not the right ones; .tgz and .zip, single files and whole folders."""

import io
import os
import tarfile
import zipfile

import pytest

from labo_fairseq import archives as module
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
    assert "'x' is no plain file" in refused(tmp_path / "a.tgz", ["x"], folder)


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


def pack_zip(path, members, mode=0o100644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


PACKERS = {"a.tgz": pack, "a.zip": pack_zip}
packers = pytest.mark.parametrize("name", PACKERS)


@packers
def test_a_folder_stands_for_all_below_it(name, tmp_path, folder):
    PACKERS[name](tmp_path / name, {"set/a/1.png": b"1", "./set/b/2.png": b"2", "set/list.txt": b"3", "other/4": b"4"})
    module.unpack(tmp_path / name, ["set"], folder)
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        "set/a/1.png": b"1", "set/b/2.png": b"2", "set/list.txt": b"3"
    }  # fmt: skip
    assert [path.name for path in folder.iterdir()] == ["set"]
    assert (folder / "set").stat().st_mode == folder.stat().st_mode  # mkdtemp's are private


@packers
def test_a_folder_is_not_taken_for_another_of_the_same_beginning(name, tmp_path, folder):
    PACKERS[name](tmp_path / name, {"settings/a": b"1"})
    assert "has no set: is it the right archive?" in refused(tmp_path / name, ["set"], folder)


@packers
@pytest.mark.parametrize("hostile", ["../evil", "/tmp/evil", "set/../../evil", "set/.."])
def test_a_folder_with_paths_that_lead_outside(name, hostile, tmp_path, folder):
    PACKERS[name](tmp_path / name, {"set/a": b"1", hostile: b"x"})
    assert f"refused: {hostile!r} points outside" in refused(tmp_path / name, ["set"], folder)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("mode", [0o120777, 0o020644, 0o010644, 0o060644])  # link, devices, pipe
def test_links_and_devices_in_zips(mode, tmp_path, folder):
    pack_zip(tmp_path / "a.zip", {"set/x": b"/etc/passwd"}, mode)
    assert "'set/x' is no plain file" in refused(tmp_path / "a.zip", ["set"], folder)


@packers
@pytest.mark.parametrize("members", [["x", "x/y"], ["x/y", "x"], ["x/y/z", "x/y"]])
def test_a_file_that_is_a_folder_too(name, members, tmp_path, folder):
    PACKERS[name](tmp_path / name, dict.fromkeys(members, b"1"))
    assert f"{name}: refused: " in refused(tmp_path / name, ["x"], folder)


@packers
def test_a_name_too_long_for_a_file(name, tmp_path, folder):
    PACKERS[name](tmp_path / name, {"x/" + "n" * 300: b"1"})
    assert "refused: File name too long" in refused(tmp_path / name, ["x"], folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"<html>not found</html>",
        lambda data: data[:60] + b"oops" + data[64:],  # the checksum of the text
        lambda data: data.replace(b"\x08\0", b"\x63\0"),  # an unknown method of compression
        lambda data: data[1:],
        lambda data: b"",
    ],
)
def test_damaged_zips(damage, tmp_path, folder):
    pack_zip(tmp_path / "a.zip", {"x": bytes(range(256)) * 99, "y": b"text"})
    (tmp_path / "b.zip").write_bytes(damage((tmp_path / "a.zip").read_bytes()))
    assert "b.zip: ends too early or is damaged" in refused(tmp_path / "b.zip", ["x"], folder)


def test_a_zip_with_a_nameless_member(tmp_path, folder):
    pack_zip(tmp_path / "a.zip", {"x": b"text", "\0": b""})
    module.unpack(tmp_path / "a.zip", ["x"], folder)
    assert [path.name for path in folder.iterdir()] == ["x"]


def test_size_of_zips(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    pack_zip(tmp_path / "a.zip", {"x": b"a" * 60, "y": b"b" * 60})
    assert "unpacks to more than" in refused(tmp_path / "a.zip", ["x"], folder)


def test_a_full_disk_is_no_damage(tmp_path, folder, monkeypatch):
    pack(tmp_path / "a.tgz", {"x": b"text"})

    def full(*args):
        raise OSError(28, os.strerror(28), "x")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        module.unpack(tmp_path / "a.tgz", ["x"], folder)
    assert list(folder.iterdir()) == []
