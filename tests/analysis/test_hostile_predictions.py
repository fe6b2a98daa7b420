"""Files of a classifier's predictions that are damaged, foreign or malicious: Predictions, or one line."""

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labo_fairseq.errors import UserError
from labo_fairseq.records.predictions import Predictions, read, write

GOOD = {
    "logits": np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]], np.float32),
    "labels": np.array([0, 2]),
    "classes": np.array(["cat", "dog", "owl"]),
    "subset": np.array("test"),
    "data": np.array("images"),
    "checkpoint": np.array("c" * 64),
    "clean_labels": np.array([0, 1]),
}


def refusal(path):
    """The line of a UserError about a file; None where it was read, and computes."""
    try:
        predictions = read(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error) and len(str(error)) < 500
        return str(error)
    assert predictions.logits.argmax(1).shape == predictions.labels.shape
    assert [predictions.classes[label] for label in predictions.labels]
    return None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint_best.test.npz"


def test_what_was_written_is_read(path):
    write(
        Predictions(**{**GOOD, "classes": ("cat", "dog", "owl"), "subset": "test", "data": "", "checkpoint": "c"}), path
    )
    assert refusal(path) is None
    assert read(path).classes == ("cat", "dog", "owl") and read(path).clean_labels.tolist() == [0, 1]
    np.savez(path, **{name: array for name, array in GOOD.items() if name != "clean_labels"})
    assert refusal(path) is None and read(path).clean_labels is None


WRONG = {
    "labels that are floats": ("labels", np.array([0.0, 2.0])),
    "labels that are text": ("labels", np.array(["0", "2"])),
    "labels that are true": ("labels", np.array([True, False])),
    "labels that are dates": ("labels", np.array(["2001-01-01", "2001-01-02"], "datetime64[D]")),
    "labels of two axes": ("labels", np.array([[0, 2]])),
    "one label": ("labels", np.array(1)),
    "a label too few": ("labels", np.array([1])),
    "no labels": ("labels", np.array([], int)),
    "labels out of range": ("labels", np.array([0, 3])),
    "negative labels": ("labels", np.array([0, -1])),
    "labels of 64 bits without sign": ("labels", np.array([0, 2**64 - 1], np.uint64)),
    "logits that are whole": ("logits", np.array([[1, 2, 3], [1, 2, 3]])),
    "logits that are complex": ("logits", np.ones((2, 3), complex)),
    "logits that are text": ("logits", np.full((2, 3), "1.0")),
    "logits in records": ("logits", np.zeros((2, 3), [("a", float)])),
    "logits that are bytes": ("logits", np.zeros((2, 3), "V4")),
    "logits of one axis": ("logits", np.zeros(6)),
    "logits of three axes": ("logits", np.zeros((2, 3, 1))),
    "logits of other classes": ("logits", np.zeros((2, 4))),
    "no logits": ("logits", np.zeros((0, 3))),
    "logits that are not finite": ("logits", np.array([[1, np.nan, 0], [0, 0, np.inf]])),
    "classes that are numbers": ("classes", np.arange(3)),
    "classes that are bytes": ("classes", np.array([b"cat", b"dog", b"owl"])),
    "one class": ("classes", np.array("cat")),
    "subsets": ("subset", np.array(["test", "valid"])),
    "a subset that is a number": ("subset", np.array(3)),
    "a path that is a number": ("data", np.array(0.5)),
    "true labels that are floats": ("clean_labels", np.array([0.5, 1])),
    "true labels that do not fit": ("clean_labels", np.array([0, 1, 1])),
    "true labels out of range": ("clean_labels", np.array([0, 7])),
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_array_of_another_type_or_shape(kind, path):
    name, array = WRONG[kind]
    np.savez(path, **{**GOOD, name: array})
    assert refusal(path)


@pytest.mark.parametrize("name", [name for name in GOOD if name != "clean_labels"])
def test_a_missing_array(name, path):
    np.savez(path, **{other: array for other, array in GOOD.items() if other != name})
    assert refusal(path)


def records(changed=None):
    """{name: bytes of an .npy file} of a good file, some of them changed."""
    found = {}
    for name, array in GOOD.items():
        stream = io.BytesIO()
        np.save(stream, array)
        found[f"{name}.npy"] = stream.getvalue()
    return {**found, **(changed or {})}


def write_zip(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def header(shape, dtype="<f4", version=b"\x01\x00"):
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


HEADERS = {
    "64 GB": header("(4294967296, 4)"),
    "4 EB": header("(1073741824, 1073741824)"),
    "beyond 64 bits": header("(99999999999999999999, 3)"),
    "a negative shape": header("(-2, 3)"),
    "two negative axes": header("(-2, -3)"),
    "a shape of text": header("('2', 3)"),
    "a shape that is none": header("None"),
    "a shape of trues": header("(True, True)"),
    "wide text of gigabytes": header("(2, 3)", "<U1000000000"),
    "objects": header("(2, 3)", "|O"),
    "a type that is none": header("(2, 3)", "magic"),
    "no header": b"",
    "half a header": header("(2, 3)")[:40],
    "another version": header("(2, 3)", version=b"\x09\x00"),
    "code": b"\x93NUMPY\x01\x00\x76\x00" + b"__import__('os').system('true')".ljust(117) + b"\n",
    "brackets": b"\x93NUMPY\x01\x00\xff\x1f" + b"(" * 8191,
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("name", ["logits", "labels"])
def test_a_header_that_asks_for_too_much_takes_no_memory(kind, name, path):
    write_zip(path, records({f"{name}.npy": HEADERS[kind] + bytes(24)}))
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), before[1]))  # 256 MiB more than now
    try:
        assert "no file of predictions" in refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_unpacks_to_more_than_it_holds(path, compression):
    large = io.BytesIO()
    np.save(large, np.zeros((1 << 20, 3), np.float32))
    write_zip(path, records({"logits.npy": large.getvalue()}), compression)
    assert "is compressed" in refusal(path)


def test_foreign_files(path):
    for data in (
        b"",
        b"\x00" * 99,
        b"PK\x05\x06" + bytes(18),
        b"PK\x03\x04",
        b"\x80\x04N.",
        b"<html>",
        b"\x93NUMPY\x01\x00",
    ):
        path.write_bytes(data)
        assert refusal(path)
    for content in ({"word/document.xml": b"<xml/>"}, {"logits": b"1 2 3"}, {"logits.npy": b"text"}, {}):
        write_zip(path, content)
        assert refusal(path)
    np.save(path.with_suffix(".npy"), GOOD["logits"])
    assert refusal(path.with_suffix(".npy"))
    path.unlink()
    path.mkdir()
    assert refusal(path)
    assert refusal(path / "none.npz")


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_bytes(path, examples):
    write_zip(path, records())
    whole = path.read_bytes()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.tuples(st.integers(0, len(whole)), st.binary(max_size=6)), min_size=1, max_size=4), st.booleans()
    )
    def any_bytes(edits, cut):
        data = whole
        for start, new in edits:
            data = data[:start] + new + data[start + len(new) :]
        path.write_bytes(data[: edits[0][0]] if cut else data)
        refusal(path)

    any_bytes()


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_odd_arrays(path, examples):
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    types = st.sampled_from(
        ["f2", "f4", "f8", "i8", "u8", "i1", "U3", "S2", "?", "c8", "M8[s]", "m8[s]", "V3", "f8,i4"]
    )

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(list(GOOD)), st.tuples(shapes, types), min_size=1, max_size=3))
    def any_arrays(changed):
        arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in changed.items()}
        np.savez(path, **{**GOOD, **arrays})
        refusal(path)

    any_arrays()
