"""Image classifiers as fairseq architectures. Importing this package registers them; torchvision waits for use."""

from . import inception, own, torchvision_models  # noqa: F401
