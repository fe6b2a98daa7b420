"""torchvision beside a torch that was built without CUDA."""

import importlib
import sys

from .errors import UserError
from .install import install_command

_libraries = []  # torch drops the operators of a Library that nobody holds


def import_torchvision():
    """The module torchvision. Raises UserError, saying what to install, where it is missing."""
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise UserError(
            f"image classification: needs torchvision, which is not installed: {install_command('torchvision')}"
        ) from None
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    declare_torchvision_operators()
    return importlib.import_module("torchvision")


def declare_torchvision_operators():
    """F26: `import torchvision` beside a CPU-only torch: `operator torchvision::nms does not exist`.

    The registry's torchvision is built for CUDA, so its compiled part cannot be loaded here; its Python part then
    registers shape functions for nms and qnms, operators that the compiled part should have declared. Declaring their
    schemas is enough for everything that needs no compiled operator: models, data sets, transforms. Calling nms still
    fails. import_torchvision() comes here only after the plain import has failed in just this way.
    """
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what is left of the import that failed
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
