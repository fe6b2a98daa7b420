"""The data sets: what they hold, how they are split, and what a user is told where something is wrong."""

import gzip
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from _vision import make_image_task, needs_torchvision, write_images

from labo_fairseq.errors import UserError
from labo_fairseq.vision import sources
from labo_fairseq.vision.sources import Splits

MNIST10K = Path(__file__).resolve().parents[3] / "shared/data/mnist10k"

pytestmark = needs_torchvision


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def test_digits_are_those_of_scikit_learn():
    load_digits = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits
    expected = load_digits()
    with np.load(Path(sources.__file__).with_name("digits.npz")) as data:
        np.testing.assert_array_equal(data["images"], expected.images)
        np.testing.assert_array_equal(data["labels"], expected.target)


def test_digits_are_1797_images_in_three_disjoint_subsets():
    splits = Splits("digits", ".")
    sets = {split: splits.images(split) for split in ("train", "valid", "test")}
    # 1,797 images: UCI's test set; a fifth is the test set here, a tenth of the rest the validation set
    assert {split: len(images) for split, images in sets.items()} == {"train": 1294, "valid": 144, "test": 359}
    seen = {split: {images.read(i).numpy().tobytes() for i in range(len(images))} for split, images in sets.items()}
    assert not seen["train"] & seen["valid"] and not seen["train"] & seen["test"] and not seen["valid"] & seen["test"]
    assert sets["train"].read(0).shape == (1, 8, 8) and sets["train"].read(0).dtype == torch.uint8
    assert max(int(sets["train"].read(i).max()) for i in range(50)) == 255  # 16 of 16 levels


def test_the_validation_images_depend_on_the_split_seed_alone():
    def valid(**options):
        return [Splits("digits", ".", **options).images(s).targets.tolist() for s in ("valid", "test")]

    assert valid() == valid(split_seed=1)
    assert valid()[0] != valid(split_seed=2)[0] and valid()[1] == valid(split_seed=2)[1]


def test_share_0_validates_on_the_test_set():
    splits = Splits("digits", ".", valid_share=0)
    assert splits.images("valid").targets.tolist() == splits.images("test").targets.tolist()
    assert len(splits.images("train")) == 1797 - 359


@pytest.mark.parametrize("packed", [True, False])
def test_mnist10k_reads_the_original_files(tmp_path, packed):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (10, 28, 28)), np.arange(10)
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        data = idx(array)
        (tmp_path / (name + (".gz" if packed else ""))).write_bytes(gzip.compress(data) if packed else data)
    splits = Splits("mnist10k", tmp_path, valid_share=0)
    train, test = splits.images("train"), splits.images("test")
    assert (len(train), len(test)) == (8, 2)
    for part in (train, test):
        for i, label in enumerate(part.targets):  # image k has label k
            np.testing.assert_array_equal(part.read(i)[0].numpy(), images[label])


@pytest.mark.skipif(not MNIST10K.is_dir(), reason=f"needs {MNIST10K}")
def test_the_real_mnist10k():
    splits = Splits("mnist10k", MNIST10K, valid_share=0)
    assert (len(splits.images("train")), len(splits.images("test"))) == (8000, 2000)
    labels = np.concatenate([splits.images(split).targets for split in ("train", "test")])
    # counts of the digits in MNIST's test set (LeCun et al.)
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_an_image_folder_with_and_without_a_validation_folder(tmp_path):
    write_images(tmp_path / "train", count=10)
    write_images(tmp_path / "test", count=2)
    splits = Splits("image_folder", tmp_path)
    assert [len(splits.images(split)) for split in ("train", "valid", "test")] == [18, 2, 4]
    assert splits.images("test").classes == ["cat", "dog"]
    assert splits.images("test").targets.tolist() == [0, 0, 1, 1]
    write_images(tmp_path / "val", count=3)
    splits = Splits("image_folder", tmp_path)
    assert [len(splits.images(split)) for split in ("train", "valid")] == [20, 6]
    with pytest.raises(UserError, match=r"--valid-share: .*val is the validation set already"):
        Splits("image_folder", tmp_path, valid_share=0.1)


def test_tiny_imagenet(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n02", "n01"):
        write_images(root / "train" / name, classes=["images"], size=64)
    write_images(root / "val", classes=["images"], count=2, size=64)
    (root / "val" / "val_annotations.txt").write_text("0.png\tn02\t0\t0\t9\t9\n1.png\tn01\t0\t0\t9\t9\n")
    (root / "wnids.txt").write_text("n02\nn01\n")
    splits = Splits("tiny_imagenet", tmp_path, valid_share=0)
    assert splits.images("train").classes == splits.images("test").classes == ["n01", "n02"]
    assert splits.images("train").targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.images("test").targets.tolist() == [1, 0]


def test_cub200(tmp_path):
    root = tmp_path / "CUB_200_2011"
    write_images(root / "images", classes=["001.Crow", "002.Wren"], count=2)
    names = ["001.Crow/0.png", "001.Crow/1.png", "002.Wren/0.png", "002.Wren/1.png"]
    columns = {"images": names, "image_class_labels": [1, 1, 2, 2], "train_test_split": [1, 0, 0, 1]}
    for name, values in columns.items():
        (root / f"{name}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, 1)))
    (root / "classes.txt").write_text("1 001.Crow\n2 002.Wren\n")
    splits = Splits("cub200", tmp_path, valid_share=0)
    train, test = splits.images("train"), splits.images("test")
    assert [Path(train.name(i)).name for i in range(2)] == ["0.png", "1.png"] and train.targets.tolist() == [0, 1]
    assert test.targets.tolist() == [0, 1] and test.classes == ["001.Crow", "002.Wren"]


def test_an_archive_is_unpacked_only_if_its_checksum_is_right(tmp_path, monkeypatch):
    made = write_images(tmp_path / "made" / "tiny-imagenet-200" / "train", classes=["n01"])
    (made.parent / "wnids.txt").write_text("n01\n")
    shutil.make_archive(str(tmp_path / "data" / "tiny-imagenet-200"), "zip", tmp_path / "made", "tiny-imagenet-200")
    with pytest.raises(UserError, match=r"tiny-imagenet-200.zip: wrong checksum \(md5 .*remove it and give --download"):
        Splits("tiny_imagenet", tmp_path / "data").images("test")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tiny-imagenet-200.zip"]
    pooch = pytest.importorskip("pooch")
    right = pooch.file_hash(str(tmp_path / "data" / "tiny-imagenet-200.zip"), alg="md5")
    monkeypatch.setattr(sources, "_TINY", (sources._TINY[0], right))
    assert len(Splits("tiny_imagenet", tmp_path / "data", valid_share=0).images("train")) == 3


def test_image_archives_are_unpacked_as_those_of_text(tmp_path, monkeypatch):
    """A link in a .zip, a path outside in a .tgz: refused with one line, and nothing is left."""
    pooch = pytest.importorskip("pooch")
    link = zipfile.ZipInfo("tiny-imagenet-200/train")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        archive.writestr(link, "/etc")
    with tarfile.open(tmp_path / "CUB_200_2011.tgz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("CUB_200_2011/../../evil"))
    for name, table, archive in (
        ("tiny_imagenet", "_TINY", "tiny-imagenet-200.zip"), ("cub200", "_CUB", "CUB_200_2011.tgz")
    ):  # fmt: skip
        right = pooch.file_hash(str(tmp_path / archive), alg="md5")
        monkeypatch.setattr(sources, table, (getattr(sources, table)[0], right))
        with pytest.raises(UserError, match=f"{archive}: refused: .* (is no plain file|points outside of the archive)"):
            Splits(name, tmp_path).images("train")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CUB_200_2011.tgz", "tiny-imagenet-200.zip"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("images.txt", "1 a/0.png\n2\n", r"images.txt:2: two columns expected"),
        ("image_class_labels.txt", "1 1\n2 7\n", r"image_class_labels.txt: '7' is no class of this data set"),
        ("train_test_split.txt", "1 1\n", "they have not the same number of lines"),
        ("classes.txt", "", r"classes.txt:1: two columns expected"),
    ],
)
def test_damaged_tables(file, text, message, tmp_path):
    (tmp_path / "CUB_200_2011").mkdir()
    tables = {
        "images.txt": "1 a/0.png\n2 b/0.png\n", "image_class_labels.txt": "1 1\n2 2\n",
        "train_test_split.txt": "1 1\n2 0\n", "classes.txt": "1 a\n2 b\n",
    }  # fmt: skip
    for name, content in {**tables, file: text}.items():
        (tmp_path / "CUB_200_2011" / name).write_text(content)
    with pytest.raises(UserError, match=message):
        Splits("cub200", tmp_path).images("train")


# --- mistakes ---


def mnist_files(folder, images=b"", labels=b""):
    (folder / "t10k-images-idx3-ubyte").write_bytes(images)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(labels)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match=r"neither this file nor t10k-images-idx3-ubyte.gz is there"):
        Splits("mnist10k", tmp_path).images("test")
    whole = idx(np.zeros((4, 28, 28)))
    mnist_files(tmp_path, whole[:-1], idx(np.zeros(4)))
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte: damaged"):
        Splits("mnist10k", tmp_path).images("test")
    mnist_files(tmp_path, whole, idx(np.zeros(5)))
    with pytest.raises(UserError, match="4 images, but 5 labels"):
        Splits("mnist10k", tmp_path).images("test")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "mnist", "fashion_mnist", "emnist_balanced"])
def test_what_torchvision_does_not_find(tmp_path, name):
    with pytest.raises(
        UserError, match=r"cannot be read \(Dataset not found.*name the folder.*or give --download"
    ) as e:
        Splits(name, tmp_path).images("test")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["tiny_imagenet", "cub200"])
def test_no_archive(tmp_path, name):
    with pytest.raises(UserError, match=r"no such folder, and no .* beside it: give --download"):
        Splits(name, tmp_path).images("test")


def test_empty_folders(tmp_path):
    with pytest.raises(UserError, match="train: no such folder: expected train/CLASS/IMAGE"):
        Splits("image_folder", tmp_path).images("train")
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="train: no class folders: expected"):
        Splits("image_folder", tmp_path).images("train")
    write_images(tmp_path / "train", ["cat"])
    (tmp_path / "train" / "dog").mkdir()
    with pytest.raises(UserError, match="train/dog: holds no image"):
        Splits("image_folder", tmp_path).images("train")


def test_a_class_of_train_that_validation_lacks(tmp_path):
    write_images(tmp_path / "train", ["cat", "dog", "owl"])
    write_images(tmp_path / "valid", ["cat", "owl"])
    write_images(tmp_path / "test", ["cat", "dog", "elk", "owl"])
    task = make_image_task(tmp_path)
    with pytest.raises(UserError, match=r"valid: lacks the class dog: .* the same 3 classes"):
        task.load_dataset("valid")
    with pytest.raises(UserError, match="test: has, and the model does not know, the class elk"):
        task.load_dataset("test")


def test_flags_out_of_range():
    for flags, message in (
        ({"valid_share": 1}, "--valid-share: 1.0"),
        ({"crop_padding": -1}, "--crop-padding"),
        ({"image_size": 0}, "--image-size"),
    ):
        with pytest.raises(UserError, match=message):
            make_image_task(image_dataset="digits", **flags)
    with pytest.raises(UserError, match=r"--valid-share 0.0001: gives no image out of 1438"):
        make_image_task(image_dataset="digits", valid_share=0.0001).load_dataset("valid")
    with pytest.raises(UserError, match="dev: no such subset"):
        make_image_task(image_dataset="digits").load_dataset("dev")
