"""Teachers that are models: loading and checking their checkpoints, running them beside the student."""

import glob
import os
from collections.abc import Callable
from typing import Any

import torch
from fairseq import checkpoint_utils, tasks
from fairseq.models import FairseqMultiModel

from ..errors import UserError
from ..functional import given_logits, mean_teacher, projected_logits
from .projection import dense_logits, obstacle


class ModelTeacher:
    """One or more models in evaluation mode, without gradients; no torch module, so that nothing saves or trains it.

    models: fairseq models; several are an ensemble, whose probabilities are the mean of the members'
    """

    def __init__(self, models: list):
        self.models = [model.eval().requires_grad_(False) for model in models]

    @classmethod
    def load(cls, paths: str, task: Any, save_dir: str) -> "ModelTeacher":
        """The teacher of `--teacher-path`: checkpoints, separated by os.pathsep, for a student of the task.

        Raises UserError for a missing or refused file, a checkpoint of the student's own save_dir, and dictionaries
        that are not the task's.
        """
        checkpoints = paths.split(os.pathsep)
        for path in checkpoints:
            if os.path.realpath(os.path.dirname(path)) == os.path.realpath(save_dir):
                raise UserError(
                    f"--teacher-path {path}: lies in --save-dir, so this training would overwrite its own teacher: "
                    "choose another --save-dir"
                )
        return cls([load_model(path, task) for path in checkpoints])

    def logits(self, model: Any, sample: dict, flatten: Callable) -> Callable:
        """A teacher of functional/distillation.py for the rows of a batch.

        model: the student, whose device and type the teacher takes; flatten: function from (batch, length, D) to rows
        """
        own = next(model.parameters())
        with torch.no_grad():
            members = [self._member(m.to(own.device, own.dtype), sample["net_input"], flatten) for m in self.models]
        return mean_teacher(members)

    @staticmethod
    def _member(model, net_input, flatten):
        if obstacle(model) is not None:
            return given_logits(flatten(dense_logits(model, net_input)))
        projection = model.decoder.output_projection
        hidden = flatten(model(**net_input, features_only=True)[0])
        return projected_logits(hidden, projection.weight, projection.bias)


def load_model(path: str, task: Any) -> Any:
    """The model of a checkpoint, built by the task it was trained on, checked against the dictionaries of `task`."""
    state = _read(path)
    own_task = task
    if getattr(task, "target_dictionary", None) is not None:
        for name in ("source_lang", "target_lang"):  # fairseq-train keeps None where it inferred them
            if getattr(state["cfg"].task, name, "") is None:
                setattr(state["cfg"].task, name, getattr(task.cfg, name, None))
        own_task = setup_task(path, state["cfg"], _dictionary_folder(path, state["cfg"]))
        check_dictionaries(path, own_task, task)
    else:  # images: loading must not give the student's task the teacher's classes
        task.check_teacher(path, state.pop("task_state", {}).get("images"))
    try:
        (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([path], task=own_task, state=state)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if isinstance(model, FairseqMultiModel):
        raise UserError(f"{path}: holds one model for each pair of languages: a teacher must be a single model")
    return model


def task_of(path: str, data: str) -> Any:
    """The task of a checkpoint, on another folder of data. Raises UserError."""
    return setup_task(path, _read(path)["cfg"], data)


def setup_task(path: str, cfg: Any, data: str) -> Any:
    """The task of a checkpoint's settings with the dictionaries of the folder `data`. Raises UserError."""
    cfg.task.data = data
    try:
        return tasks.setup_task(cfg.task)
    except Exception as error:  # what fairseq raises where it finds no languages is no subclass
        raise UserError(f"{path}: its task cannot be set up on {data}: {' '.join(str(error).split())}") from error


def check_dictionaries(path: str, theirs: Any, ours: Any) -> None:
    """Raise UserError unless two tasks have the same symbols in the same order, on both sides."""
    for side in ("source", "target"):
        a, b = (_dictionary(task, side) for task in (theirs, ours))
        if (a and a.symbols) == (b and b.symbols):
            continue
        where = next(i for i in range(max(len(a), len(b)) + 1) if a.symbols[i : i + 1] != b.symbols[i : i + 1])
        there, here = (repr(d.symbols[where]) if where < len(d) else "missing" for d in (a, b))
        raise UserError(
            f"{path}: its {side} dictionary ({len(a)} types) is not that of the data ({len(b)} types): type {where} is "
            f"{there} there and {here} here: teacher and student need the same, as by fairseq-preprocess --srcdict"
        )


def _dictionary(task, side) -> Any:
    return getattr(task, f"{side}_dictionary", None)


def _read(path):
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file: give the teacher's checkpoint; several are separated by '{os.pathsep}'")
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(path)
        if state["cfg"] is not None and isinstance(state["model"], dict):
            return state
    except (AttributeError, KeyError, TypeError):
        pass
    raise UserError(f"{path}: holds no model and settings: give a checkpoint of fairseq-train")


def _dictionary_folder(path, cfg):
    """Where the dictionaries of a checkpoint are: beside it, or in the data that it was trained on."""
    trained_on = cfg.task.data.split(os.pathsep)[0]
    for folder in (os.path.dirname(path) or ".", trained_on):
        if glob.glob(os.path.join(glob.escape(folder), "dict*.txt")):
            return folder
    raise UserError(
        f"{path}: its dictionaries are not in {trained_on}, which it was trained on, so they cannot be compared with "
        "the student's: copy the teacher's dict.*.txt beside the checkpoint"
    )
