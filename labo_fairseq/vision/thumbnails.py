"""Small pictures of single images of a data set, to look at beside their predictions."""

import io

import numpy as np

from ..errors import UserError
from ..fairseq_models.loading import load_models
from .images import CorruptImage

SIDE = 96  # pixels, at most


def thumbnails(checkpoint, predicted, indices):
    """{index: PNG bytes} of rows of a file of predictions (records.predictions.Predictions).

    The images are those of the data folder that the file names, as the task of `checkpoint` reads them. A file that
    cannot be read is left out. Raises UserError where checkpoint or data are missing, or the images are others.
    """
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file, so that its images cannot be read: the page has none of them")
    _, task = load_models([str(checkpoint)], predicted.data, "cpu")
    task.load_dataset(predicted.subset)
    images = task.dataset(predicted.subset).images
    if not np.array_equal(images.targets, predicted.labels):
        raise UserError(f"{predicted.data}: holds other images than the predictions: remove those, and measure again")
    found = {}
    for index in indices:
        try:
            found[index] = _png(images.read(index))
        except CorruptImage:
            continue
    return found


def _png(pixels):
    """PNG of a uint8 tensor (C, H, W), C being 1 or 3."""
    from PIL import Image

    array = pixels.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
