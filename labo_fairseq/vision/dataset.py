"""fairseq's view of a set of images."""

import contextlib
import logging

import numpy as np
import torch
from fairseq.data import FairseqDataset

from ..errors import UserError
from .images import CorruptImage
from .transforms import normalized

logger = logging.getLogger(__name__)


class ImageDataset(FairseqDataset):
    """Images as samples of a transform, in batches of exactly the batch size; fairseq's multiple of 8 is for sentences.

    images: Images
    transform: of a uint8 image (C, H, W)
    normalization: as in transforms.normalized
    channels, shape: what every image must have; shape (H, W) is None where the transform resizes
    seed: of augmentation and order. Both depend on seed, epoch and index alone, not on workers or a resume. None: no
        random numbers, and the order of the files
    skip_corrupt: leave unreadable images out, with a warning, instead of ending
    pairs: each image comes with a partner, any image of its class (itself too), chosen anew each epoch; needs a seed.
        With skip_corrupt an unreadable partner takes its image along, for that epoch
    """

    def __init__(
        self, images, transform, normalization, channels, shape=None, seed=None, skip_corrupt=False, pairs=False
    ):
        super().__init__()
        self.images = images
        self.transform = transform
        self.normalization = normalization
        self.channels = channels
        self.shape = shape
        self.seed = seed
        self.skip_corrupt = skip_corrupt
        self.epoch = 1
        self._class_members = _members(images.targets) if pairs else None

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        """{"id", "image" uint8 (C, size, size), "target"}, with pairs also "partner"; None where skipped."""
        indices = {"image": index}
        if self._class_members is not None:
            indices["partner"] = self._partner(index)
        try:
            images = {key: self.images.read(i) for key, i in indices.items()}
        except CorruptImage as error:
            if not self.skip_corrupt:
                raise
            logger.warning("skipped: %s", error)
            return None
        for key, image in images.items():
            self._check(image, indices[key])
        with self._random_numbers(index):
            images = {key: self.transform(image) for key, image in images.items()}
        return {"id": index, **images, "target": self.images.targets[index]}

    def collater(self, samples):
        """A batch of B images; {} where none is left, which fairseq passes over.

        target is (B,): an image is a sentence of one token, and no class is padding. With pairs, "partner" is the
        model's input of the partners; with noisy labels, "clean_target" is (B,) too.
        """
        samples = [sample for sample in samples if sample is not None]
        if not samples:
            return {}
        batch = {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": len(samples),
            "net_input": self._input(samples, "image"),
            "target": torch.tensor([sample["target"] for sample in samples]),
        }
        if self._class_members is not None:
            batch["partner"] = self._input(samples, "partner")
        if self.images.noisy:
            batch["clean_target"] = torch.from_numpy(self.images.clean_targets[batch["id"].numpy()])
        return batch

    def set_epoch(self, epoch):
        self.epoch = epoch

    @property
    def can_reuse_epoch_itr_across_epochs(self):
        # workers that live on would never hear of the next epoch, nor would batches be drawn anew
        return self.seed is None

    def ordered_indices(self):
        """The order of an epoch; fairseq cuts it into batches."""
        if self.seed is None:
            return np.arange(len(self))
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self))

    def batch_by_size(self, indices, max_tokens=None, max_sentences=None, required_batch_size_multiple=1):
        size = min(limit for limit in (max_tokens, max_sentences, len(indices) + 1) if limit)
        return [indices[start : start + size] for start in range(0, len(indices), size)]

    def filter_indices_by_size(self, indices, max_sizes):
        return indices, []

    def num_tokens(self, index):
        return 1

    def size(self, index):
        return 1

    def _input(self, samples, key):
        return {"images": normalized(torch.stack([sample[key] for sample in samples]), self.normalization)}

    def _partner(self, index):
        members = self._class_members[self.images.targets[index]]
        # a stream of its own: augmentation draws from (seed, epoch, index)
        return members[np.random.default_rng((self.seed, self.epoch, int(index), 1)).integers(len(members))]

    def _check(self, image, index):
        channels, *shape = image.shape
        if channels != self.channels:
            kinds = ("greyscale", "colour") if channels == 1 else ("colour", "greyscale")
            raise UserError(
                f"{self.images.name(index)}: a {kinds[0]} image among {kinds[1]} ones: "
                "give --image-mode rgb or --image-mode grey to convert all"
            )
        if self.shape is not None and tuple(shape) != tuple(self.shape):
            raise UserError(
                f"{self.images.name(index)}: {shape[1]}×{shape[0]} pixels, not {self.shape[1]}×{self.shape[0]}: "
                "give --augmentation resized_crop --image-size N to bring all to one size"
            )

    @contextlib.contextmanager
    def _random_numbers(self, index):
        """torch's generator, which the transforms use, in a state of this image and epoch; put back afterwards."""
        if self.seed is None:
            yield
            return
        state = torch.get_rng_state()
        seed = np.random.SeedSequence((self.seed, self.epoch, int(index))).generate_state(1)[0]
        torch.default_generator.manual_seed(int(seed))  # torch.manual_seed would seed the GPU too
        try:
            yield
        finally:
            torch.set_rng_state(state)


def _members(targets):
    """Indices of the images of each class, a list of K arrays."""
    order = np.argsort(targets, kind="stable")
    return np.split(order, np.cumsum(np.bincount(targets))[:-1])
