"""Reading checkpoints with torch.load(weights_only=True), which builds no object but those of allowed types."""

import argparse
import functools
import os
import pickle
import re
import zipfile

from .command_line import without_binaries
from .errors import UserError
from .literals import NoLiteral
from .workers import LOST_WORKER

LARGEST_PICKLE = 16 << 20  # bytes; a tensor's entry takes about 150, and torch unpickles a MiB in about a second

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
    """F2: a checkpoint that carries code, is damaged, or holds something else, ends in pages about weights_only=False.

    fairseq itself asks for nothing before it reads keys of what the file holds: `KeyError: 'best_loss'`.
    """
    original = module.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        check_archive(path)
        try:
            state = original(path, *args, **kwargs)
            problem = _problem_of(state)
        except FileNotFoundError:
            raise
        except Exception as error:  # all of it comes from what the file holds
            raise UserError(f"{path}: {_refusal(error, path)}") from error
        if problem:
            raise UserError(f"{path}: {problem}: give a checkpoint of fairseq-train")
        return state

    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu
    return True


def explain_foreign_checkpoints(module):
    """F20: a checkpoint of another vocabulary, or of odd settings: a traceback that does not name the file."""
    original = module.load_model_ensemble_and_task

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames, arg_overrides=None, task=None, *args, **kwargs):
        models, cfg = [], None
        for filename in filenames:  # one by one, so that the message can name it
            try:
                found, cfg, task = original([filename], arg_overrides, task, *args, **kwargs)
            except Exception as error:
                if is_not_of_a_file(error) or (is_mistake(error) and not isinstance(error, NoLiteral)):
                    raise
                raise UserError(f"{filename}: {_misfit(error)}") from error
            models += found
        return models, cfg, task

    module.load_model_ensemble_and_task = load_model_ensemble_and_task
    return True


def explain_failed_restarts(module):
    """F30: fairseq-train from a checkpoint that does not fit: a traceback ending in "Cannot load model parameters"."""
    original = module.Trainer.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self, filename, *args, **kwargs):
        if os.path.isdir(filename):  # fairseq would train from scratch without a word
            raise UserError(f"{filename}: is a folder: give the checkpoint in it, as {filename}/checkpoint_last.pt")
        try:
            state = original(self, filename, *args, **kwargs)
            _check_moments(self._optimizer)
            return state
        except Exception as error:
            cause = error.__context__ if type(error) is Exception and error.__context__ else error
            if is_mistake(cause) or is_not_of_a_file(cause):
                raise
            raise UserError(
                f"{filename}: does not fit this training ({_reason(cause)}): give the settings it was trained with, "
                "--finetune-from-model to take over the weights alone, or another checkpoint"
            ) from error

    module.Trainer.load_checkpoint = load_checkpoint
    return True


def _check_moments(optimizer):
    """Raise ValueError where Adam's moments are not those of the parameters: it would be found in the first update."""
    states = getattr(getattr(optimizer, "optimizer", None), "state", {})
    kept = {key for moments in states.values() if isinstance(moments, dict) for key in moments} & {"step", "exp_avg"}
    for parameter, moments in states.items():
        if not isinstance(moments, dict) or not (kept <= moments.keys() or not moments):
            raise ValueError("the optimizer's state of a parameter is incomplete")
        step = moments.get("step", 1)
        if getattr(step, "numel", lambda: 1)() != 1 or not 0 < step < 1 << 62:
            raise ValueError(f"the optimizer has counted {step!r} steps")
        for name in {"exp_avg", "exp_avg_sq"} & moments.keys():
            shape = getattr(moments[name], "shape", None)
            if shape != getattr(parameter, "shape", shape):
                raise ValueError(f"{name} has shape {shape}, its parameter {parameter.shape}")


def explain_missing_pretrained_model(module):
    """F30: `--finetune-from-model` names no file, or a folder: a traceback, or a training from scratch."""
    original = module.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg, trainer, **kwargs):
        path = cfg.finetune_from_model
        if path and not module.PathManager.isfile(path):
            raise UserError(f"--finetune-from-model: {path}: no such file: give the path of a checkpoint")
        return original(cfg, trainer, **kwargs)

    module.load_checkpoint = load_checkpoint
    return True


def is_mistake(error):
    """Whether an error is one line for the user, of the bridge or of the package."""
    return getattr(error, "labo_user_error", False)


def is_not_of_a_file(error):
    """Whether an error says nothing about a checkpoint: no memory on the GPU, another worker that is gone."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or LOST_WORKER.search(str(error)) is not None


def check_archive(path):
    """Raise UserError where a zip archive unpacks to far more than torch ever writes.

    torch stores without compression. A compressed record of megabytes becomes minutes of unpickling or gigabytes of
    memory; a pickle of a size that no model has takes minutes too, since torch unpickles in Python.
    """
    if not os.path.isfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return  # no archive, or a damaged one: who reads it says so
    unpacked = sum(record.file_size for record in records)
    pickles = sum(record.file_size for record in records if record.filename.endswith(".pkl"))
    if unpacked > os.path.getsize(path) + LARGEST_PICKLE or pickles > LARGEST_PICKLE:
        raise UserError(
            f"{path}: this archive unpacks to {unpacked >> 20} MiB, {pickles >> 20} MiB of them its list of tensors, "
            "which no training writes; it was not loaded: ask whoever made it for the original"
        )


def _misfit(error):
    text = str(error)
    if isinstance(error, NoLiteral):
        return text
    if isinstance(error, OSError) and text.startswith("Model file not found"):
        return "no such file: give the path of a checkpoint"
    if sizes := _FOREIGN_VOCABULARY.search(text):
        return (
            f"its vocabulary ({sizes[1]} types) is not that of the data ({sizes[3]} types): "
            "a model, or an ensemble, and its data need one dictionary"
        )
    if isinstance(error, RuntimeError) and "Error(s) in loading state_dict" in text:
        return f"its parameters do not fit its settings ({_reason(error)}): it was changed or damaged: use another"
    if line := without_binaries(text):
        return line
    return f"its model cannot be built ({_reason(error)}): its settings need other data, packages or --user-dir"


def _reason(error, longest=300):
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:longest]}{'...' if len(text) > longest else ''}"


def _problem_of(state):
    """What is wrong with the content of a checkpoint, in a few words; None if it can be used."""
    import torch

    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not model:
        return "holds no parameters under 'model'"
    for name, value in model.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            return f"holds no tensor under 'model', {name!r}"
    history, extra = state["optimizer_history"], state["extra_state"]
    progress = extra["train_iterator"] if extra is not None else None
    counts = {"num_updates": history[-1]["num_updates"]}
    if progress is not None:
        counts |= {key: progress.get(key, 0) for key in ("epoch", "iterations_in_epoch")}
    for key, value in counts.items():
        if not isinstance(value, int) or not 0 <= value < 1 << 62:
            return f"counts {key} as {value!r}"
    return None


def _refusal(error, path):
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and (foreign := _FOREIGN.search(text)):
        return (
            f"this checkpoint contains code ({foreign.group()}), it was not loaded: "
            "ask whoever made it for one that holds nothing but tensors and settings"
        )
    if isinstance(error, IsADirectoryError | PermissionError):
        return f"{error.strerror}: give the path of a checkpoint that can be read"
    unreadable = isinstance(error, pickle.UnpicklingError | EOFError) or any(phrase in text for phrase in _CUT_SHORT)
    if unreadable or _is_cut_archive(path):
        return "this checkpoint is damaged or cut short, it was not loaded: copy it again or use an earlier one"
    return f"this is no checkpoint that can be read ({_reason(error)}): give one of fairseq-train"


def _is_cut_archive(path):
    # torch says no more than `OSError: Invalid argument` where the end of the archive is missing
    if not os.path.isfile(path) or zipfile.is_zipfile(path):
        return False
    with open(path, "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def load_safely(path):
    """A checkpoint's content, on the CPU, of allowed types alone. Raises UserError where it cannot be loaded."""
    import torch

    check_archive(path)
    try:
        # on leaving, torch disallows all that are named here, also what was allowed before for good
        with torch.serialization.safe_globals(_globals_not_allowed_yet()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the path of a checkpoint") from None
    except Exception as error:  # whatever the file's content leads to
        raise UserError(f"{path}: {_refusal(error, path)}") from None
