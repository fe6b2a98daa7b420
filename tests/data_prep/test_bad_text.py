"""Bad raw text: one clear line, exit code 2, nothing half-done; and what is let through."""

import errno
import gzip
import json
import os
import random

import pytest

pytestmark = pytest.mark.usefixtures("no_fairseq")

GOOD = b"Ein Hund sieht den Ball.\n"


def text(count, line=GOOD):
    return line * count


def lines(path):
    return path.read_text(encoding="utf-8").split("\n")[:-1]


BAD = {
    "empty file": ("train.de", b"", "train.de: the file is empty"),
    "fewer lines": ("train.de", text(39), "train.de: 39 lines, but {raw}/train.en has 40: the sides must be"),
    "more lines": ("val.de", text(7), "val.de: 7 lines, but {raw}/val.en has 6: the sides must be line-aligned"),
    "not UTF-8": ("train.de", text(1) + b"Gr\xfc\xdfe.\n", "train.de:2: not UTF-8 at byte 2 of the line"),
    "cut UTF-8": ("test_2016_flickr.de", text(5) + "schö".encode()[:-1], "test_2016_flickr.de:6: not UTF-8 at byte 3"),
    "return inside": ("train.de", text(2) + b"Ein\rHund.\n", "train.de:3: \\r inside the line, at its byte 3"),
    "Windows file": ("train.de", text(40, b"Ein Hund.\r\n"), "train.de:1: \\r ends the line, as on Windows: convert"),
    "NUL": ("val.de", b"Ein\0 Hund.\n" + text(5), "val.de:1: NUL inside the line, at its byte 3"),
    "byte order mark": ("train.de", b"\xef\xbb\xbf" + text(40), "train.de:1: starts with a byte order mark"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_line(name, prepare, raw, tmp_path):
    file, data, message = BAD[name]
    (raw / file).write_bytes(data)
    code, log = prepare()
    assert code == 2
    assert log[-1].startswith(f"labo prepare: {raw}/" + message.format(raw=raw))
    assert [line for line in log if not line.startswith("labo prepare: ")] == []
    out = tmp_path / "out"
    split = {"val": "valid", "test_2016_flickr": "test"}.get(file.split(".")[0], "train")
    assert not list(out.glob(f"raw/{split}.*"))
    assert not list(out.rglob("*.part"))
    assert not (out / "manifest.json").exists()
    assert not (out / "bin").exists()


def test_after_the_text_is_mended_the_same_folder_works(prepare, raw):
    good = (raw / "val.de").read_bytes()
    (raw / "val.de").write_bytes(good + b"\xff\n")
    assert prepare()[0] == 2
    (raw / "val.de").write_bytes(good)
    assert prepare()[0] == 0


def test_missing_file(prepare, raw):
    (raw / "val.en").unlink()
    code, log = prepare()
    assert code == 2
    assert log == [f"labo prepare: {raw}/val.en: missing (or val.en.gz): --raw-dir needs all files of multi30k"]


def test_gzip_is_read_and_gives_the_same_text(prepare, raw, tmp_path):
    prepare()
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert prepare(out=tmp_path / "zipped")[0] == 0
    for name in ("raw/train.de", "bpe/codes", "bin/text"):
        assert (tmp_path / "zipped" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-20], "the gzip file ends too early: get it again"),
        (lambda data: b"plain text", "the gzip file is damaged"),
        (lambda data: data[:20] + b"\xff" * 8 + data[28:], "the gzip file is damaged"),
    ],
)
def test_damaged_gzip(prepare, raw, damage, message):
    data = gzip.compress("".join(f"Satz {n * n}.\n" for n in range(40)).encode())
    (raw / "train.de.gz").write_bytes(damage(data))
    code, log = prepare()
    assert code == 2
    assert log[-1].startswith(f"labo prepare: {raw}/train.de.gz:")
    assert message in log[-1]


def test_other_line_separators_do_not_split_lines(prepare, raw, tmp_path):
    odd = "Ein\u2028Hund\u0085sieht\u2029den\x0bBall\x0c.\n"
    (raw / "train.de").write_text(odd * 40, encoding="utf-8", newline="\n")
    assert prepare()[0] == 0
    out = tmp_path / "out"
    assert (out / "raw/train.de").read_bytes() == (odd * 40).encode()
    assert lines(out / "tok/train.de") == ["ein hund sieht den ball ."] * 40
    assert (out / "bpe/train.de").read_bytes().count(b"\n") == 40


def test_pairs_with_an_empty_side_leave_training_but_never_a_test_set(prepare, raw, tmp_path):
    sides = {"de": ["", "Ein Hund.", "\u00a0\t", "Ein Ball."], "en": ["A dog.", "", " ", "A ball."]}
    for side, four in sides.items():
        for name in ("train", "val", "test_2016_flickr"):
            path = raw / f"{name}.{side}"
            path.write_text("\n".join(four) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    assert prepare()[0] == 0
    out = tmp_path / "out"
    for side in sides:
        assert len(lines(out / f"raw/train.{side}")) == 41
        for folder in ("raw", "tok", "bpe"):
            assert len(lines(out / folder / f"test.{side}")) == len(lines(out / folder / f"valid.{side}")) == 10
        assert (out / f"raw/test.{side}").read_bytes() == (raw / f"test_2016_flickr.{side}").read_bytes()
    assert lines(out / "raw/train.de")[0] == "Ein Ball."
    assert lines(out / "raw/train.en")[0] == "A ball."
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    reasons = {"source empty": 1, "target empty": 1, "both empty": 1}
    assert manifest["removed"] == {"train": reasons}
    assert manifest["kept_though_empty"] == {"valid": reasons, "test": reasons}


def test_last_line_without_an_end_counts(prepare, raw, tmp_path):
    for side in ("de", "en"):
        (raw / f"val.{side}").write_bytes((raw / f"val.{side}").read_bytes().removesuffix(b"\n"))
    assert prepare()[0] == 0
    assert len(lines(tmp_path / "out/raw/valid.de")) == 6


def test_nothing_to_learn_from(prepare, raw):
    for side in ("de", "en"):
        (raw / f"train.{side}").write_text("a\n" * 40, encoding="utf-8")
    code, log = prepare()
    assert code == 2
    assert "too little text to learn BPE from" in log[-1]


def test_only_empty_pairs(prepare, raw):
    (raw / "train.de").write_text("\n" * 40, encoding="utf-8")
    code, log = prepare()
    assert code == 2
    assert "train: every pair has an empty side" in log[-1]


@pytest.mark.parametrize(("lost", "side"), [(3, "de"), (25, "en"), (39, "de")])
def test_where_the_sides_look_shifted(lost, side, prepare, raw):
    rng = random.Random(lost)
    words = [rng.randint(1, 30) for _ in range(40)]
    for code, word in (("de", "Wort"), ("en", "word")):
        kept = [count for line, count in enumerate(words) if (line, code) != (lost, side)]
        (raw / f"train.{code}").write_text("".join(f"{' '.join([word] * count)}\n" for count in kept), encoding="utf-8")
    code, log = prepare()
    assert code == 2
    assert log[-1].endswith(
        f"the sides must be line-aligned; by the lengths of the lines they look shifted from line {lost + 1} on"
    )


def test_unwritable_folder(prepare, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "out/raw"))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    code, log = prepare()
    assert code == 2
    assert log[-1] == f"labo prepare: {tmp_path}/out/.manifest.json: Permission denied"


def test_byte_offset_of_bad_utf8(prepare, raw):
    (raw / "train.de").write_bytes(text(2) + b"Gr\xfc\xdfe.\n")
    assert prepare()[1][-1].endswith(
        f"not UTF-8 at byte 2 of the line, {2 * len(GOOD) + 2} of the text (invalid start byte)"
    )


def test_odd_separators_are_counted(prepare, raw, tmp_path):
    (raw / "train.de").write_text("Ein\u2028Hund\n" * 40, encoding="utf-8", newline="\n")
    code, log = prepare()
    assert code == 0
    assert (
        "labo prepare: raw/train: 40 lines hold U+2028 or the like: taken as a space, not as the end of a line" in log
    )
    manifest = json.loads((tmp_path / "out/manifest.json").read_text(encoding="utf-8"))
    assert manifest["lines_with_odd_separators"] == {"train": 40, "valid": 0, "test": 0}
