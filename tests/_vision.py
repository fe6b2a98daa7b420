"""Small image data sets, tasks and models to test on; torchvision is optional."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from omegaconf import OmegaConf

import labo_fairseq
from labo_fairseq.vision.task import TorchvisionClassificationConfig, TorchvisionClassificationTask

labo_fairseq.register()

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed: pip install '.[vision]'"
)


def write_images(folder, classes=("cat", "dog"), count=3, size=8, mode="RGB", seed=0):
    """FOLDER/CLASS/0.png … of random pixels."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{i}.png")
    return folder


def config(*args):
    """The configuration of a fairseq-train command line with the image task."""
    arguments = ["--task", "torchvision_classification", *map(str, args)]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


def make_image_task(data=".", **flags):
    """The task with these flags."""
    cfg = OmegaConf.structured(TorchvisionClassificationConfig(data=str(data)))
    return TorchvisionClassificationTask(OmegaConf.merge(cfg, {"seed": 1, "train_subset": "train", **flags}))


def make_image_model(name, channels=3, size=32, classes=10, **flags):
    """An architecture by itself."""
    cfg = MODEL_DATACLASS_REGISTRY[name]()
    for flag, value in flags.items():
        setattr(cfg, flag, value)
    settings = {"channels": channels, "size": size, "classes": list(map(str, range(classes)))}
    return MODEL_REGISTRY[name].build_model(cfg, SimpleNamespace(state=SimpleNamespace(images=settings)))
