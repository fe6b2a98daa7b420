"""The task `torchvision_classification`.

  fairseq-train --user-dir labo_fairseq --task torchvision_classification --image-dataset digits --arch resnet20 \\
    --criterion labo --optimizer torch_sgd --lr 0.1 --batch-size 64
"""

import logging
from dataclasses import dataclass, field
from typing import Optional

import numpy as np
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, OmegaConf

from ..compat.torchvision_ops import import_torchvision
from ..errors import UserError, within
from ..noise.transition import noise_matrix
from ..progress import progress
from .accuracy import AccuracyLog, ScaledLog, logits_of
from .dataset import ImageDataset
from .images import CorruptImage
from .sources import SOURCES, Splits
from .transforms import (
    AUGMENTATIONS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    channel_statistics,
    evaluation_transform,
    training_transform,
)

logger = logging.getLogger(__name__)

_MEASURED = 10_000  # training images that the mean and the deviation are computed from
_SHOWN = 3  # class names that a message lists
NOISY_SUBSETS = {"train": "label_noise", "valid": "valid_label_noise"}


@dataclass
class TorchvisionClassificationConfig(FairseqDataclass):
    """Flags of torchvision_classification."""

    data: str = field(
        default=".",  # fairseq lists this folder, whatever the data set
        metadata={"help": "folder of the images; digits needs none", "argparse_const": "."},
    )
    image_dataset: ChoiceEnum(list(SOURCES)) = field(
        default="image_folder",
        metadata={
            "help": "what DATA holds; image_folder: train/CLASS/IMAGE, test/CLASS/IMAGE, perhaps valid/CLASS/IMAGE"
        },
    )
    download: bool = field(default=False, metadata={"help": "download what is missing in DATA"})
    valid_share: Optional[float] = field(
        default=None,
        metadata={
            "help": "share of the training images for validation, in [0, 1); 0: validate on the test set "
            "(default: 0.1; 0 for imagenet, and where DATA has a folder valid or val)"
        },
    )
    split_seed: int = field(default=1, metadata={"help": "chooses the validation images"})
    augmentation: ChoiceEnum(["auto", *AUGMENTATIONS]) = field(
        default="auto",
        metadata={
            "help": "shift: random crop of the padded image; crop_flip: and a mirror image half of the time; "
            "resized_crop: random part, resized, and mirror image; auto: the papers' for the data set"
        },
    )
    crop_padding: Optional[int] = field(
        default=None, metadata={"help": "pixels around the image before the random crop (default: the data set's)"}
    )
    image_size: Optional[int] = field(
        default=None,
        metadata={
            "help": "side of the square that the model sees, in pixels (default: the data set's, or the image's)"
        },
    )
    normalization: ChoiceEnum(["auto", "channel", "imagenet", "image", "none"]) = field(
        default="auto",
        metadata={
            "help": "channel: mean and deviation of the training images; imagenet: those of ImageNet, which pretrained "
            "weights expect; image: each image by its own; none: pixels in [0, 1]; auto: channel, imagenet for ImageNet"
        },
    )
    image_mode: ChoiceEnum(["auto", "rgb", "grey"]) = field(
        default="auto",
        metadata={
            "help": "convert image files to colour or greyscale; auto: colour if the first image is in colour, and an "
            "error where another image differs"
        },
    )
    skip_corrupt_images: bool = field(
        default=False, metadata={"help": "leave unreadable image files out, with a warning, instead of ending"}
    )
    report_scaled_ece: bool = field(
        default=False,
        metadata={
            "help": "validation: log `ece_scaled`, the ece at the temperature that fits the same images best, and "
            "`temperature`, from 0.1 to 6.4 in steps of a fifth"
        },
    )
    label_noise: Optional[str] = field(
        default=None,
        metadata={
            "help": "make training labels wrong: symmetric:RATE (each other class alike), pair:RATE (the next class), "
            "transition:FILE (row i, column j: P(noisy label i | clean label j))"
        },
    )
    valid_label_noise: Optional[str] = field(
        default=None, metadata={"help": "the same for validation labels, independently; test labels stay clean"}
    )
    noise_seed: int = field(default=1, metadata={"help": "chooses the wrong labels"})
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")


@register_task("torchvision_classification", dataclass=TorchvisionClassificationConfig)
class TorchvisionClassificationTask(FairseqTask):
    """Images as sentences of one token: (B, C, H, W) images, (B,) targets.

    state.images goes into the checkpoint, so that a model is evaluated as it was trained: {"classes": names,
    "channels", "shape": [H, W] of the stored images or None where they are resized, "size": side of what the model
    sees, "normalization": as in transforms.normalized}; so does state.label_noise, {subset: transition matrix (K, K)}.
    """

    def __init__(self, cfg):
        import_torchvision()
        super().__init__(cfg)
        if cfg.valid_share is not None and not 0 <= cfg.valid_share < 1:
            raise UserError(f"--valid-share: {cfg.valid_share} is out of range: give a number in [0, 1)")
        for flag in ("crop_padding", "image_size"):
            if getattr(cfg, flag) is not None:
                within(f"--{flag.replace('_', '-')}", getattr(cfg, flag), 0 if flag == "crop_padding" else 1)
        self._source = SOURCES[str(cfg.image_dataset)]
        self._splits = Splits(
            str(cfg.image_dataset), cfg.data, cfg.download, cfg.valid_share, cfg.split_seed, str(cfg.image_mode)
        )
        self.state.add_factory("images", self._describe)
        self.feature_size = None  # D of the model that was built last: a criterion that adds a layer is built after it
        self.state.add_factory("label_noise", self._read_label_noise)
        self.draws_pairs = False  # a criterion that compares two images of a class sets it before data are loaded

    @property
    def classes(self):
        """Names of the K classes, in the order of the logits."""
        return self.state.images["classes"]

    @property
    def source_dictionary(self):
        return None

    @property
    def target_dictionary(self):
        """None: classes are numbers from 0, and none of them is padding."""
        return None

    def class_counts(self):
        """How often each class, noise included, labels a training image, float64 (K,): the unigram prior."""
        return np.bincount(self._images("train").targets, minlength=len(self.classes)).astype(float)

    def load_dataset(self, split, combine=False, task_cfg=None, **kwargs):
        """Load train, valid or test; augmented and shuffled only to train, not where fairseq-validate gives task_cfg.

        Raises UserError where the classes are not those of the model.
        """
        images = self._images(split)
        self._check_classes(images)
        training = split == self.cfg.train_subset and task_cfg is None
        transform = self._training_transform() if training else self._evaluation_transform()
        settings = self.state.images
        self.datasets[split] = ImageDataset(
            images,
            transform,
            settings["normalization"],
            settings["channels"],
            settings["shape"],
            seed=self.cfg.seed if training else None,
            pairs=training and self.draws_pairs,
            skip_corrupt=self.cfg.skip_corrupt_images,
        )
        logger.info("%s: %d images of %d classes from %s", split, len(images), len(self.classes), images.where)
        if images.noisy:
            wrong = int((images.targets != images.clean_targets).sum())
            logger.info("%s: label noise made %d of %d labels wrong", split, wrong, len(images))

    def get_batch_iterator(self, dataset, *args, num_workers=0, data_buffer_size=0, **kwargs):
        """As fairseq's, but never with a thread of this process that augments.

        Transforms draw from torch's generator; so does the dropout of the training thread, at the same time.
        """
        buffer = data_buffer_size if num_workers else 0
        return super().get_batch_iterator(dataset, *args, num_workers=num_workers, data_buffer_size=buffer, **kwargs)

    def build_model(self, cfg, from_checkpoint=False):
        """The model; weights of a checkpoint need no pretrained ones first."""
        if from_checkpoint and cfg.get("pretrained"):
            cfg = OmegaConf.merge(cfg, {"pretrained": False})
        model = super().build_model(cfg, from_checkpoint)
        self.feature_size = model.classifier.in_features
        return model

    def build_criterion(self, cfg):
        if cfg.get("ignore_prefix_size"):
            raise UserError(
                "--ignore-prefix-size: an image has one target, which cannot be ignored: leave the flag out"
            )
        return super().build_criterion(cfg)

    def train_step(self, sample, model, criterion, *args, **kwargs):
        """As fairseq's; where training labels are noisy, with sums for the accuracy on the true ones."""
        if "clean_target" not in sample:
            return super().train_step(sample, model, criterion, *args, **kwargs)
        with logits_of(model) as seen:
            loss, sample_size, log = super().train_step(sample, model, criterion, *args, **kwargs)
        clean = sample["clean_target"]
        passes = len(seen[-1]) // len(clean)  # R-Drop shows each image twice in a row
        return loss, sample_size, {**log, **AccuracyLog.of_clean(seen[-1].detach()[::passes], clean)}

    def valid_step(self, sample, model, criterion):
        """As fairseq's, with sums for accuracy, top5 and ece, whatever the criterion logs itself."""
        if not sample:  # every image of the batch was skipped
            return 0.0, 0, {}
        with logits_of(model) as seen:
            loss, sample_size, log = super().valid_step(sample, model, criterion)
        log = {**log, **AccuracyLog.of(seen[0], sample["target"])}
        if self.cfg.report_scaled_ece:
            log.update(ScaledLog.of(seen[0], sample["target"]))
        if "clean_target" in sample:
            log.update(AccuracyLog.of_clean(seen[0], sample["clean_target"]))
        return loss, sample_size, log

    def reduce_metrics(self, logging_outputs, criterion):
        super().reduce_metrics(logging_outputs, criterion)
        AccuracyLog.reduce(logging_outputs)
        ScaledLog.reduce(logging_outputs)

    def check_teacher(self, path, theirs):
        """Raise UserError unless a checkpoint saw images as this task shows them; theirs: its state.images, or None."""
        ours = self.state.images
        if theirs is None:
            raise UserError(f"{path}: was not trained by --task torchvision_classification, so it knows no images")
        if theirs["classes"] != ours["classes"]:
            raise UserError(
                f"{path}: has {len(theirs['classes'])} classes ({_few(theirs['classes'])}), the data "
                f"{len(ours['classes'])} ({_few(ours['classes'])}): teacher and student need the same"
            )
        for key in ("channels", "size"):
            if theirs[key] != ours[key]:
                raise UserError(
                    f"{path}: saw images with {key} {theirs[key]}, the student sees {ours[key]}: train both with the "
                    "same --image-mode and --image-size"
                )
        if not _same_normalization(theirs["normalization"], ours["normalization"]):
            raise UserError(
                f"{path}: normalized images by other numbers than the student: train both with the same data, "
                "--normalization, --valid-share and --split-seed"
            )

    def _images(self, split):
        """Images of a subset, with the label noise of the run."""
        images = self._splits.images(split)
        transition = self.state.label_noise.get(split)
        if transition is None:
            return images
        # one stream for each subset: their noises are independent, also where both are the same images
        rng = np.random.default_rng((self.cfg.noise_seed, list(NOISY_SUBSETS).index(split)))
        return images.with_noise(transition.numpy(), rng)

    def _read_label_noise(self):
        noise = {}
        for subset, flag in NOISY_SUBSETS.items():
            spec = getattr(self.cfg, flag)
            if spec is not None:
                noise[subset] = noise_matrix(spec, len(self.classes), f"--{flag.replace('_', '-')}")
        return noise

    def _describe(self):
        images = self._splits.images("train")
        first = next(self._readable(images, range(len(images))), None)
        if first is None:
            raise UserError(f"{images.where}: no image can be read: check the files")
        channels, *shape = first.shape
        resizes = self._augmentation == "resized_crop"
        size = self.cfg.image_size or self._source.size or min(shape)
        settings = {
            "classes": images.classes,
            "channels": channels,
            "shape": None if resizes else list(shape),
            "size": size,
        }
        return {**settings, "normalization": self._normalization(images, size, channels)}

    def _normalization(self, images, size, channels):
        by = str(self.cfg.normalization)
        if by == "auto":
            by = "imagenet" if str(self.cfg.image_dataset) == "imagenet" else "channel"
        if by == "imagenet":
            if channels != 3:
                raise UserError("--normalization imagenet: needs colour images: give --image-mode rgb")
            return {"by": "channel", "mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
        if by in ("image", "none"):
            return {"by": by}
        indices = np.linspace(0, len(images) - 1, min(len(images), _MEASURED)).round().astype(int)
        transform = evaluation_transform(self._augmentation, size)
        indices = progress(indices, "mean and deviation of the training images", "image")
        mean, std = channel_statistics(transform(image) for image in self._readable(images, indices))
        return {"by": "channel", "mean": mean, "std": std}

    def _readable(self, images, indices):
        for index in indices:
            try:
                yield images.read(index)
            except CorruptImage:
                if not self.cfg.skip_corrupt_images:
                    raise

    @property
    def _augmentation(self):
        wanted = str(self.cfg.augmentation)
        return self._source.augmentation if wanted == "auto" else wanted

    def _training_transform(self):
        padding = self._source.padding if self.cfg.crop_padding is None else self.cfg.crop_padding
        return training_transform(self._augmentation, self.state.images["size"], padding)

    def _evaluation_transform(self):
        return evaluation_transform(self._augmentation, self.state.images["size"])

    def _check_classes(self, images):
        missing = [name for name in self.classes if name not in set(images.classes)]
        unknown = [name for name in images.classes if name not in set(self.classes)]
        for names, verb in ((missing, "lacks"), (unknown, "has, and the model does not know,")):
            if names:
                raise UserError(
                    f"{images.where}: {verb} the class {_few(names)}: a model and all subsets need "
                    f"the same {len(self.classes)} classes"
                )


def _few(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _same_normalization(a, b):
    # equal up to rounding: a sum depends on the number of threads
    return a["by"] == b["by"] and all(np.allclose(a.get(key, 0), b.get(key, 0), atol=1e-6) for key in ("mean", "std"))
