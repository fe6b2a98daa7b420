"""Architectures that torchvision has, with a stem for small images."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum
from torch import nn

from ...compat.torchvision_ops import import_torchvision
from ...errors import UserError
from .base import ImageClassifierConfig, architecture

SMALL = 64  # images up to this side get the stem for small ones


@dataclass
class TorchvisionConfig(ImageClassifierConfig):
    """Flags of the architectures that come from torchvision."""

    pretrained: bool = field(
        default=False,
        metadata={
            "help": "start from torchvision's newest ImageNet weights, downloaded if need be; the last layer is new "
            "unless there are 1000 classes; give --normalization imagenet with it"
        },
    )
    stem: ChoiceEnum(["auto", "imagenet", "small"]) = field(
        default="auto",
        metadata={"help": "small: no downsampling before the first block; auto: for images up to 64 pixels, "
                  "unless pretrained"},
    )  # fmt: skip


@architecture("resnet18", TorchvisionConfig)
def resnet18(cfg, channels, size, classes):
    """ResNet-18 (He et al. 2016)."""
    return _resnet("resnet18", cfg, channels, size, classes)


@architecture("resnet34", TorchvisionConfig)
def resnet34(cfg, channels, size, classes):
    """ResNet-34 (He et al. 2016)."""
    return _resnet("resnet34", cfg, channels, size, classes)


@architecture("resnet50", TorchvisionConfig)
def resnet50(cfg, channels, size, classes):
    """ResNet-50 (He et al. 2016; the stride is in the 3×3 convolution, as in torchvision)."""
    return _resnet("resnet50", cfg, channels, size, classes)


@architecture("resnet152", TorchvisionConfig)
def resnet152(cfg, channels, size, classes):
    """ResNet-152 (He et al. 2016)."""
    return _resnet("resnet152", cfg, channels, size, classes)


@architecture("mobilenet_v2", TorchvisionConfig)
def mobilenet_v2(cfg, channels, size, classes):
    """MobileNetV2 (Sandler et al. 2018); for small images the first two strides are 1. Its dropout of 0.2 stays."""
    net = _network("mobilenet_v2", cfg, channels, classes)
    if _small(cfg, size):
        net.features[0][0].stride = (1, 1)
        net.features[2].conv[1][0].stride = (1, 1)
    net.features[0][0] = _with_channels(net.features[0][0], channels)
    dropout, classifier = net.classifier
    net.classifier = dropout
    return net, _head(classifier, classes)


@architecture("densenet121", TorchvisionConfig)
def densenet121(cfg, channels, size, classes):
    """DenseNet-121 (Huang et al. 2017)."""
    net = _network("densenet121", cfg, channels, classes)
    if _small(cfg, size):
        net.features.conv0 = _small_conv(channels)
        net.features.pool0 = nn.Identity()
    net.features.conv0 = _with_channels(net.features.conv0, channels)
    classifier, net.classifier = net.classifier, nn.Identity()
    return net, _head(classifier, classes)


@architecture("resnext29_8x64d")
def resnext29_8x64d(cfg, channels, size, classes):
    """ResNeXt-29, 8×64d (Xie et al. 2017, section 5.1): three stages of three blocks, for images of 32×32.

    LABO's paper says "ResNeXt29" without the width; that it is this one is our reading.
    """
    resnet = import_torchvision().models.resnet
    net = resnet.ResNet(resnet.Bottleneck, [3, 3, 3, 1], groups=8, width_per_group=64)
    net.conv1, net.maxpool, net.layer4, net.fc = _small_conv(channels), nn.Identity(), nn.Identity(), nn.Identity()
    return net, nn.Linear(1024, classes)


def _resnet(name, cfg, channels, size, classes):
    net = _network(name, cfg, channels, classes)
    if _small(cfg, size):
        net.conv1, net.maxpool = _small_conv(channels), nn.Identity()
    net.conv1 = _with_channels(net.conv1, channels)
    classifier, net.fc = net.fc, nn.Identity()
    return net, _head(classifier, classes)


def _network(name, cfg, channels, classes):
    models = import_torchvision().models
    if not cfg.pretrained:
        return models.get_model(name, num_classes=classes)
    if str(cfg.stem) == "small":
        raise UserError("--pretrained: the weights belong to the stem for large images: leave --stem small out")
    if channels != 3:
        raise UserError("--pretrained: the weights are for colour images: give --image-mode rgb")
    try:
        return models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--pretrained: the weights of {name} cannot be downloaded ({reason}): try again later"
        ) from None


def _small(cfg, size):
    if str(cfg.stem) == "auto":
        return size <= SMALL and not cfg.pretrained
    return str(cfg.stem) == "small"


def _small_conv(channels):
    conv = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _with_channels(conv, channels):
    """The first convolution, for greyscale images too."""
    if conv.in_channels == channels:
        return conv
    new = nn.Conv2d(
        channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


def _head(classifier, classes):
    return classifier if classifier.out_features == classes else nn.Linear(classifier.in_features, classes)
