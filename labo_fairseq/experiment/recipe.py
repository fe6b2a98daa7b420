"""What scripts/quickstart.sh needs that is more than a command line: run as `python -m labo_fairseq.recipe`.

check     are the criterions known to fairseq, is there a CUDA device
cores     how many trainings run side by side: one for each core of the CPU, and one on a GPU
train     run fairseq-train unless it has ended before; its arguments go to command.json, its output to a file
generate  run fairseq-generate unless its output is there; the output appears under its name only when it is whole
"""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from ..errors import UserError
from ..files import write_aside
from ..records.train_log import FINISHED
from .precision import chosen


def check(args):
    """Refuse a criterion that fairseq does not know, and --device cuda without one. Imports fairseq and torch."""
    logging.disable(logging.INFO)  # fairseq recommends packages while it is imported
    import torch
    from fairseq.criterions import CRITERION_REGISTRY

    from .. import register

    register()
    logging.disable(logging.NOTSET)
    for name in args.criterions:
        if name not in CRITERION_REGISTRY:
            raise UserError(f"--criterion: {name}: unknown: choose from {', '.join(sorted(CRITERION_REGISTRY))}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device: cuda: torch sees no CUDA device: use --device cpu, or install a CUDA build of torch")


def cores(args):
    """Print how many trainings run side by side on the device."""
    print(len(os.sched_getaffinity(0)) if _on_cpu(args.device == "cpu") else 1)


def _on_cpu(asked):
    import torch

    return asked or not torch.cuda.is_available()


def _half(args, record):
    """--bf16, where this CPU computes faster in it; a run that has begun goes on as it began."""
    if not args.half_on_cpu or not _on_cpu("--cpu" in args.command):
        return []
    if record.exists():
        return ["--bf16"] if '"--bf16"' in record.read_text(encoding="utf-8") else []
    precision, reason = chosen("auto", True)
    print(f"{record.parent.name}: trains in {precision}: {reason}", file=sys.stderr)
    return ["--bf16"] if precision == "bf16" else []


def train(args):
    """Train, or go on training, in a run folder (see analysis/run_folder.py); nothing where that has ended before."""
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    args.command += _half(args, folder / "command.json")
    _record(folder / "command.json", args.command)
    with write_aside(folder / "data") as stream:
        stream.write(args.data + "\n")
    if has_finished(folder / "train.log"):
        print(f"{folder}: trained already", file=sys.stderr)
        return
    _supervise(args.command, folder / "terminal.log")


def generate(args):
    """Translate the test set into generate-test.txt of a run folder, unless it is there."""
    target = Path(args.folder, "generate-test.txt")
    if target.exists():
        print(f"{target}: there already", file=sys.stderr)
        return
    log = target.with_name("generate.log")
    with write_aside(target) as stream, open(log, "w", encoding="utf-8") as errors:
        _check_result(subprocess.run(args.command, stdout=stream, stderr=errors).returncode, args.command, log)


def main(argv=None):
    """Run one of the subcommands; returns the exit code, 2 for bad input and 1 where a command of fairseq failed."""
    args = _parser().parse_args(argv)
    try:
        args.function(args)
    except UserError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return 130 if error.returncode in (130, -2) else 1
    except OSError as error:
        print(f"quickstart: {error.filename or error}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    subparsers = parser.add_subparsers(required=True)
    sub = subparsers.add_parser("check", help=check.__doc__, allow_abbrev=False)
    sub.add_argument("--device", default="auto")
    sub.add_argument("criterions", nargs="+")
    sub.set_defaults(function=check)
    sub = subparsers.add_parser("cores", help=cores.__doc__, allow_abbrev=False)
    sub.add_argument("--device", default="auto")
    sub.set_defaults(function=cores)
    for function in (train, generate):
        sub = subparsers.add_parser(function.__name__, help=function.__doc__, allow_abbrev=False)
        if function is train:
            sub.add_argument("--data", required=True, help="the prepared corpus, relative to the run folder")
            sub.add_argument("--half-on-cpu", action="store_true", help="add --bf16 on a CPU that is faster with it")
        sub.add_argument("folder")
        sub.add_argument("command", nargs=argparse.REMAINDER)
        sub.set_defaults(function=function)
    return parser


def _record(path, command):
    """Keep the command beside its results; a folder that another command began is refused, not mixed."""
    if path.exists():
        with contextlib.suppress(json.JSONDecodeError):
            if json.loads(path.read_text(encoding="utf-8")) == command:
                return
        raise UserError(f"{path}: this run was begun with other options: move its folder away or choose another --out")
    with write_aside(path) as stream:
        json.dump(command, stream, indent=0)


def has_finished(log):
    """Whether a log of fairseq-train ends as that of a finished training."""
    if not log.exists():
        return False
    with open(log, "rb") as stream:
        stream.seek(max(0, os.path.getsize(log) - 200))
        return stream.read().rstrip().rpartition(b"\n")[2].startswith(FINISHED.encode())


def _supervise(command, log):
    """Run fairseq-train with its output in a file; on standard error one line for each of its progress reports."""

    def report(_process, kind, values):
        if kind in ("train_inner", "valid"):
            print(f"{Path(log).parent.name}: {_progress(kind, values)}", file=sys.stderr, flush=True)

    # close_fds=False: the child holds the quickstart's lock as long as it trains, whatever becomes of this process
    _check_result(follow(command, log, report, close_fds=False), command, log)


def follow(command, log, report, begun=lambda process: None, **options):
    """Run a command with its output in a file; returns the exit code.

    begun(process) is called at once, report(process, kind, values) for each progress report of fairseq-train
    (train_log.parse_line).
    """
    from ..records.train_log import parse_line

    with (
        open(log, "a", encoding="utf-8") as stream,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **options,
        ) as process,
    ):
        begun(process)
        for line in process.stdout:
            stream.write(line)
            stream.flush()
            progress = parse_line(line)
            if progress:
                report(process, *progress)
    return process.returncode


def _progress(kind, values):
    name = "training" if kind == "train_inner" else "  valid "
    shown = [f"{name} update {values['num_updates'] or 0:6.0f}"]
    for key, layout in (("loss", "loss {:6.3f}"), ("nll_loss", "nll_loss {:6.3f} bits"), ("ups", "{:.1f} updates/s")):
        if values.get(key) is not None:
            shown.append(layout.format(values[key]))
    return "  ".join(shown)


def _check_result(returncode, command, log):
    if returncode == 0:
        return
    if returncode not in (130, -2):  # interrupted by the user, who needs no explanation
        last = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        print("\n".join(last), file=sys.stderr)
        print(
            f"quickstart: {command[0]} ended with exit code {returncode}: all of its output is in {log}",
            file=sys.stderr,
        )
    raise subprocess.CalledProcessError(returncode, command)


if __name__ == "__main__":
    sys.exit(main())
