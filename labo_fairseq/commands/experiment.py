"""Train, decode, score and compare methods × seeds × directions, as one file says.

  labo experiment run scripts/experiments/multi30k.yaml --profile small --raw-dir DIR --dry-run
  labo experiment run scripts/experiments/multi30k.yaml --profile full --raw-dir DIR --gpus 0,1 --jobs 8
  labo experiment status scripts/experiments/multi30k.yaml --profile full

For every cell: fairseq-train, labo average, labo calibrate, decode settings tuned on validation data, fairseq-generate,
labo splits; of images fairseq-train, labo calibrate, labo classify-report. Run the same command again after a
crash: finished cells are skipped, a broken one goes on from its last checkpoint, a diverged one stays as it is (remove
its folder to try again). docs/experiments.md explains the file.

On a CPU as many cells run at a time as there are cores, with one thread each; --jobs N divides the cores among N cells.

The table goes to standard output as TSV and, with splits, runs, plots and the report, to OUT/DIRECTION/.
Exit code 1: some cells failed or diverged; the table says which.
"""

import shlex
import sys
from pathlib import Path

from ..errors import UserError
from ..experiment import cells, precision, spec

COMMANDS = ("run", "status")


def add_arguments(parser):
    """Declare the arguments of `labo experiment`."""
    parser.add_argument(
        "command", choices=COMMANDS, help="run: train and decode what is missing; status: show how far each cell is"
    )
    parser.add_argument("file", metavar="FILE.yaml", help="the experiment file")
    parser.add_argument("--profile", metavar="NAME", help="apply this profile of the file")
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: runs/NAME or runs/NAME.PROFILE)")
    parser.add_argument(
        "--raw-dir", metavar="DIR", help="folder of the raw text, passed to `labo prepare`, or of the images"
    )
    parser.add_argument("--gpus", metavar="0,1,…", help="CUDA devices to train on (default: the CPU)")
    parser.add_argument(
        "--jobs",
        default="auto",
        metavar="N",
        help="number of cells to run at a time; auto: one for each GPU, or for each CPU core",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the file and print all commands, but run none")
    parser.add_argument(
        "--no-report", action="store_true", help="do not write the HTML report (which needs matplotlib)"
    )


def run(args):
    """Run or show; returns 0, or 1 where cells failed. Raises UserError on bad input."""
    experiment = spec.read(args.file, args.profile)
    out = args.out or "runs/" + ".".join(spec.slug(part) for part in (experiment.name, args.profile) if part)
    gpus = _gpus(args.gpus)
    jobs = _jobs(args.jobs)
    if args.command == "status":
        return _status(experiment, out)
    from ..experiment import check, schedule, table

    check.check_teachers(experiment, out)
    check.check_commands(experiment, check.representatives(experiment))
    if args.dry_run:
        _print_commands(experiment, not gpus, args.raw_dir, out)
        return 0
    check.check_gpus(gpus)
    _tell_shares(experiment, jobs, gpus)
    try:
        cells_and_states = list(schedule.run(experiment, out, gpus, jobs, args.raw_dir).values())
        tables = table.write_tables(experiment, cells_and_states, out, report=not args.no_report)
    except OSError as error:
        raise UserError(
            f"--out: {error.filename or out}: {error.strerror or error}: make room, or choose another"
        ) from None
    print("\n\n".join(one.as_tsv() for one in tables))
    print(f"tables and report: {out}", file=sys.stderr)
    return int(any(status["state"] != "done" for _, status in cells_and_states))


def _status(experiment, out):
    from ..experiment import schedule, table

    if not Path(out).is_dir():
        raise UserError(f"--out: {out}: no such folder: the experiment has not begun there")
    print(table.table_of_status(schedule.states(experiment, out)).as_tsv())
    return 0


def _tell_shares(experiment, jobs, gpus):
    """Say how many cells run at a time, with how many threads, and in what precision."""
    from ..experiment import schedule

    at_a_time, threads = schedule.share_cores(jobs, len(cells.first_cells(experiment)), gpus)
    cores = schedule.available_cores()
    words = [f"{at_a_time} cells at a time" if at_a_time > 1 else "one cell at a time"]
    words.append(f"{threads} of {cores} CPU cores each" if cores > 1 else "on one CPU core")
    if experiment.precision:
        words.append("precision {}: {}".format(*precision.chosen(experiment.precision, not gpus)))
    print(f"labo experiment: {'; '.join(words)}", file=sys.stderr)


def _jobs(text):
    """The number after --jobs; None for auto."""
    if text == "auto":
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise UserError(f"--jobs: {text[:40]}: must be 1 or more, or auto")
    return number


def _gpus(text):
    if text is None:
        return ()
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--gpus: {text}: must be different numbers of devices such as 0,1")
    return tuple(int(part) for part in parts)


def _print_commands(experiment, cpu, raw_dir, out):
    """Every command of every cell, for a shell. What validation data will choose is said in a comment."""
    decode = experiment.decode
    print(shlex.join(["mkdir", "-p", str(out)]), "&&", shlex.join(["cd", str(out)]))
    for directions in experiment.trainings:
        command = cells.prepare(experiment, directions, raw_dir)
        if command:
            print(cells.shown(command))
    if experiment.precision:
        print("# precision {}: {}".format(*precision.chosen(experiment.precision, cpu)))
    for cell in cells.first_cells(experiment):
        precision.settle(cell, None, cpu)
        print(f"\n# {cell.name}")
        print(shlex.join(["mkdir", "-p", cell.name]))  # fairseq opens --log-file before it makes a folder
        print(cells.shown(cell.train(cpu)))
        if "average" in decode.checkpoints:
            print(cells.shown(cell.average()))
        for part in cell.all_parts:
            _print_decoding(part, decode, cpu)
    for method in experiment.methods:
        if method.grid and len(experiment.seeds) > 1:
            seeds, score = ", ".join(map(str, experiment.seeds[1:])), experiment.measure
            print(f"\n# {method.name}: seeds {seeds} follow with the grid's point of the highest {score} on valid")


def _print_step(command, output=None):
    """A command, and before it the folder that a redirection needs."""
    if output:
        print(shlex.join(["mkdir", "-p", str(Path(output).parent)]))
    print(cells.shown(command, output))


def _print_decoding(part, decode, cpu):
    if part.cell.experiment.images:
        _print_step(part.calibrate_images(cpu))
        _print_step(part.classify(cpu), part.result)
        return
    _print_curve(part, decode, cpu)
    settings = part.cell.settings()
    for kind in decode.calibrate:
        if kind != "none":
            _print_step(part.calibrate(kind, cpu))
    for kind, lenpen in settings:
        _print_step(part.generate("valid", kind, lenpen, cpu), f"{part.name}/valid/{kind}.lenpen{lenpen}.txt")
    if len(settings) > 1:
        print("# with the setting of the highest BLEU on valid in place of this one:")
    _print_step(part.generate("test", *settings[0], cpu), f"{part.name}/generate-test.txt")
    if decode.ece:
        _print_step(part.measure(cpu))
    if decode.sweep:
        _print_step(part.sweep(cpu))
    for subset, size in decode.splits:
        _print_step(part.splits(subset, size, False), f"{part.name}/splits-{subset}.json")


def _print_curve(part, decode, cpu):
    """The scores of kept checkpoints on validation data, and the choice of the best one."""
    if part.measures_curve:
        wanted = [f"after {', '.join(map(str, decode.curve))} updates"] * bool(decode.curve)
        wanted += ["of every checkpoint that is kept"] * part.curve["all"]
        print(f"# BLEU on valid {', and '.join(wanted)}, with length penalty 1, say:")
        name = f"checkpoint_EPOCH_{decode.curve[-1]}" if decode.curve else "checkpoint1"
        path = f"{part.cell.name}/checkpoints/{name}.pt"
        _print_step(part.generate("valid", "none", 1, cpu, path), f"{part.name}/curve/{name}.txt")
    if part.kind == "best-bleu":
        print("# the checkpoint with the highest BLEU on valid in place of this one:")
        _print_step(part.link("checkpoint1.pt"))
