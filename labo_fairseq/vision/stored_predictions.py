"""Predictions of checkpoints that are kept beside them; the model runs only where they are missing."""

from ..errors import UserError
from ..files import sha256
from ..records import predictions


def ensure_predictions(checkpoint, subsets, data=None, cpu=False):
    """Run the model where its predictions are not there, or are of other bytes or other data. Raises UserError."""
    missing = [subset for subset in dict.fromkeys(subsets) if not _is_current(checkpoint, subset, data)]
    if not missing:
        return
    if not checkpoint.exists():
        raise UserError(f"{checkpoint}: no such file, and no {missing[0]} predictions beside it: give a checkpoint")
    try:
        from .. import register
        from .predict import predict
    except ImportError as error:
        raise UserError(f"{checkpoint}: {error}: running a model needs fairseq and torch: install them") from error
    register()
    try:
        predict(checkpoint, missing, data, cpu)
    except OSError as error:
        raise UserError(f"{error.filename or checkpoint.parent}: {error.strerror}: must be writable") from error


def _is_current(checkpoint, subset, data):
    path = predictions.path_beside(checkpoint, subset)
    if not path.exists():
        return False
    stored = predictions.read(path)
    same_model = not checkpoint.exists() or sha256(checkpoint) == stored.checkpoint
    return same_model and data in (None, stored.data)


def predictions_of(folder, subsets, data=None, cpu=False):
    """The Predictions of a run on some subsets; its checkpoint is run over them where that was not done yet."""
    checkpoint = predictions.checkpoint_of(folder)
    ensure_predictions(checkpoint, subsets, data, cpu)
    return [predictions.read(predictions.path_beside(checkpoint, subset)) for subset in subsets]
