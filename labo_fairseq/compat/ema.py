"""The model of --store-ema, which fairseq's trainer hands to tasks that ask for it, and never to a criterion."""


def follow_ema(task, receive):
    """Call receive(model) with the averaged model before every training step of the task."""
    task.uses_ema = True
    train_step, valid_step = task.train_step, task.valid_step

    def train_step_with_ema(*args, ema_model=None, **kwargs):
        receive(ema_model)
        return train_step(*args, **kwargs)

    def valid_step_with_ema(*args, ema_model=None, **kwargs):
        return valid_step(*args, **kwargs)

    task.train_step, task.valid_step = train_step_with_ema, valid_step_with_ema
