"""Interleaved timing, peak memory in fresh processes, and gradient error against float64."""

import contextlib
import importlib.metadata
import multiprocessing
import platform
import statistics
import time
from pathlib import Path

import torch

from ..errors import UserError
from ..progress import progress
from . import candidates as losses
from .profile import shares
from .step import steps

_BF16 = ", bf16 products"


def run(args):
    """Measure what the arguments of `labo benchmark` ask for: (list of rows, the setting)."""
    for name in ("rows", "width", "vocabulary", "layers", "repetitions"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name}: {getattr(args, name)}: must be at least 1")
    prepare(args)
    problem = losses.Problem.random(args.rows, args.width, args.vocabulary, args.device, getattr(torch, args.dtype))
    table = chosen(_table(args, problem), args.only, losses.BASELINE)
    if args.what == "step" and args.profile:
        return _profiles(table, args), _setting(args)
    baseline = losses.BASELINE
    times = interleaved(table, args.repetitions, args.device, problem.clear, args.clock)
    rows = []
    for name in progress(table, "memory and gradients", "candidate"):
        median = statistics.median(times[name])
        row = {
            "candidate": name,
            "median_ms": median * 1e3,
            # of one repetition each: a machine that is slow for a while is so for all candidates of the repetition
            "ratio": statistics.median(a / b for a, b in zip(times[name], times[baseline], strict=True)),
            "min_ms": min(times[name]) * 1e3,
            "max_ms": max(times[name]) * 1e3,
            "peak_extra_MB": None if args.no_memory or args.what == "step" else peak_memory(args, name),
            "gradient_error": _gradient_error(args, name) if args.what == "loss" else None,
        }
        rows.append(row)
    return rows, _setting(args)


def _profiles(table, args):
    """Shares of a step's time by module and kind of operation, for each candidate."""
    return [
        {"candidate": name} | row
        for name, step in progress(table.items(), "profiles", "step", len(table))
        for row in shares(step, step.model, args.repetitions)
    ]


def prepare(args):
    """Set the threads; raise UserError where there is no such device."""
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device: see labo doctor")


def _table(args, problem):
    if args.what == "step":
        return steps(args)
    table = losses.candidates(problem, args.loss_kernel)
    return table | (_bf16_candidates(table) if args.matmul_bf16 else {})


def chosen(table, only, baseline):
    """The baseline, and the candidates whose name contains one of the words. Raises UserError where there is none."""
    if not only:
        return table
    chosen = {name: f for name, f in table.items() if name == baseline or any(word in name for word in only)}
    if len(chosen) == 1 and not any(word in baseline for word in only):
        raise UserError(f"--only {' '.join(only)}: no such candidate: the names are {', '.join(table)}")
    return chosen


def _bf16_candidates(table):
    """The floor and the fused candidates with bf16 matrix products inside."""

    def with_bf16(function):
        def run_with_bf16():
            with _bf16_products():
                function()

        return run_with_bf16

    fused = {name: f for name, f in table.items() if name.startswith(("fused", "floor"))}
    return {f"{name}{_BF16}": with_bf16(function) for name, function in fused.items()}


@contextlib.contextmanager
def _bf16_products():
    setting = torch.backends.mkldnn.matmul
    before, setting.fp32_precision = setting.fp32_precision, "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


def interleaved(table, repetitions, device, clear=lambda: None, clock="wall"):
    """{candidate: seconds of each run}: one warm-up, then every candidate once per repetition, `clear` before each.

    clock: "wall", or "cpu" for the time that this process computed, which other processes change less
    """
    times = {name: [] for name in table}
    with progress(None, "runs", "run", (repetitions + 1) * len(table)) as bar:
        for repetition in range(repetitions + 1):
            for name, function in table.items():
                clear()
                start = _now(device, clock)
                function()
                if repetition:
                    times[name].append(_now(device, clock) - start)
                bar.update()
    return times


def _now(device, clock):
    if device == "cuda":
        torch.cuda.synchronize()
    return time.process_time() if clock == "cpu" else time.perf_counter()


def peak_memory(args, name):
    """MB above what was in use before one pass, gradients included, in a process of its own."""
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=_measure_memory, args=(args, name, queue))
    process.start()
    process.join()
    return queue.get() if process.exitcode == 0 else None


def _measure_memory(args, name, queue):
    problem = losses.Problem.random(args.rows, args.width, args.vocabulary, args.device, getattr(torch, args.dtype))
    function = _table(args, problem)[name]
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        queue.put((torch.cuda.max_memory_allocated() - before) / 1e6)
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark of resident memory
    before = _resident("VmRSS")
    function()
    queue.put((_resident("VmHWM") - before) / 1e6)


def _resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def _gradient_error(args, name, rows=256):
    """Largest error of the gradients of hidden states and weight, relative to the largest entry; on `rows` rows."""
    kind, _, loss_name = name.removesuffix(_BF16).removesuffix(losses.FLOAT32).partition(" ")
    if kind not in ("fused", "dense"):
        return None
    exact = losses.Problem.random(rows, args.width, args.vocabulary, args.device, torch.float64)
    losses.dense(exact, losses.losses(exact)[loss_name])
    dtype = torch.float32 if name.endswith(losses.FLOAT32) else getattr(torch, args.dtype)
    problem = losses.Problem.random(rows, args.width, args.vocabulary, args.device, dtype)
    with _bf16_products() if name.endswith(_BF16) else contextlib.nullcontext():
        getattr(losses, kind)(problem, losses.losses(exact)[loss_name])
    pairs = ((problem.hidden.grad, exact.hidden.grad), (problem.weight.grad, exact.weight.grad))
    return max(((got.double() - true).abs().max() / true.abs().max()).item() for got, true in pairs)


def _setting(args):
    setting = {
        "rows": args.rows,
        "width": args.width,
        "vocabulary": args.vocabulary,
        "repetitions": args.repetitions,
        "dtype": args.dtype,
        "row pass": args.loss_kernel,
        "clock": args.clock,
    }
    return setting | environment(args.device)


def environment(device):
    """Device, threads and versions, for the line below a table."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        **{name: importlib.metadata.version(name) for name in ("torch", "fairseq", "labo_fairseq")},
    }
