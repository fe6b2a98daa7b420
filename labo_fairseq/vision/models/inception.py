"""Inception-v4 (Szegedy et al. 2017, figures 3 to 9), with a scale in batch normalization as Müller et al. (A.4)."""

from dataclasses import dataclass, field

import torch
from torch import nn

from ...errors import within
from .base import ImageClassifierConfig, architecture, at_least, initialize_as_he


@dataclass
class InceptionConfig(ImageClassifierConfig):
    """Flags of inception_v4."""

    dropout: float = field(default=0.2, metadata={"help": "before the last layer, in [0, 1]"})


@architecture("inception_v4", InceptionConfig)
def inception_v4(cfg, channels, size, classes):
    """Inception-v4, made for images of 299×299; without the auxiliary classifier."""
    within("--dropout", cfg.dropout, 0, 1)
    at_least("inception_v4", size, 75)
    body = nn.Sequential(
        *_stem(channels),
        *(_block_a() for _ in range(4)), _reduction_a(),
        *(_block_b() for _ in range(7)), _reduction_b(),
        *(_block_c() for _ in range(3)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(cfg.dropout),
    )  # fmt: skip
    initialize_as_he(body)
    return body, nn.Linear(1536, classes)


class Branches(nn.Module):
    """Concatenates the channels of its branches."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def _conv(inputs, outputs, kernel, stride=1, valid=False):
    """Convolution, norm, ReLU; keeps the size unless `valid` or a stride says otherwise. kernel: rows × columns."""
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = 0 if valid else (rows // 2, columns // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (rows, columns), stride, padding, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.ReLU(),
    )


def _chain(inputs, *steps):
    """Convolutions one after another; each step is (outputs, kernel, options…) of _conv."""
    layers = []
    for outputs, *options in steps:
        layers.append(_conv(inputs, outputs, *options))
        inputs = outputs
    return nn.Sequential(*layers)


def _pooled(inputs, outputs):
    return nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), _conv(inputs, outputs, 1))


def _stem(channels):
    yield _chain(channels, (32, 3, 2, True), (32, 3, 1, True), (64, 3))
    yield Branches(nn.MaxPool2d(3, 2), _conv(64, 96, 3, 2, True))
    yield Branches(
        _chain(160, (64, 1), (96, 3, 1, True)),
        _chain(160, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, True)),
    )
    yield Branches(_conv(192, 192, 3, 2, True), nn.MaxPool2d(3, 2))


def _block_a():
    return Branches(
        _conv(384, 96, 1), _chain(384, (64, 1), (96, 3)), _chain(384, (64, 1), (96, 3), (96, 3)), _pooled(384, 96)
    )


def _reduction_a():
    return Branches(_conv(384, 384, 3, 2, True), _chain(384, (192, 1), (224, 3), (256, 3, 2, True)), nn.MaxPool2d(3, 2))


def _block_b():
    return Branches(
        _conv(1024, 384, 1),
        _chain(1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
        _chain(1024, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        _pooled(1024, 128),
    )


def _reduction_b():
    return Branches(
        _chain(1024, (192, 1), (192, 3, 2, True)),
        _chain(1024, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, True)),
        nn.MaxPool2d(3, 2),
    )


def _block_c():
    return Branches(
        _conv(1536, 256, 1),
        nn.Sequential(_conv(1536, 384, 1), Branches(_conv(384, 256, (1, 3)), _conv(384, 256, (3, 1)))),
        nn.Sequential(
            _chain(1536, (384, 1), (448, (3, 1)), (512, (1, 3))),
            Branches(_conv(512, 256, (1, 3)), _conv(512, 256, (3, 1))),
        ),
        _pooled(1536, 256),
    )
