"""Labelled images, in memory or in files, read as uint8 tensors."""

import copy

import numpy as np
import torch

from ..errors import UserError

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}


class CorruptImage(UserError):
    """A file that is no readable image."""


class Images:
    """A labelled set of images; `where` names it in messages.

    classes: names of the K classes
    targets: (N,) int64, each an index in `classes`
    clean_targets: the same, or the true ones where `targets` were made noisy
    """

    def __init__(self, where, classes, targets):
        self.where = where
        self.classes = [str(name) for name in classes]
        self.targets = self.clean_targets = np.asarray(targets, dtype=np.int64)

    def __len__(self):
        return len(self.targets)

    def read(self, index):
        """Image number `index`, uint8 (C, H, W). Raises CorruptImage."""
        raise NotImplementedError

    def name(self, index):
        """What a message calls image number `index`."""
        raise NotImplementedError

    def subset(self, indices):
        """Only the images of an index array."""
        raise NotImplementedError

    @property
    def noisy(self):
        """Whether labels were made noisy."""
        return self.targets is not self.clean_targets

    def with_noise(self, transition, rng):
        """The same images with labels drawn anew, each by itself: column j of `transition`, (K, K), for a label j."""
        steps = np.cumsum(transition, axis=0).T[self.clean_targets]  # (N, K)
        drawn = (rng.random(len(self))[:, None] >= steps[:, :-1]).sum(1)
        noisy = copy.copy(self)
        noisy.targets = drawn
        return noisy


class ArrayImages(Images):
    """Images in memory: `pixels` is a uint8 tensor (N, C, H, W)."""

    def __init__(self, where, classes, targets, pixels):
        super().__init__(where, classes, targets)
        self.pixels = pixels

    def read(self, index):
        return self.pixels[index]

    def name(self, index):
        return f"{self.where}: image {index}"

    def subset(self, indices):
        return ArrayImages(self.where, self.classes, self.targets[indices], self.pixels[torch.from_numpy(indices)])


class FileImages(Images):
    """Images in files.

    mode: "rgb" or "grey" converts every image; "auto" reads 3 channels from a colour image and 1 from a greyscale one
    """

    def __init__(self, where, classes, targets, paths, mode="auto"):
        super().__init__(where, classes, targets)
        self.paths = paths
        self.mode = mode

    def read(self, index):
        image = _load(self.paths[index])
        grey = image.mode in _GREY_MODES if self.mode == "auto" else self.mode == "grey"
        pixels = torch.from_numpy(np.array(image.convert("L" if grey else "RGB")))
        return pixels.unsqueeze(0) if grey else pixels.permute(2, 0, 1)

    def name(self, index):
        return str(self.paths[index])

    def subset(self, indices):
        paths = [self.paths[i] for i in indices]
        return FileImages(self.where, self.classes, self.targets[indices], paths, self.mode)


def _load(path):
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise CorruptImage(
            f"{path}: cannot be read as an image ({reason}): replace it, or give --skip-corrupt-images"
        ) from None
