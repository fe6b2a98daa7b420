"""Line functions over many lines, in parallel processes, in order: any number of workers gives the same lines."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import threading

from ..errors import UserError

_CHUNK = 2000  # lines per message to a worker: enough to hide its cost, few enough for a smooth progress bar


class Pool:
    """Processes that apply line functions; a context manager. With one worker everything runs in this process."""

    def __init__(self, workers):
        self._workers = workers
        self._executor = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._executor:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def map(self, function, lines):
        """Yield function.build()(line) for every line, in order; `function` must be hashable and can be pickled."""
        if self._workers == 1:
            yield from map(_built(function), lines)
            return
        lines = iter(lines)
        chunks = iter(lambda: list(itertools.islice(lines, _CHUNK)), [])
        under_way = collections.deque()
        try:
            for chunk in chunks:
                under_way.append(self._start().submit(_apply, function, chunk))
                if len(under_way) > 3 * self._workers:  # so that a corpus need not fit into memory
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError("a worker process was killed (out of memory?): run it again with --workers 1") from error
        finally:
            for future in under_way:
                future.cancel()

    def _start(self):
        if not self._executor:
            # spawn: a forked child would share our threads' locks, and our lock on the output folder
            context = multiprocessing.get_context("spawn")
            self._executor = concurrent.futures.ProcessPoolExecutor(self._workers, context, initializer=_die_with_us)
        return self._executor


def available():
    """The number of CPUs that this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _apply(function, lines):
    return list(map(_built(function), lines))


@functools.cache
def _built(function):
    return function.build()


def _die_with_us():
    """End a worker whose parent was killed: it would wait for work forever."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
