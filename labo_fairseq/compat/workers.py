"""The processes of one distributed training: what they send each other, what they wait for, what if one dies."""

import collections
import functools
import inspect
import os
import re
import signal
import sys
import threading
import typing

from .attention import UNUSED_COPIES
from .console import GO_ON

LOST_WORKER = re.compile(
    r"Connection (?:closed|reset) by peer|Broken pipe|Timed out waiting|remote process (?:has )?exited"
    r"|NCCL communicator was aborted|Connection was likely closed|Socket Timeout"
)


def allow_broadcast_globals(module):
    """F4: resume of two processes: `Weights only load failed: GLOBAL omegaconf.dictconfig.DictConfig` on rank 1.

    Rank 0 reads the checkpoint and sends it to the others as a pickle, in which the configuration is an omegaconf
    object and tensors are replaced by placeholders. The types that such a message needs are allowed while one is
    received, and only then: no file may hold them. torch's safe_globals would take away on leaving what a user had
    allowed before, so only the missing ones are given to it.
    """
    import torch

    original = module._broadcast_object_slow
    if "weights_only" in inspect.getsource(original):
        return False

    @functools.wraps(original)
    def _broadcast_object_slow(*args, **kwargs):
        allowed = torch.serialization.get_safe_globals()
        missing = [entry for entry in _broadcast_globals(module) if entry not in allowed]
        with torch.serialization.safe_globals(missing):
            return original(*args, **kwargs)

    module._broadcast_object_slow = _broadcast_object_slow
    return True


def _broadcast_globals(module):
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    containers = [dict, int, list, collections.defaultdict, typing.Any]
    configuration = [DictConfig, ListConfig, AnyNode, Metadata, ContainerMetadata]
    return [*containers, *configuration, module._TensorPlaceholder]


def leave_unused_copies_out_of_ddp(module):
    """F21: several GPUs, second update: `RuntimeError: Expected to have finished reduction in the prior iteration`.

    An encoder layer holds copies of its weights for a fast path that training never takes (F3), and torch's DDP waits
    for their gradients. It is told to leave them alone, so that --find-unused-parameters is not needed; they stay
    parameters, since checkpoints and the optimizer's state count them.
    """
    original = module.DistributedDataParallel
    if not hasattr(original, "_set_params_and_buffers_to_ignore_for_model"):
        return False

    @functools.wraps(original)
    def wrap(module, **settings):
        original._set_params_and_buffers_to_ignore_for_model(module, _unused_copies(module))
        return original(module, **settings)

    module.DistributedDataParallel = wrap
    return True


def _unused_copies(model):
    from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, TransformerEncoderLayerBase)]
    return [f"{name}.{key}" for name, layer in layers for key in layer._parameters if key in UNUSED_COPIES]


def explain_lost_workers(module):
    """F23: one worker dies: the others end in a traceback about a collective, or by torchrun's SIGTERM without a word.

    Which of the two comes first is chance: torchrun looks after its workers ten times a second and ends the others at
    once, while a worker learns of the loss in its next collective.
    """
    original = module.distributed_main

    @functools.wraps(original)
    def distributed_main(i, main, cfg, kwargs):
        _say_why_sigterm_ended(cfg.distributed_training)
        try:
            return original(i, main, cfg, kwargs)
        except RuntimeError as error:
            reason = LOST_WORKER.search(str(error))
            if reason is None:
                raise
            _say(cfg.distributed_training, f"another worker is gone ({reason.group()})")
            sys.stdout.flush()
            os._exit(1)  # the process group waits for the lost worker when Python shuts down

    module.distributed_main = distributed_main
    return True


_saying = threading.Lock()  # never released: the connection and SIGTERM can tell of one loss at the same time


def _say(training, what):
    if not _saying.acquire(blocking=False):
        return
    # not by print: a signal can come in the middle of one, and Python's streams refuse to be entered again
    command = os.path.basename(sys.argv[0])
    why = "its own message or the system's log says why"
    line = f"{command}: rank {training.distributed_rank}: {what}, {why}: {GO_ON}\n"
    os.write(2, line.encode(errors="replace"))


def _say_why_sigterm_ended(training):
    """Say on SIGTERM why this worker ends, then end, at once: also while the main thread waits in a collective.

    Python runs a handler between two steps of the main thread alone, so one that waits for a GPU would never say it and
    be killed after torchrun's 30 seconds. Python writes the number of a signal into the wake-up file at once.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget_sigterm)  # the processes that load data have the file too
    threading.Thread(target=_end_on_sigterm, args=(training, read), name="end on SIGTERM", daemon=True).start()


def _forget_sigterm():
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_on_sigterm(training, read):
    while number := os.read(read, 1):
        if number[0] == signal.SIGTERM:
            _say(training, "ended by SIGTERM, which torchrun sends where another worker is gone")
            os._exit(128 + signal.SIGTERM)
