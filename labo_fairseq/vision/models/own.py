"""The papers' architectures that torchvision has not: residual networks for 32×32 images, and small networks."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from ...errors import above, within
from .base import ImageClassifierConfig, architecture, at_least, initialize_as_he

# --- residual networks with pre-activation (He et al. 2016b) ---


class PreActivationBlock(nn.Module):
    """Norm, ReLU, 3×3 convolution, twice, plus the input (after the first ReLU where the shape changes).

    padded: such a shortcut takes every `stride`-th pixel and fills up with zero channels (option A of He et al. 2016a)
    instead of a 1×1 convolution
    """

    def __init__(self, inputs, outputs, stride, dropout=0.0, padded=False):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.changes = stride != 1 or inputs != outputs
        self.stride, self.added = stride, outputs - inputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if self.changes and not padded else None

    def forward(self, x):
        out = F.relu(self.norm1(x))
        short = self._shortcut(out) if self.changes else x
        out = self.conv1(out)
        return short + self.conv2(self.dropout(F.relu(self.norm2(out))))

    def _shortcut(self, x):
        if self.shortcut is not None:
            return self.shortcut(x)
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class PreActivationResNet(nn.Module):
    """3×3 convolution to `stem` channels, a stage of `blocks` for each of `widths`, mean over the pixels.

    final_norm: norm and ReLU before the mean
    """

    def __init__(self, channels, stem, widths, blocks, dropout=0.0, padded=False, final_norm=True):
        super().__init__()
        self.stem = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        stages, inputs = [], stem
        for number, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if number and not block else 1
                stages.append(PreActivationBlock(inputs, width, stride, dropout, padded))
                inputs = width
        self.blocks = nn.Sequential(*stages)
        self.norm = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU()) if final_norm else nn.Identity()
        initialize_as_he(self)

    def forward(self, images):
        return self.norm(self.blocks(self.stem(images))).mean((2, 3))


@dataclass
class WideResNetConfig(ImageClassifierConfig):
    """Flags of wide_resnet28_10."""

    dropout: float = field(default=0.0, metadata={"help": "between the two convolutions of a block, in [0, 1]"})


@architecture("preact_resnet18")
def preact_resnet18(cfg, channels, size, classes):
    """PreAct-ResNet-18 as in the code that Guo et al. name (mixup-cifar10), which has no norm before the mean."""
    return PreActivationResNet(channels, 64, (64, 128, 256, 512), 2, final_norm=False), nn.Linear(512, classes)


@architecture("wide_resnet28_10", WideResNetConfig)
def wide_resnet28_10(cfg, channels, size, classes):
    """WideResNet-28-10 (Zagoruyko and Komodakis 2016)."""
    within("--dropout", cfg.dropout, 0, 1)
    return PreActivationResNet(channels, 16, (160, 320, 640), 4, cfg.dropout), nn.Linear(640, classes)


@architecture("resnet56")
def resnet56(cfg, channels, size, classes):
    """ResNet-56 for 32×32 images (He et al. 2016a, section 4.2), with pre-activation as Wagner et al. describe it.

    Müller et al. use the code of tensor2tensor; that its shortcuts are those without weights is our reading.
    """
    return PreActivationResNet(channels, 16, (16, 32, 64), 9, padded=True), nn.Linear(64, classes)


@architecture("resnet20")
def resnet20(cfg, channels, size, classes):
    """ResNet-20, the same with three blocks in a stage: small enough for two CPU cores."""
    return PreActivationResNet(channels, 16, (16, 32, 64), 3, padded=True), nn.Linear(64, classes)


# --- small networks ---


@architecture("alexnet_small")
def alexnet_small(cfg, channels, size, classes):
    """The "AlexNet" of Müller et al. (A.1): TensorFlow's CIFAR-10 tutorial, made for crops of 24×24.

    Give --image-size 24 --crop-padding 0 --normalization image, and --layer-weight-decay body.fc2=0.04,classifier=0.04:
    "weight decay of 0.04 in the last two dense layers". Initialization as in the tutorial.
    """
    at_least("alexnet_small", size, 4)
    body = _AlexNet(channels, size)
    classifier = nn.Linear(192, classes)
    for layer, std, bias in (
        (body.conv1, 0.05, 0.0), (body.conv2, 0.05, 0.1), (body.fc1, 0.04, 0.1), (body.fc2, 0.04, 0.1),
        (classifier, 1 / 192, 0.0),
    ):  # fmt: skip
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.constant_(layer.bias, bias)
    return body, classifier


class _AlexNet(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 5, padding=2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        # torch divides alpha by the number of channels, TensorFlow does not
        self.norm = nn.LocalResponseNorm(9, alpha=9 * 0.001 / 9, beta=0.75, k=1.0)
        side = ((size + 1) // 2 + 1) // 2
        self.fc1 = nn.Linear(64 * side * side, 384)
        self.fc2 = nn.Linear(384, 192)

    def forward(self, images):
        x = self.norm(self.pool(F.relu(self.conv1(images))))
        x = self.pool(self.norm(F.relu(self.conv2(x))))
        return F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))


@dataclass
class FullyConnectedConfig(ImageClassifierConfig):
    """Flags of fully_connected."""

    hidden_size: int = field(
        default=1200, metadata={"help": "units of both hidden layers; the student of Müller et al.: 800"}
    )
    dropout: float = field(default=0.0, metadata={"help": "after each hidden layer, in [0, 1]; Wagner et al.: 0.5"})
    init_std: float = field(
        default=0.03,
        metadata={"help": "deviation of the initial weights, above 0 (Müller et al. write variance; Wagner et al.'s "
                  "code takes it as deviation)"},
    )  # fmt: skip


@architecture("fully_connected", FullyConnectedConfig)
def fully_connected(cfg, channels, size, classes):
    """The network of Müller et al. for MNIST (A.5): two hidden layers with ReLU, weights N(0, 0.03), biases 0."""
    within("--hidden-size", cfg.hidden_size, 1)
    within("--dropout", cfg.dropout, 0, 1)
    above("--init-std", cfg.init_std, 0)
    body = _FullyConnected(channels * size * size, cfg.hidden_size, cfg.dropout)
    classifier = nn.Linear(cfg.hidden_size, classes)
    for layer in (body.fc1, body.fc2, classifier):
        nn.init.normal_(layer.weight, std=cfg.init_std)
        nn.init.zeros_(layer.bias)
    return body, classifier


class _FullyConnected(nn.Module):
    def __init__(self, inputs, hidden, dropout):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images):
        x = self.dropout(F.relu(self.fc1(images.flatten(1))))
        return self.dropout(F.relu(self.fc2(x)))


@architecture("two_conv")
def two_conv(cfg, channels, size, classes):
    """The network of Chen et al. for MNIST (appendix C): "2 convolutional layers and 2 linear layers".

    The paper gives no sizes; those of LeNet in Caffe's MNIST example (20 and 50 channels, 500 units) are our reading.
    """
    at_least("two_conv", size, 16)
    return _TwoConv(channels, size), nn.Linear(500, classes)


class _TwoConv(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 20, 5), nn.Conv2d(20, 50, 5)
        side = ((size - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(50 * side * side, 500)

    def forward(self, images):
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.fc1(torch.flatten(x, 1)))
