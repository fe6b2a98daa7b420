"""The update number, which fairseq tells the model and nobody else."""

import functools

from fairseq.models import BaseFairseqModel
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask

_ATTRIBUTE = "labo_num_updates"


def follow_updates():
    """Let every fairseq model keep the number that `set_num_updates` tells it. Safe to call again.

    fairseq tells the model the number before each forward pass and right after a resume, but passes it on only to
    submodules that ask for it, and a criterion is none. A count of our own would be wrong after a resume and under
    gradient accumulation.
    """
    original = BaseFairseqModel.set_num_updates
    if getattr(original, "keeps_number", False):
        return

    @functools.wraps(original)
    def set_num_updates(self, num_updates):
        setattr(self, _ATTRIBUTE, num_updates)
        original(self, num_updates)

    set_num_updates.keeps_number = True
    BaseFairseqModel.set_num_updates = set_num_updates
    _tell_multilingual_models()


def _tell_multilingual_models():
    """fairseq's multilingual_translation has a train_step of its own, which forgets to tell the model the number.

    Without it a criterion would see no number, or after a resume always the one of the checkpoint. The models of the
    language pairs are submodules, so that set_num_updates reaches each of them.
    """
    original = MultilingualTranslationTask.train_step

    @functools.wraps(original)
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        model.set_num_updates(update_num)
        return original(self, sample, model, criterion, optimizer, update_num, ignore_grad)

    MultilingualTranslationTask.train_step = train_step


def updates_done(model):
    """Number of updates done so far, or None where no trainer has told the model (evaluation by itself)."""
    return getattr(model, _ATTRIBUTE, None)
