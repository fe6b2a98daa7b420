"""What every image classifier shares."""

from dataclasses import dataclass

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import UserError


@dataclass
class ImageClassifierConfig(FairseqDataclass):
    """An architecture without flags."""


class ImageClassifier(BaseFairseqModel):
    """A network that ends in a linear layer: logits = classifier(features(images)).

    body: module, images (B, C, H, W) -> penultimate features (B, D)
    classifier: nn.Linear(D, K)
    """

    def __init__(self, body, classifier):
        super().__init__()
        self.body = body
        self.classifier = classifier
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                # a count that only an average without momentum needs; fairseq's EMA cannot average an integer
                module.num_batches_tracked = None
        for name, parameter in self.named_parameters():
            parameter.param_group = name  # torch_sgd tells layers apart by it; fairseq keeps it in its fp32 copies

    @classmethod
    def build_model(cls, cfg, task):
        """The model for the task's images and classes."""
        settings = task.state.images
        return cls(*cls.layers(cfg, settings["channels"], settings["size"], len(settings["classes"])))

    @staticmethod
    def layers(cfg, channels, size, classes):
        """(body, classifier) for images (channels, size, size). Raises UserError where the images do not fit."""
        raise NotImplementedError

    def features(self, images):
        """Penultimate features (B, D) of images (B, C, H, W)."""
        if images.is_cuda:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.body(images)

    def forward(self, images, features_only=False):
        """Logits (B, K), or with features_only the features (B, D)."""
        features = self.features(images)
        return features if features_only else self.classifier(features)

    def half(self):
        """float16, but for batch normalization, whose running averages would stop in it."""
        return self._keep_norms(super().half())

    def bfloat16(self):
        """bfloat16, but for batch normalization, whose running averages would stop in it."""
        return self._keep_norms(super().bfloat16())

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        """As fairseq's. Raises UserError for a checkpoint of another number of classes."""
        saved = state_dict.get("classifier.weight")
        if saved is not None and len(saved) != self.classifier.out_features:
            raise UserError(
                f"the checkpoint has {len(saved)} classes, the data have {self.classifier.out_features}: "
                "give the data that it was trained on, or another --save-dir"
            )
        return super().load_state_dict(state_dict, strict, model_cfg, args)

    @staticmethod
    def _keep_norms(model):
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.float()
        return model


def architecture(name, dataclass=ImageClassifierConfig):
    """Decorator: register a function (cfg, channels, size, classes) -> (body, classifier) as fairseq architecture."""

    def register(function):
        # fairseq wants a class for each name
        cls = type(
            f"ImageClassifier_{name}",
            (ImageClassifier,),
            {"layers": staticmethod(function), "__doc__": function.__doc__},
        )
        cls.__module__ = function.__module__
        register_model(name, dataclass=dataclass)(cls)
        return function

    return register


def at_least(name, size, smallest):
    """Raise UserError for images that the network would shrink to nothing."""
    if size < smallest:
        raise UserError(f"--arch {name}: images of {size}×{size} pixels are too small: it needs {smallest} or more")


def initialize_as_he(module):
    """Weights of convolutions N(0, 2/fan_out) (He et al. 2015), norms 1 and 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
