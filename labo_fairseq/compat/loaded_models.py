"""What fairseq's loader of models forgets to tell."""

import functools
import logging
import os

logger = logging.getLogger(__name__)


def name_loaded_models(module):
    """F39: `from_pretrained` and a calibration: models do not know their files, and Python calls give no --path.

    Each loaded model gets `checkpoint_file`, by which a calibrated task tells whether its calibration belongs to it.
    """
    original = module.load_model_ensemble_and_task

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames, *args, **kwargs):
        models, cfg, task = original(filenames, *args, **kwargs)
        for model, filename in zip(models, filenames, strict=True):
            model.checkpoint_file = filename
        return models, cfg, task

    module.load_model_ensemble_and_task = load_model_ensemble_and_task
    return True


def warn_of_swapped_languages(module):
    """F49: `fairseq-generate -s en -t de` with a model of de-en: with a shared dictionary it runs, all nonsense."""
    original = module.load_model_ensemble_and_task

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames, *args, **kwargs):
        models, cfg, task = original(filenames, *args, **kwargs)
        asked, trained = _languages(getattr(task, "cfg", None)), _languages(getattr(cfg, "task", None))
        if None not in trained and asked == trained[::-1] != trained:
            logger.warning(
                "%s: translates %s-%s, asked for is %s-%s: give -s %s -t %s", filenames[0], *trained, *asked, *trained
            )
        return models, cfg, task

    module.load_model_ensemble_and_task = load_model_ensemble_and_task
    return True


def _languages(cfg):
    """(source, target) of a task; where its training inferred them from the names of the data files, the same again."""
    found = tuple(getattr(cfg, f"{side}_lang", None) for side in ("source", "target"))
    data = getattr(cfg, "data", None)
    several = getattr(cfg, "lang_pairs", None)  # a model of many directions
    if several or found != (None, None) or not isinstance(data, str):
        return found
    from fairseq import utils
    from fairseq.data import data_utils

    folder = utils.split_paths(data)[0]
    return tuple(data_utils.infer_language_pair(folder)) if os.path.isdir(folder) else found
