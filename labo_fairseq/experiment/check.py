"""What can be known before hours of training: does fairseq know the flags, do the criterions accept their values."""

import contextlib
import graphlib
import io
import logging
import re
import warnings
from pathlib import Path

from ..compat import literals
from ..errors import UserError
from .cells import Cell, first_cells
from .schema import MOST

# flags of fairseq-train that count something: with less than one of it a training fails late, or never ends
COUNTS = ("max_tokens", "batch_size", "max_tokens_valid", "batch_size_valid", "log_interval")


def check_commands(experiment, cells):
    """Parse every method's training command as fairseq-train will. Raises UserError naming the method."""
    known = logging.root.manager.disable
    logging.disable(logging.INFO)  # fairseq recommends packages while it is imported
    try:
        from fairseq import options
        from fairseq.criterions import CRITERION_REGISTRY

        from .. import register

        register()
        for cell in cells:
            key = f"methods.{cell.method.name}"
            name = cell.method.flags["criterion"]
            if name not in CRITERION_REGISTRY:
                choices = ", ".join(sorted(CRITERION_REGISTRY))
                experiment.fail(f"{key}.criterion", f"{name!r}: unknown: choose from {choices}")
            args = _parsed(experiment, key, cell, options)
            _check_text(experiment, cell, args)
            _check(experiment, key, CRITERION_REGISTRY[name], args)
    finally:
        logging.disable(known)


def check_teachers(experiment, out):
    """Raise UserError where cells teach each other in a circle, so that none could begin, or a teacher is nowhere.

    A teacher is a checkpoint of a cell of this experiment, or a file, whose path is relative to the folder `out`.
    """
    cells = {cell.name: cell for cell in first_cells(experiment)}
    taught_by = {name: {teacher for teacher in cell.teachers if teacher in cells} for name, cell in cells.items()}
    # of a method with a grid the other seeds' folders are not known yet: any of its points will do
    made = {(name.rpartition("/")[0], seed) for name in cells for seed in experiment.seeds}
    for cell in cells.values():
        if cell.name in {Path(path).parent.parent.as_posix() for path in cell.teacher_paths}:
            experiment.fail(f"methods.{cell.method.name}.teacher-path", "names its own checkpoint: name another")
        for path in cell.teacher_paths:
            if not _will_be(path, made) and not Path(out, path).exists():
                names = ", ".join(method.folder({}) for method in experiment.methods)
                experiment.fail(
                    f"methods.{cell.method.name}.teacher-path",
                    f"{path[:200]}: no such file, and no checkpoint of this experiment, whose methods are {names}: "
                    "train the teacher first, or correct the path",
                )
    try:
        graphlib.TopologicalSorter(taught_by).prepare()
    except graphlib.CycleError as error:
        methods = list(dict.fromkeys(cells[name].method.name for name in error.args[1]))
        experiment.fail(
            f"methods.{methods[0]}.teacher-path", f"{' and '.join(methods)} teach each other: one must have no teacher"
        )


def _will_be(path, made):
    """Whether a path is that of a checkpoint of a cell. made: {(folder of the method, seed)}."""
    folder = Path(path).parent.parent
    return (folder.parent.as_posix(), _seed_of(folder)) in made


def _seed_of(folder):
    number = folder.name.removeprefix("seed")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 12 else None


def representatives(experiment):
    """One cell of each method and grid point; flags do not depend on seed and direction."""
    directions, seed = experiment.trainings[0], experiment.seeds[0]
    return [Cell(experiment, directions, m, seed, point) for m in experiment.methods for point in m.candidates()]


def check_gpus(gpus):
    """Raises UserError where torch does not see one of the devices."""
    import torch

    count = torch.cuda.device_count()
    for gpu in gpus:
        if gpu >= count:
            seen = f"torch sees {count} CUDA devices" + (f", 0 to {count - 1}" if count else "")
            raise UserError(f"--gpus: {gpu}: {seen}: choose from those, or leave --gpus out to train on the CPU")


def _parsed(experiment, key, cell, options):
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            return options.parse_args_and_arch(options.get_training_parser(), cell.train(cpu=True)[1:])
    except SystemExit:
        message = errors.getvalue().strip().rpartition("\n")[2]
        reason = re.sub(r"^\S+: (error: )?", "", message)
        experiment.fail(key, f"{reason}: correct `{key}` or `train`")


def _check_text(experiment, cell, args):
    """Refuse text that fairseq would evaluate, and the bridge refuse, only after the training has begun."""
    for setting in literals.TEXT_SETTINGS:
        text = getattr(args, setting, None)
        if isinstance(text, str):
            flag = setting.replace("_", "-")
            part = f"methods.{cell.method.name}" if flag in cell.method.flags else "train"
            try:
                literals.evaluate(text, name=flag)
            except literals.NoLiteral as error:
                experiment.fail(part, str(error))


def _check(experiment, key, criterion, args):
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    for name in COUNTS:
        value = getattr(args, name, None)
        if value is not None and not 0 < value <= MOST:
            flag = name.replace("_", "-")
            experiment.fail(key, f"{flag}: {value} is out of range: give a whole number from 1 to {MOST}")
    check = getattr(criterion, "check", None)  # of this package's criterions; they use nothing but the settings
    if check is None:
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # hydra's, about fairseq
            check(None, convert_namespace_to_omegaconf(args).criterion)
    except UserError as error:
        experiment.fail(key, str(error))
