"""Loading checkpoints for measuring: in evaluation mode, with their task, without running code in them."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, utils
from fairseq.models import FairseqMultiModel

from ..errors import UserError
from .projection import obstacle
from .suitability import check_task


def is_of_images(task: Any) -> bool:
    """Whether the task's targets are the classes of images, which no dictionary holds."""
    return task.target_dictionary is None


def load_models(paths: list[str], data: str | None, device: str, overrides: dict | None = None) -> tuple[list, Any]:
    """(models in evaluation mode on the device, their task on the folder `data`); weights_only, by the bridge's list.

    data: None for the folder that the models were trained on. Where its name is relative and not found from here, it is
    looked for from the folders above the checkpoint, in one of which the training was started.
    Raises UserError for a missing or refused file and for checkpoints of different vocabularies.
    """
    for path in paths:
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file: --path needs checkpoints, separated by '{os.pathsep}'")
    models, task = [], None
    data = _data_of(paths[0]) if data is None else data
    overrides = {**({} if data is None else {"data": data}), **(overrides or {})}
    for path in paths:
        try:
            loaded, _, task = checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides, task=task)
        except (ValueError, FileNotFoundError) as error:
            raise UserError(str(error).replace("\n", " ") or f"{path}: cannot be loaded") from error
        check_task(task, path, "give a checkpoint of another task")
        model = _of_direction(loaded[0], task, path)
        reason = None if is_of_images(task) else obstacle(model)
        if reason is not None:
            raise UserError(f"{path}: {reason}: calibration needs a Transformer decoder with a plain output projection")
        models.append(model.to(device).eval())
    return models, task


def _data_of(path):
    """The folder of a checkpoint's data where it is not found from here but from above the checkpoint; else None."""
    try:
        data = checkpoint_utils.load_checkpoint_to_cpu(path)["cfg"]["task"]["data"]
    except Exception:  # whatever is wrong with the file is said when the model is loaded
        return None
    if not isinstance(data, str) or os.path.exists(data.split(os.pathsep)[0]):
        return None
    above = (folder / data for folder in Path(path).resolve().parents)
    return next((str(folder) for folder in above if folder.exists()), None)


def _of_direction(model, task, path):
    """The model itself, or of a multilingual one that of the task's direction."""
    settings = settings_of(task)
    pairs = getattr(settings, "lang_pairs", None)
    if not pairs:
        return model
    direction = f"{settings.source_lang}-{settings.target_lang}"
    if direction not in pairs:
        raise UserError(f"{path}: translates {', '.join(pairs)}: name one of them with --source-lang and --target-lang")
    return model.models[direction] if isinstance(model, FairseqMultiModel) else model


def settings_of(task: Any) -> Any:
    """The task's own settings: a configuration, or the arguments of an older task."""
    return getattr(task, "cfg", None) or task.args


def chosen_device(cpu: bool = False) -> str:
    """ "cuda" where there is a GPU, unless `cpu` asks for the CPU."""
    return "cuda" if torch.cuda.is_available() and not cpu else "cpu"


def import_user_dir(user_dir: str | None) -> None:
    """Import the folder of fairseq's --user-dir, where models may be defined; nothing for None."""
    utils.import_user_module(Namespace(user_dir=user_dir))
