"""What fairseq does not tell a criterion: the update number, the length of an epoch, its own state at a resume."""

import functools

from fairseq.models import BaseFairseqModel
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask

_ATTRIBUTE = "labo_num_updates"
_KEPT = "labo_criterion"  # in the extra_state of a checkpoint


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


def follow_training(trainer_class):
    """Let fairseq's Trainer tell a criterion how long an epoch is, and keep what the criterion wants kept.

    A criterion with `set_batches(number)` hears how many batches its worker has in an epoch, before the first of them.
    One with `state_to_keep()` and `restore(state)` gets that dict saved in every checkpoint, and back where a training
    goes on: fairseq itself saves parameters of a criterion alone. Safe to call again.
    """
    if getattr(trainer_class, "labo_follows", False):
        return
    trainer_class.labo_follows = True
    for name, wrapper in (
        ("get_train_iterator", _telling_batches),
        ("state_dict", _keeping_state),
        ("load_checkpoint", _restoring_state),
    ):
        setattr(trainer_class, name, wrapper(getattr(trainer_class, name)))


def _telling_batches(original):
    @functools.wraps(original)
    def get_train_iterator(self, *args, **kwargs):
        iterator = original(self, *args, **kwargs)
        if hasattr(self.get_criterion(), "set_batches"):
            self.get_criterion().set_batches(len(iterator))
        return iterator

    return get_train_iterator


def _keeping_state(original):
    @functools.wraps(original)
    def state_dict(self):
        state = original(self)
        if hasattr(self.get_criterion(), "state_to_keep"):
            state["extra_state"][_KEPT] = self.get_criterion().state_to_keep()
        return state

    return state_dict


def _restoring_state(original):
    @functools.wraps(original)
    def load_checkpoint(self, filename, reset_optimizer=False, *args, **kwargs):
        extra_state = original(self, filename, reset_optimizer, *args, **kwargs)
        # --reset-optimizer begins a new training at update 0
        if extra_state and not reset_optimizer and hasattr(self.get_criterion(), "restore"):
            self.get_criterion().restore(extra_state.get(_KEPT) or {})
        return extra_state

    return load_checkpoint
