"""The threads in which fairseq fetches batches ahead."""

import atexit
import contextlib
import queue
import threading
import time

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
