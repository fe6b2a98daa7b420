"""Readers of image data sets on damaged files: images, or a UserError of one line.

The fast tests try the same inputs in every run; `pytest -m slow -s` tries others, many more, and prints the counts.
"""

import gzip
import hashlib
import io
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from _damage import OUTCOMES, damaged, read_or_refused
from _vision import needs_torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labo_fairseq.vision import sources
from labo_fairseq.vision.sources import Splits

pytestmark = needs_torchvision

QUIET = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
IMAGES = struct.pack(">4B3I", 0, 0, 8, 3, 4, 2, 2) + bytes(range(16))
LABELS = struct.pack(">4BI", 0, 0, 8, 1, 4) + bytes([0, 1, 2, 9])
TINY = {
    "val/val_annotations.txt": b"0.png\tn02\t0\t0\t9\t9\n1.png\tn01\t0\t0\t9\t9\n", "wnids.txt": b"n02\nn01\n",
    "train/n01/0.png": b"", "train/n02/0.png": b"",
}  # fmt: skip
CUB = {
    "images.txt": b"1 a/0.png\n2 b/0.png\n", "image_class_labels.txt": b"1 1\n2 2\n",
    "train_test_split.txt": b"1 1\n2 0\n", "classes.txt": b"1 a\n2 b\n",
}  # fmt: skip


def zipped(files, root):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{root}/{name}", data)
    return stream.getvalue()


def mnist(images, labels):
    with tempfile.TemporaryDirectory() as place:
        Path(place, "t10k-images-idx3-ubyte").write_bytes(images)
        Path(place, "t10k-labels-idx1-ubyte.gz").write_bytes(labels)
        read_or_refused("idx", lambda: Splits("mnist10k", place).images("test"))


def tables(name, root, files, replaced, data):
    """A data set of image folders, one of whose tables is damaged."""
    with tempfile.TemporaryDirectory() as place:
        for file, content in {**files, replaced: data}.items():
            path = Path(place, root, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for split in ("train", "test"):
            read_or_refused(name, lambda split=split: Splits(name, place, valid_share=0).images(split))


def archive(data):
    """The archive of a data set, damaged, with the right checksum: that it was checked must not be relied on."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        Path(place, "tiny-imagenet-200.zip").write_bytes(data)
        patch.setattr(sources, "_TINY", (sources._TINY[0], hashlib.md5(data).hexdigest()))
        read_or_refused("image archive", lambda: Splits("tiny_imagenet", place, valid_share=0).images("test"))
        assert {path.name for path in Path(place).iterdir()} <= {"tiny-imagenet-200.zip", "tiny-imagenet-200"}


READERS = {
    "idx": (st.tuples(damaged(IMAGES), damaged(gzip.compress(LABELS))), lambda two: mnist(*two)),
    "tiny_imagenet": (
        st.tuples(st.sampled_from(sorted(TINY)[2:]), damaged(*TINY.values())),
        lambda change: tables("tiny_imagenet", "tiny-imagenet-200", TINY, *change),
    ),
    "cub200": (
        st.tuples(st.sampled_from(sorted(CUB)), damaged(*CUB.values())),
        lambda change: tables("cub200", "CUB_200_2011", CUB, *change),
    ),
    "archive": (damaged(zipped(TINY, "tiny-imagenet-200")), archive),
}


@pytest.mark.parametrize("name", READERS)
def test_readers(name):
    strategy, reader = READERS[name]
    given(strategy)(settings(max_examples=60, derandomize=True, **QUIET)(lambda value: reader(value)))()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_readers_for_long(name):
    strategy, reader = READERS[name]
    OUTCOMES.clear()
    given(strategy)(settings(max_examples=2000, **QUIET)(lambda value: reader(value)))()
    for key, counts in OUTCOMES.items():
        print(f"\nfuzz\t{name}\t{key}\ttried {sum(counts.values())}\t{dict(counts)}")
