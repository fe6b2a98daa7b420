"""Activations before the last layer of checkpoints, on the plane of three class templates."""

import tempfile

import numpy as np

from ..errors import UserError
from ..fairseq_models.loading import chosen_device, is_of_images, load_models
from ..fairseq_models.tokens import collect
from ..progress import progress
from .penultimate import project

CLASSES = 3


def projections(groups, classes, subsets, data=None, max_tokens=4000, cpu=False):
    """{system: {subset: [penultimate.Projection of each seed]}} of checkpoints {system: [path of each seed]}.

    classes: names of three classes, or target tokens as they stand in the dictionary; subsets: names of the data's
    parts; data: folder of the data, None for that of the training; max_tokens: in a batch, for translation.
    Raises UserError for an unknown class, one that does not occur, and for systems of different kinds.
    """
    projected, kinds = {}, {}
    everything = [(name, checkpoint) for name, seeds in groups.items() for checkpoint in seeds]
    for name, checkpoint in progress(everything, "checkpoints", "checkpoint"):
        kind, by_subset = _of_checkpoint(checkpoint, classes, subsets, data, max_tokens, cpu)
        kinds[kind] = checkpoint
        if len(kinds) > 1:
            (what, first), (instead, other) = kinds.items()
            raise UserError(f"{other}: {instead}, but {first} {what}: look at them separately")
        for subset, projection in by_subset.items():
            projected.setdefault(name, {}).setdefault(subset, []).append(projection)
    return projected


def _of_checkpoint(checkpoint, classes, subsets, data, max_tokens, cpu):
    """(what the classes are, {subset: Projection}) of one checkpoint."""

    models, task = load_models([str(checkpoint)], data, chosen_device(cpu))
    indices = class_indices(checkpoint, task, classes)
    projected = {}
    for subset in dict.fromkeys(subsets):
        with tempfile.TemporaryDirectory(prefix="labo.") as place:
            tokens = collect(models, task, subset, place, max_tokens, indices)
            member = tokens.members[0]
            labels = np.array([indices.index(t) for t in tokens.target.tolist()], int)
            missing = [classes[i] for i in range(CLASSES) if not (labels == i).any()]
            if missing:
                raise UserError(f"--classes: {', '.join(missing)}: not found in {subset}: choose other classes")
            projected[subset] = project(np.array(member.hidden), labels, member.weight[indices].cpu().numpy())
    return ("classifies images" if is_of_images(task) else "translates"), projected


def class_indices(checkpoint, task, names):
    """The numbers of classes, or of types of the target dictionary. Raises UserError for an unknown one."""
    known = list(task.classes) if is_of_images(task) else task.target_dictionary.indices
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = known if is_of_images(task) else f"a type of dict.{task.cfg.target_lang}.txt, as subwords are written"
        choose = ", ".join(listed) if isinstance(listed, list) else listed
        raise UserError(f"--classes: {', '.join(unknown)}: unknown to {checkpoint}: choose from {choose[:300]}")
    return [known.index(name) if isinstance(known, list) else known[name] for name in names]
