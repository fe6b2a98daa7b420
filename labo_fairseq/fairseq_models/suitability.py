"""Which of fairseq's tasks and models a criterion, a calibrator or a teacher can work on: those that predict tokens."""

import inspect
from typing import Any

import torch
from fairseq.tasks import TASK_REGISTRY

from ..errors import UserError
from .projection import unwrap

# registered name: why, where neither the dictionary nor a batch shows it (or shows it too late)
_UNSUITABLE = {
    "translation_lev": "its targets are insertions and deletions, not the next token",
    "translation_moe": "it asks the criterion for the loss of each of its experts, which only fairseq's own ones give",
    "sentence_prediction": "its targets are labels of whole sentences, not tokens",
    "sentence_ranking": "its targets are labels of whole sentences, not tokens",
    "speech_unit_modeling": "it predicts units together with their duration and pitch",
    "legacy_masked_lm": "it predicts tokens and the order of sentences together",
    "cross_lingual_lm": "its batches hold the targets in a form of their own",
    "hubert_pretraining": "its targets are clusters of frames of sound, of several dictionaries at once",
    "audio_pretraining": "it tells frames of sound apart, and has no targets",
}
_OTHERS = "use one of fairseq's criterions for it"


def task_name(task: Any) -> str:
    """The name that --task gives, or the task's class where it does not say."""
    settings = getattr(task, "cfg", None) or getattr(task, "args", None)
    return getattr(settings, "_name", None) or getattr(settings, "task", None) or type(task).__name__


def check_task(task: Any, who: str, advice: str = _OTHERS) -> None:
    """Raise UserError for a task of fairseq whose targets are neither tokens of a dictionary nor classes of images.

    who: what needs them, such as "--criterion labo"; advice: what to do instead
    """
    own = type(task)
    for name, reason in _UNSUITABLE.items():
        # exactly this task, or one made from it that has the same targets
        known = TASK_REGISTRY.get(name)
        if known is not None and (own is known or (name.startswith("sentence") and issubclass(own, known))):
            _refuse(who, task, reason, advice)
    try:
        dictionary = task.target_dictionary
    except (AttributeError, NotImplementedError):
        dictionary = None
    if dictionary is None and not (hasattr(own, "classes") or "classes" in vars(task)):
        _refuse(who, task, "its targets are not tokens of a dictionary", advice)


def check_two_dictionaries(task: Any, who: str, advice: str) -> None:
    """Raise UserError for a task whose source or target is no text, so that sentences have no tokens on both sides."""
    sides = [getattr(task, f"{side}_dictionary", None) for side in ("source", "target")]
    if any(side is None for side in sides):  # not `None in sides`: a Dictionary cannot be compared with None
        _refuse(who, task, f"its {'source' if sides[0] is None else 'target'} has no dictionary", advice)


def check_batch(task: Any, model: Any, sample: dict, who: str) -> None:
    """Raise UserError where the task's batches have no tokens as targets, or lack what the model asks for."""
    target = sample.get("target")
    if not torch.is_tensor(target) or target.is_floating_point():
        _refuse(who, task, "its batches hold no tokens to predict")
    plain = unwrap(model)
    lacking = [name for name in _required(plain.forward) if name not in sample["net_input"]]
    if lacking:
        _refuse(who, task, f"the model {type(plain).__name__} needs {', '.join(lacking)}, which its batches lack")


def check_output(task: Any, model: Any, logits: Any, targets: int, who: str) -> None:
    """Raise UserError unless there is a row of logits, (N, V), for each of the targets."""
    if torch.is_tensor(logits) and logits.dim() == 2 and len(logits) == targets:
        return
    found = f"{len(logits)} rows of logits" if torch.is_tensor(logits) else "no logits"
    _refuse(who, task, f"the model {type(unwrap(model)).__name__} gives {found} for {targets} targets")


def _required(forward):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(forward).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind in kinds]


def _refuse(who, task, reason, advice=_OTHERS):
    raise UserError(f"{who}: does not work with --task {task_name(task)}: {reason}: {advice}")
