"""Image classifiers as fairseq architectures. Importing this package registers them all; torchvision is imported on use."""

from . import inception, own, torchvision_models  # noqa: F401
