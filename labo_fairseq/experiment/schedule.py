"""All cells of an experiment: several at a time, on their devices, with the grids resolved on the way."""

import concurrent.futures
import contextlib
import os
import queue
import signal
from pathlib import Path

from .. import files
from ..errors import UserError
from ..progress import progress_in_parts, tell, tell_step
from . import cells
from .steps import Runner, StepError


def run(experiment, out, gpus=(), jobs=None, raw_dir=None):
    """Run all cells, `jobs` at a time (None: as `share_cores` says); returns {Cell name: (Cell, status)}.

    Raises UserError where the folder is in use.
    """
    out = Path(out)
    with _lock(out) as lock, _terminated_as_interrupted():
        sweep_parts(experiment, out)
        jobs, threads = share_cores(jobs, len(cells.first_cells(experiment)), gpus)
        work = _Work(experiment, Runner(out, not gpus, lock, threads), gpus, jobs)
        try:
            work.run(raw_dir)
        except KeyboardInterrupt:
            work.runner.stop()
            raise
        return work.found


def share_cores(jobs, number, gpus=()):
    """(cells at a time, threads of each) of `number` cells.

    jobs: what is asked for, None for the default: on a CPU as many cells as there are cores, with GPUs one on each.
    """
    cores = available_cores()
    jobs = min(jobs or (len(gpus) if gpus else cores), max(1, number))
    return jobs, max(1, cores // jobs)


def available_cores():
    """CPU cores that this process may use: its affinity, and the quota of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000" without a quota
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        cores = min(cores, max(1, quota // period))
    return cores


def sweep_parts(experiment, out):
    """Remove the unfinished files that killed runs left in the experiment's folders (files.write_aside)."""
    folders = {*map(cells.label, experiment.trainings), *map("-".join, experiment.directions)}
    if not experiment.images:  # of which there may be a million
        folders.add("data")
    for folder in folders:
        for place, _, _ in os.walk(Path(out, folder)):
            files.sweep_parts(place)


def states(experiment, out):
    """[(Cell, status)] of all cells that are known so far, from their folders; nothing is started."""
    out, known = Path(out), {}
    for cell in cells.first_cells(experiment):
        known[cell.name] = (cell, state(cell, out))
    for directions, method in _grids(experiment):
        point = chosen_point(known.values(), directions, method)
        if point is not None:
            later = cells.later_cells(experiment, directions, method, point)
            known.update({cell.name: (cell, state(cell, out)) for cell in later})
    return list(known.values())


def state(cell, out):
    """The status of one cell: its status.json, or why there is none."""
    folder = Path(out, cell.name)
    try:
        cells.check_owner(folder, cell)
    except UserError as error:
        return {"state": "failed", "message": str(error)}
    status = cells.read_status(folder) or {"state": "waiting"}
    if status["state"] == "running" and not _is_locked(Path(out)):
        status = {**status, "state": "interrupted", "message": "run the experiment again, it goes on here"}
    return status


def chosen_point(cells_and_states, directions, method):
    """The grid's point with the best score on validation data; None while a candidate is still to come.

    cells_and_states: pairs of (Cell, status). Candidates that failed or diverged are left out; None where all have.
    Of several directions the mean counts, of equal scores the first point in the file.
    """
    candidates = [(c, s) for c, s in cells_and_states if c.directions == directions and c.method == method]
    first = [(c, s) for c, s in candidates if c.seed == c.experiment.seeds[0]]
    if len(first) < len(method.candidates()) or any(s["state"] in ("waiting", "running") for _, s in first):
        return None
    # as the file has them, not as they ended: of equal scores the first one counts
    done = [(c, s) for point in method.candidates() for c, s in first if c.grid == point and s["state"] == "done"]
    return max(done, key=lambda pair: _valid_score(*pair))[0].grid if done else None


def valid_score(experiment, scores):
    """BLEU, of images accuracy in percent, on validation data, of the scores of a part; None without any."""
    return scores.get("valid", {}).get("accuracy" if experiment.images else "bleu")


def test_score(experiment, scores):
    """BLEU, of images accuracy in percent, on test data, of the scores of a part; None without any."""
    return scores.get("test", {}).get("accuracy") if experiment.images else scores.get("bleu", {}).get("value")


def _valid_score(cell, status):
    return sum(valid_score(cell.experiment, part.scores(status)) for part in cell.parts) / len(cell.parts)


class _Work:
    def __init__(self, experiment, runner, gpus, jobs):
        self.experiment, self.runner, self.jobs = experiment, runner, jobs
        self.found, self.fractions = {}, {}
        self.devices = queue.SimpleQueue()
        for i in range(jobs):
            self.devices.put(gpus[i % len(gpus)] if gpus else None)

    def run(self, raw_dir):
        """Prepare the corpora, then run what can start; a grid's other seeds follow its choice."""
        failed = self._prepare(raw_dir)
        todo = cells.first_cells(self.experiment)
        waiting = [(d, m) for d, m in _grids(self.experiment) if d not in failed]
        total = len(todo) + sum(len(self.experiment.seeds) - 1 for _ in _grids(self.experiment))
        ready = [cell for cell in todo if cell.directions not in failed]
        for cell in todo:
            if cell.directions in failed:
                self.found[cell.name] = (cell, {"state": "failed", "message": failed[cell.directions]})
        with (
            progress_in_parts(self.experiment.name, "cells", total) as bar,
            concurrent.futures.ThreadPoolExecutor(self.jobs) as pool,
        ):
            self.bar = bar
            try:
                self._drain(pool, ready, waiting)
            except BaseException:
                self.runner.stop()
                raise

    def _drain(self, pool, ready, waiting):
        names = {cell.name for cell in ready}
        held, futures = list(ready), set()
        while held or futures:
            # a student starts when its teachers, where they are cells too, have ended
            free = [c for c in held if not any(t in names and t not in self.found for t in c.teachers)]
            free = free if free or futures else held  # two that teach each other: their own errors say so
            held = [cell for cell in held if cell not in free]
            futures |= {pool.submit(self._one, cell) for cell in free}
            done, futures = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                cell, status = future.result()
                self.found[cell.name] = (cell, status)
                _tell(cell, status)
                tell_step(f"{len(self.found)} of {self.bar.total} cells")
            for directions, method in list(waiting):
                point = chosen_point(self.found.values(), directions, method)
                if point is not None:
                    waiting.remove((directions, method))
                    later = cells.later_cells(self.experiment, directions, method, point)
                    futures |= {pool.submit(self._one, cell) for cell in later}

    def _prepare(self, raw_dir):
        failed = {}
        for directions in self.experiment.trainings:
            tell_step(f"{cells.label(directions)}: prepare")
            try:
                self.runner.prepare(self.experiment, directions, raw_dir)
            except (StepError, OSError) as error:
                failed[directions] = f"not prepared: {error}"
        return failed

    def _one(self, cell):
        failed = sorted(t for t in cell.teachers if t in self.found and self.found[t][1]["state"] != "done")
        if failed:
            self._advance(cell, 1)
            return cell, {
                "state": "failed",
                "message": f"its teacher {failed[0]} is not done: run the experiment again",
            }
        gpu = self.devices.get()
        try:
            status = self.runner.run(cell, gpu, lambda fraction: self._advance(cell, fraction))
        finally:
            self.devices.put(gpu)
        self._advance(cell, 1)
        return cell, status

    def _advance(self, cell, fraction):
        # training is nearly all of a cell; the rest is kept back until the cell has ended
        before = self.fractions.get(cell.name, 0)
        self.fractions[cell.name] = now = max(before, fraction if fraction == 1 else 0.95 * fraction)
        self.bar.update(now - before)


def _grids(experiment):
    """[(directions of a training, method)] of the methods with a grid."""
    return [(d, m) for d in experiment.trainings for m in experiment.methods if m.grid]


def _tell(cell, status):
    scores = [test_score(cell.experiment, part.scores(status)) or 0 for part in cell.parts]
    shown = status.get("message") or f"{cell.experiment.measure} {', '.join(f'{score:.2f}' for score in scores)}"
    tell(f"{cell.name}: {status['state']}: {shown}")


@contextlib.contextmanager
def _lock(out):
    """The descriptor of the folder's lock, which running steps inherit: it is free only when the last one has ended."""
    import fcntl

    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"--out: {out}: another run, or a training that a killed one left behind, works here: "
                "wait until it has ended, or stop it"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _terminated_as_interrupted():
    """SIGTERM, which batch systems send, stops the cells as Ctrl-C does; otherwise their processes would go on."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_locked(out):
    try:
        with _lock(out):
            return False
    except UserError:
        return True
