"""Reading checkpoints with torch.load(weights_only=True), which builds no object but those of allowed types."""

import argparse
import functools
import os
import pickle
import re
import zipfile

from .errors import UserError
from .literals import NoLiteral

# how torch names what it refuses to build or call
_FOREIGN = re.compile(r"GLOBAL [\w.]+|(?<=but got )<class '[\w.]+'>|(?<=unrecognized function )\S+")
_FOREIGN_VOCABULARY = re.compile(
    r"embed_tokens\.weight: copying a param with shape torch\.Size\(\[(\d+), (\d+)\]\) from checkpoint, "
    r"the shape in current model is torch\.Size\(\[(?!\1,)(\d+), "
)
_CUT_SHORT = ("PytorchStreamReader", "unexpected EOF")


def allow_checkpoint_globals(module):
    """F2: resume, validate, generate ...: `Weights only load failed. Unsupported global: GLOBAL argparse.Namespace`.

    From 2.6 on torch.load builds only objects of allowed types, and fairseq's checkpoints hold a Namespace (cfg.model)
    and, with --eval-bleu, numpy arrays of counts. None of these types runs code when it is built. For good, not only
    within fairseq's own loader, so that scripts that call torch.load on such a file work too.
    """
    import torch

    missing = _globals_not_allowed_yet()
    torch.serialization.add_safe_globals(missing)
    return bool(missing)


def _globals_not_allowed_yet():
    import torch

    allowed = torch.serialization.get_safe_globals()
    return [entry for entry in checkpoint_globals() if entry not in allowed]


def checkpoint_globals():
    """What a checkpoint file may name, besides torch's own list."""
    import numpy as np

    reconstruct = np.empty(0).__reduce__()[0]
    return [
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
        type(np.dtype(np.float64)),  # counts that were summed over several processes
        reconstruct,
        (reconstruct, "numpy.core.multiarray._reconstruct"),  # its name in files written with numpy 1
    ]


def explain_refused_checkpoints(module):
    """F2: a checkpoint that carries code, or is cut short, ends in torch's pages of advice on weights_only=False."""
    original = module.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        try:
            return original(path, *args, **kwargs)
        except (pickle.UnpicklingError, EOFError, RuntimeError, OSError) as error:
            reason = _refusal(error, path)
            if reason is None:
                raise
            raise UserError(f"{path}: {reason}") from error

    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    return True


def explain_foreign_vocabularies(module):
    """F20: a checkpoint of another vocabulary: `Error(s) in loading state_dict`, a traceback without a file's name.

    The name goes before the settings that are no literals (F28), too.
    """
    original = module.load_model_ensemble_and_task

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames, arg_overrides=None, task=None, *args, **kwargs):
        models, cfg = [], None
        for filename in filenames:  # one by one, so that the message can name it
            try:
                loaded, cfg, task = original([filename], arg_overrides, task, *args, **kwargs)
            except NoLiteral as error:
                raise UserError(f"{filename}: {error}") from None
            except RuntimeError as error:
                sizes = _FOREIGN_VOCABULARY.search(str(error))
                if sizes is None:
                    raise
                raise UserError(
                    f"{filename}: its vocabulary ({sizes[1]} types) is not that of the data ({sizes[3]} types): "
                    "a model, or an ensemble, and its data need one dictionary"
                ) from error
            models += loaded
        return models, cfg, task

    module.load_model_ensemble_and_task = load_model_ensemble_and_task
    return True


def _refusal(error, path):
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and (foreign := _FOREIGN.search(text)):
        return (
            f"this checkpoint contains code ({foreign.group()}), it was not loaded: "
            "ask whoever made it for one that holds nothing but tensors and settings"
        )
    unreadable = isinstance(error, pickle.UnpicklingError | EOFError) or any(phrase in text for phrase in _CUT_SHORT)
    if unreadable or _is_cut_archive(path):
        return "this checkpoint is damaged or cut short, it was not loaded: copy it again or use an earlier one"
    return None


def _is_cut_archive(path):
    # torch says no more than `OSError: Invalid argument` where the end of the archive is missing
    if not os.path.isfile(path) or zipfile.is_zipfile(path):
        return False
    with open(path, "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def load_safely(path):
    """A checkpoint's content, on the CPU, of allowed types alone. Raises UserError where it cannot be loaded."""
    import torch

    try:
        # on leaving, torch disallows all that are named here, also what was allowed before for good
        with torch.serialization.safe_globals(_globals_not_allowed_yet()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the path of a checkpoint") from None
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError) as error:
        reason = _refusal(error, path) or f"{error}: this file is no checkpoint that can be read"
        raise UserError(f"{path}: {' '.join(reason.split())}") from None
