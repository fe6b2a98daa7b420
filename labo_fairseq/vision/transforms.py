"""Augmentation and normalization, by torchvision.transforms.v2."""

import torch

from ..compat.torchvision_ops import import_torchvision

AUGMENTATIONS = ("none", "shift", "crop_flip", "resized_crop")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def training_transform(augmentation, size, padding):
    """Random transform of a uint8 image (C, H, W), None for `none` of images that have the size already.

    shift: all (2·padding+1)² positions are equally likely (Müller et al. 2019, A.5, with padding 2); crop_flip: the
    same and a mirror image half of the time; resized_crop: that of Inception, and a mirror image half of the time.
    """
    v2 = _v2()
    if augmentation == "none":
        return evaluation_transform(augmentation, size)
    if augmentation == "resized_crop":
        return v2.Compose([v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()])
    crop = v2.RandomCrop(size, padding=padding)
    return crop if augmentation == "shift" else v2.Compose([crop, v2.RandomHorizontalFlip()])


def evaluation_transform(augmentation, size):
    """The image's centre; for resized_crop after its shorter side was made 256/224 of `size`."""
    v2 = _v2()
    if augmentation == "resized_crop":
        return v2.Compose([v2.Resize(round(size * 256 / 224), antialias=True), v2.CenterCrop(size)])
    return v2.CenterCrop(size)


def normalized(batch, normalization):
    """float32 images (B, C, H, W) of uint8 ones.

    normalization: {"by": "channel", "mean": C numbers, "std": C numbers}, both of pixels in [0, 1]; {"by": "image"}, by
    its own mean and deviation, the latter at least 1/√(C·H·W) as in TensorFlow's per_image_standardization; or
    {"by": "none"}, pixels in [0, 1]
    """
    batch = batch.float().div_(255)
    if normalization["by"] == "none":
        return batch
    if normalization["by"] == "image":
        std, mean = torch.std_mean(batch, (1, 2, 3), correction=0, keepdim=True)
        return (batch - mean) / std.clamp(min=batch[0].numel() ** -0.5)
    mean, std = (torch.tensor(normalization[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return batch.sub_(mean).div_(std)


def channel_statistics(images):
    """Mean and deviation of each channel of uint8 images (C, H, W), taken as [0, 1]: two lists of C floats."""
    count, total, squares = 0, 0.0, 0.0
    for image in images:
        pixels = image.double().div_(255).flatten(1)
        count += pixels.size(1)
        total, squares = total + pixels.sum(1), squares + pixels.square().sum(1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1e-12).sqrt()
    return mean.tolist(), std.tolist()


def _v2():
    import_torchvision()
    from torchvision.transforms import v2

    return v2
