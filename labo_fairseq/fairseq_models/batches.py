"""The batches of a data set, in a fixed order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairseq import utils

from ..errors import UserError
from ..progress import progress
from .loading import is_of_images, settings_of

_IMAGES = 128  # in a batch: of 224×224 pixels they fit into a small memory


def batches(models: list, task: Any, subset: str, max_tokens: int) -> Iterator:
    """The batches of a subset in a fixed order, without sentences too long for the models. Raises UserError."""
    # fairseq cannot map an empty file, and fails once more while it cleans up
    empty = [path for path in Path(settings_of(task).data).glob(f"{subset}.*.bin") if path.stat().st_size == 0]
    if empty:
        raise UserError(f"{empty[0]}: no sentences: name a subset that has some")
    try:
        # with task_cfg images of the training set are neither augmented nor shuffled
        task.load_dataset(subset, **({"task_cfg": task.cfg} if is_of_images(task) else {}))
    except FileNotFoundError as error:
        raise UserError(f"{subset}: {error}: name a binarized subset of DATA") from None
    dataset = task.dataset(subset)
    if len(dataset) == 0:
        raise UserError(f"{subset}: no sentences: name a subset that has some")
    iterator = task.get_batch_iterator(
        dataset,
        max_tokens=max_tokens,
        max_sentences=_IMAGES if is_of_images(task) else None,
        max_positions=_max_positions(models, task),
        ignore_invalid_inputs=True,  # fairseq's log names the sentences that are too long for the model
    ).next_epoch_itr(shuffle=False)
    for sample in progress(iterator, f"{subset}: forward pass", "batch"):
        if sample:
            yield sample


def _max_positions(models, task):
    longest, limits = task.max_positions(), [model.max_positions() for model in models]
    if isinstance(longest, dict):  # of multilingual_translation, by direction
        limits = [dict.fromkeys(longest, limit) for limit in limits]
    return utils.resolve_max_positions(longest, *limits)
