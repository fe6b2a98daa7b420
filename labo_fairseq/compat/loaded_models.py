"""What fairseq's loader of models forgets to tell."""

import functools


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
