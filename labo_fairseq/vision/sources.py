"""The data sets: where their images come from, and how the papers split and augment them."""

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
import torch

from ..compat.torchvision_ops import import_torchvision
from ..errors import UserError
from .images import ArrayImages, FileImages

HELD_OUT = 0.2  # test share of the sets that come without a test set


@dataclass(frozen=True)
class Source:
    """One data set.

    read: function (folder, part, download, mode) -> Images, where part is train or test
    augmentation: none, shift, crop_flip or resized_crop
    padding: pixels around the image before the random crop
    size: side of the images that a model sees, in pixels; None: that of the first image
    valid_share: share of the training images that serves as validation set; 0: the test set does
    """

    read: Callable
    augmentation: str
    padding: int = 0
    size: Optional[int] = None
    valid_share: float = 0.1


class Splits:
    """The subsets train, valid and test of a data set.

    valid_share: as in Source, None for the data set's own; split_seed chooses the images. Raises UserError where the
    data are missing or damaged.
    """

    def __init__(self, name, folder, download=False, valid_share=None, split_seed=1, mode="auto"):
        self.source = SOURCES[name]
        self._arguments = (Path(folder), download, mode)
        self._valid_folder = _valid_folder(Path(folder)) if name == "image_folder" else None
        if self._valid_folder and valid_share is not None:
            raise UserError(f"--valid-share: {self._valid_folder} is the validation set already: leave the flag out")
        self._share = 0.0 if self._valid_folder else self.source.valid_share if valid_share is None else valid_share
        self._seed = split_seed
        self._parts = {}

    def images(self, split):
        """Images of train, valid or test."""
        if split == "valid" and self._valid_folder:
            return self._part(self._valid_folder.name)
        if split == "test" or (split == "valid" and self._share == 0):
            return self._part("test")
        if split not in ("train", "valid"):
            raise UserError(f"{split}: no such subset: image data sets have train, valid and test")
        train = self._part("train")
        chosen = np.random.default_rng(self._seed).permutation(len(train))
        valid = round(self._share * len(train))
        if split == "valid" and valid == 0:
            raise UserError(
                f"--valid-share {self._share}: gives no image out of {len(train)}: give a larger share, or 0"
            )
        return train.subset(np.sort(chosen[:valid] if split == "valid" else chosen[valid:]))

    def _part(self, part):
        if part not in self._parts:
            folder, download, mode = self._arguments
            self._parts[part] = self.source.read(folder, part, download, mode)
        return self._parts[part]


# --- data sets of torchvision ---


def _cifar(name):
    def read(folder, part, download, mode):
        data = _of_torchvision(name, folder, train=part == "train", download=download)
        pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return ArrayImages(f"{folder} ({part})", data.classes, data.targets, pixels)

    return read


def _mnist(name, **options):
    def read(folder, part, download, mode):
        data = _of_torchvision(name, folder, train=part == "train", download=download, **options)
        return ArrayImages(f"{folder} ({part})", data.classes, data.targets, data.data.unsqueeze(1))

    return read


def _svhn(folder, part, download, mode):
    data = _of_torchvision("SVHN", folder, split=part, download=download)
    return ArrayImages(f"{folder} ({part})", range(10), data.labels, torch.from_numpy(data.data))


def _of_torchvision(name, folder, **options):
    datasets = import_torchvision().datasets
    try:
        return getattr(datasets, name)(folder, **options)
    except (RuntimeError, OSError, EOFError, ValueError, zlib.error) as error:  # URLError is an OSError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{folder}: {name} cannot be read ({reason}): name the folder that holds it, or give --download"
        ) from None


# --- image folders ---


def _image_folder(folder, part, download, mode):
    if download:
        raise UserError("--download: image_folder is your own data: name its folder")
    if not (folder / part).is_dir():
        raise UserError(f"{folder / part}: no such folder: expected {part}/CLASS/IMAGE below {folder}")
    return _class_folders(folder / part, mode)


def _valid_folder(folder):
    return next((folder / name for name in ("valid", "val") if (folder / name).is_dir()), None)


def _class_folders(folder, mode):
    """FileImages of FOLDER/CLASS/…/IMAGE. Raises UserError for no classes and for classes without images."""
    tools = import_torchvision().datasets.folder
    try:
        classes, index = tools.find_classes(folder)
    except OSError:
        raise UserError(f"{folder}: no class folders: expected {folder}/CLASS/IMAGE") from None
    found = tools.make_dataset(folder, index, extensions=tools.IMG_EXTENSIONS, allow_empty=True)
    paths, targets = zip(*found, strict=True) if found else ((), ())
    empty = [
        name for name, images in zip(classes, np.bincount(targets, minlength=len(classes)), strict=True) if not images
    ]
    if empty:
        raise UserError(f"{folder / empty[0]}: holds no image: add some, or remove the folder")
    return FileImages(str(folder), classes, targets, paths, mode)


def _imagenet(folder, part, download, mode):
    split = "train" if part == "train" else "val"
    if not (folder / split).is_dir():
        if download:
            raise UserError("--download: ImageNet has no public address: get its archives from image-net.org")
        _of_torchvision("ImageNet", folder, split=split)  # unpacks the archives
    return _class_folders(folder / split, "rgb")


# --- archives that torchvision does not know ---

_TINY = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de")
_CUB = ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz", "97eceeb196236b17998738112f37df78")


def _tiny_imagenet(folder, part, download, mode):
    root = _unpacked(folder, "tiny-imagenet-200", *_TINY, download)
    if part == "train":
        return _class_folders(root / "train", "rgb")
    rows = [line.split("\t") for line in _lines(root / "val" / "val_annotations.txt")]
    classes = sorted(_lines(root / "wnids.txt"))
    number = {name: i for i, name in enumerate(classes)}
    paths = [root / "val" / "images" / row[0] for row in rows]
    return FileImages(str(root / "val"), classes, [number[row[1]] for row in rows], paths, "rgb")


def _cub200(folder, part, download, mode):
    root = _unpacked(folder, "CUB_200_2011", *_CUB, download)
    columns = ("images", "image_class_labels", "train_test_split")
    path, label, train = ([line.split()[1] for line in _lines(root / f"{name}.txt")] for name in columns)
    classes = [line.split()[1] for line in _lines(root / "classes.txt")]
    kept = [i for i, flag in enumerate(train) if (flag == "1") == (part == "train")]
    targets, paths = [int(label[i]) - 1 for i in kept], [root / "images" / path[i] for i in kept]
    return FileImages(f"{root} ({part})", classes, targets, paths, "rgb")


def _unpacked(folder, name, url, md5, download):
    """Folder `name` in `folder`, or `folder` itself if it has that name; unpacked from its archive if need be."""
    root = folder if folder.name == name else folder / name
    if root.is_dir():
        return root
    archive = folder / url.rpartition("/")[2]
    if download and not archive.exists():
        _download(url, md5, archive)
    if not archive.exists():
        raise UserError(f"{root}: no such folder, and no {archive.name} beside it: give --download")
    _check_md5(archive, md5)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as aside:
        shutil.unpack_archive(archive, aside, **({} if archive.suffix == ".zip" else {"filter": "data"}))
        os.replace(Path(aside) / name, root)
    return root


def _download(url, md5, path):
    import pooch

    try:
        pooch.retrieve(url, known_hash=f"md5:{md5}", path=path.parent, fname=path.name, progressbar=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{url}: {' '.join(str(error).split())}: try again later, or put the file at {path}") from None


def _check_md5(path, md5):
    import pooch

    md5_found = pooch.file_hash(str(path), alg="md5")
    if md5_found != md5:
        raise UserError(f"{path}: wrong checksum (md5 {md5_found}, not {md5}): remove it and give --download")


def _lines(path):
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: unpack the archive anew") from None


# --- sets without a test set ---


def _digits(folder, part, download, mode):
    """The test set of the UCI's optical digits (Alpaydin and Kaynak 1998), as in scikit-learn: 1,797 of 8×8 pixels."""
    with np.load(Path(__file__).with_name("digits.npz")) as data:
        pixels = torch.from_numpy(data["images"]).float().mul(255 / 16).round().byte()  # 17 levels of grey
        images = ArrayImages("digits", range(10), data["labels"], pixels.unsqueeze(1))
    return _held_out(images, part)


def _mnist10k(folder, part, download, mode):
    """MNIST's 10,000 test images alone, in their original files: 8,000 to train, 2,000 to test."""
    pixels = _read_idx(folder / "t10k-images-idx3-ubyte")
    labels = _read_idx(folder / "t10k-labels-idx1-ubyte")
    if len(pixels) != len(labels):
        raise UserError(f"{folder}: {len(pixels)} images, but {len(labels)} labels: download both anew")
    images = ArrayImages(str(folder), range(10), labels, torch.from_numpy(pixels).unsqueeze(1))
    return _held_out(images, part)


def _held_out(images, part):
    # which images are the test set belongs to the data set and must not vary with a flag: hence a fixed seed
    chosen = np.random.default_rng(0).permutation(len(images))
    held_out = round(HELD_OUT * len(images))
    return images.subset(np.sort(chosen[held_out:] if part == "train" else chosen[:held_out]))


def _read_idx(path):
    """The array of an idx file, or of its .gz: two zero bytes, type (8 is uint8), dimensions, sizes, data."""
    packed = path.with_name(path.name + ".gz")
    try:
        data = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        dimensions = data[3]
        sizes = np.frombuffer(data, ">u4", dimensions, offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(sizes).copy()
    except FileNotFoundError:
        raise UserError(
            f"{path}: neither this file nor {packed.name} is there: name the folder that holds it"
        ) from None
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise UserError(f"{path}: damaged ({error}): download it anew") from None


SOURCES = {
    "cifar10": Source(_cifar("CIFAR10"), "crop_flip", 4, 32),
    "cifar100": Source(_cifar("CIFAR100"), "crop_flip", 4, 32),
    "svhn": Source(_svhn, "shift", 4, 32),  # a mirrored digit is another sign
    "mnist": Source(_mnist("MNIST"), "shift", 2, 28),
    "fashion_mnist": Source(_mnist("FashionMNIST"), "shift", 2, 28),
    "emnist_balanced": Source(_mnist("EMNIST", split="balanced"), "shift", 2, 28),
    "tiny_imagenet": Source(_tiny_imagenet, "crop_flip", 8, 64),
    "imagenet": Source(_imagenet, "resized_crop", 0, 224, valid_share=0.0),
    "cub200": Source(_cub200, "resized_crop", 0, 224),
    "image_folder": Source(_image_folder, "crop_flip", 4),
    "mnist10k": Source(_mnist10k, "shift", 2, 28),
    "digits": Source(_digits, "shift", 1, 8),
}
