"""A checkpoint's logits for the images of a subset, as a file that analysis reads without the model."""

import tempfile
from pathlib import Path

import torch

from ..errors import UserError
from ..fairseq_models.loading import is_of_images, load_models, settings_of
from ..fairseq_models.tokens import collect
from ..files import sha256
from ..records import predictions


def predict(checkpoint, subsets, data=None, cpu=False):
    """Write the predictions of a checkpoint beside it, one file for each subset (predictions.path_beside).

    data: folder of the images, None for the one that the model was trained on. Images are neither augmented nor
    shuffled. Raises UserError where the checkpoint is no image classifier, or the images do not fit it.
    """
    device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    models, task = load_models([str(checkpoint)], data, device)
    if not is_of_images(task):
        raise UserError(f"{checkpoint}: is no image classifier: for translation see `labo calibrate` and `labo report`")
    digest = sha256(checkpoint)
    for subset in subsets:
        with tempfile.TemporaryDirectory(dir=Path(checkpoint).parent, prefix=".features.") as folder:
            tokens = collect(models, task, subset, folder)
            logits = [tokens.members[0].logits(rows.numpy()).cpu() for rows, *_ in tokens.chunks()]
        images = task.dataset(subset).images
        made = predictions.Predictions(
            torch.cat(logits).numpy(),
            tokens.target.numpy(),
            tuple(task.classes),
            subset,
            str(settings_of(task).data),
            digest,
            images.clean_targets[tokens.sentence.numpy()] if images.noisy else None,
        )
        predictions.write(made, predictions.path_beside(checkpoint, subset))
