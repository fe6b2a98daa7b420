"""A file of a classifier's predictions; numpy alone, neither the model nor torch.

The file, an .npz without objects, holds one set of images under one checkpoint:

  logits      (N, K) float32, raw, of the last layer
  labels      (N,) int64, the class that each image is labelled with, in 0..K-1
  classes     (K,) names of the classes, in the order of the logits
  subset      valid or test
  data        the folder of the images, as it was given
  checkpoint  sha256 of the checkpoint's bytes
  clean_labels  (N,) int64, the true classes; there only where the training run made these labels noisy
"""

import io
import math
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_aside

CHECKPOINT = "checkpoint_best.pt"
_FIELDS = ("logits", "labels", "classes", "subset", "data", "checkpoint")
# field: (kinds of numpy's types, dimensions)
_KINDS = {"logits": ("f", 2), "labels": ("iu", 1), "classes": ("U", 1), "clean_labels": ("iu", 1)}
_KINDS |= dict.fromkeys(_FIELDS[3:], ("U", 0))


@dataclass(frozen=True)
class Predictions:
    """The content of a file of predictions; see the module."""

    logits: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    subset: str
    data: str
    checkpoint: str
    clean_labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def path_beside(checkpoint: str | os.PathLike, subset: str) -> Path:
    """Where the predictions of a checkpoint on a subset are kept: run/checkpoint_best.test.npz."""
    checkpoint = Path(checkpoint)
    return checkpoint.with_name(f"{checkpoint.stem}.{subset}.npz")


def checkpoint_of(folder: str | os.PathLike) -> Path:
    """The best checkpoint of a run folder, which may be gone while its predictions are there."""
    folder = Path(folder)
    inside = folder / "checkpoints" / CHECKPOINT
    return inside if inside.parent.is_dir() else folder / CHECKPOINT


def write(predictions: Predictions, path: str | os.PathLike) -> None:
    """Write a file of predictions; it appears whole or not at all."""
    fields = _FIELDS if predictions.clean_labels is None else (*_FIELDS, "clean_labels")
    with write_aside(path, "wb") as stream:
        np.savez(stream, allow_pickle=False, **{field: np.asarray(getattr(predictions, field)) for field in fields})


def read(path: str | os.PathLike) -> Predictions:
    """The Predictions of a file. Raises UserError where it cannot be read, or is damaged or inconsistent."""
    again = "remove it and run `labo classify-report` on the checkpoint"
    try:
        fields = _arrays(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the checkpoint, from which it is made") from None
    except Exception as error:  # zipfile, zlib, struct and numpy raise some fifteen kinds on damaged bytes
        raise UserError(f"{path}: no file of predictions ({' '.join(str(error).split()):.200}): {again}") from None
    logits, labels, classes = fields["logits"], fields["labels"], tuple(fields["classes"].tolist())
    clean = fields.get("clean_labels")
    if not len(labels) or logits.shape != (len(labels), len(classes)):
        raise UserError(f"{path}: {len(labels)} labels and logits of shape {logits.shape}: {again}")
    if labels.min() < 0 or labels.max() >= len(classes) or not np.isfinite(logits).all():
        raise UserError(f"{path}: labels out of range, or logits that are not finite: {again}")
    if clean is not None and (clean.shape != labels.shape or clean.min() < 0 or clean.max() >= len(classes)):
        raise UserError(f"{path}: true labels that do not fit the images: {again}")
    subset, data, checkpoint = (str(fields[field]) for field in _FIELDS[3:])
    return Predictions(logits, labels, classes, subset, data, checkpoint, clean)


def _arrays(path):
    """{field: array} of the archive, which holds as many bytes as it says: nothing asks for more memory than that."""
    with zipfile.ZipFile(path) as archive:
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise ValueError("it is compressed, as no file of predictions is")
        names = {record.filename.removesuffix(".npy") for record in archive.infolist()}
        return {field: _array(archive, field) for field in _KINDS if field in names or field in _FIELDS}


def _array(archive, field):
    content = io.BytesIO(archive.read(f"{field}.npy"))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{field} is of another version of numpy's format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(content)
    kinds, dimensions = _KINDS[field]
    if dtype.kind not in kinds or len(shape) != dimensions or min(shape, default=0) < 0:
        raise ValueError(f"{field} is an array of {dtype} of shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(content.getbuffer()) - content.tell():
        raise ValueError(f"{field} has another size than shape {shape} needs")
    content.seek(0)
    return np.lib.format.read_array(content, allow_pickle=False)


def share_of(predictions: Predictions, share: float) -> Predictions:
    """A share in (0, 1] of the images, at least one, drawn at random but always the same."""
    if share == 1:
        return predictions
    count = max(1, round(share * len(predictions)))
    picked = np.sort(np.random.default_rng(1).permutation(len(predictions))[:count])
    clean = None if predictions.clean_labels is None else predictions.clean_labels[picked]
    logits, labels = predictions.logits[picked], predictions.labels[picked]
    return replace(predictions, logits=logits, labels=labels, clean_labels=clean)
