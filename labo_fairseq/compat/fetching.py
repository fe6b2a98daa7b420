"""The threads and processes in which fairseq fetches batches ahead."""

import atexit
import contextlib
import queue
import threading
import time
import weakref

_PATIENCE = 10.0  # seconds; a batch takes less


def end_fetching_before_shutdown(module):
    """F27: a training ends at --max-update, then `terminate called without an active exception`, SIGABRT, now and then.

    The thread that fetches batches is a daemon. Python's shutdown ends it wherever it is, and in the middle of torch's
    C++ that is an abort(): a finished training looks like one that died, to torchrun and SLURM too. So it is ended
    before the shutdown.
    """
    atexit.register(_end_fetching, module.BackgroundConsumer)
    return True


def _end_fetching(kind):
    until = time.monotonic() + _PATIENCE
    for thread in [thread for thread in threading.enumerate() if isinstance(thread, kind)]:
        thread._max_len = 0  # it is compared with the count after each batch
        while thread.is_alive() and time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                thread._queue.get(timeout=0.05)  # a full queue would hold the thread


def end_workers_of_past_epochs(module):
    """F51: a worker process of each epoch stays until the training ends, 190 MB each, where batches are drawn anew.

    So it is with images, and with datasets that sample. fairseq keeps the workers of a loader for the next epoch, also
    where that has a loader of its own, and the old one hangs in a circle: the iterator of epochs, its loader, the
    loader's sampler, the iterator. Python looks for circles of old objects once in many epochs. The sampler asks the
    iterator for batches when it is made and while the iterator lives, so that it need not hold it.
    """
    original = module.FrozenBatchSampler.__init__

    def __init__(self, ordered_batches, *args, **kwargs):
        batches = weakref.WeakMethod(ordered_batches)
        original(self, lambda *order: batches()(*order), *args, **kwargs)

    module.FrozenBatchSampler.__init__ = __init__
    return True
