"""What can be known before hours of training: does fairseq know the flags, do the criterions accept their values."""

import contextlib
import graphlib
import io
import logging
import re
import warnings
from pathlib import Path

from ..errors import UserError
from .cells import Cell, first_cells


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
            _check(experiment, key, CRITERION_REGISTRY[name], _parsed(experiment, key, cell, options))
    finally:
        logging.disable(known)


def check_teachers(experiment):
    """Raise UserError where cells of the experiment teach each other in a circle, so that none could begin."""
    cells = {cell.name: cell for cell in first_cells(experiment)}
    taught_by = {name: {teacher for teacher in cell.teachers if teacher in cells} for name, cell in cells.items()}
    for cell in cells.values():
        if cell.name in {Path(path).parent.parent.as_posix() for path in cell.teacher_paths}:
            experiment.fail(f"methods.{cell.method.name}.teacher-path", "names its own checkpoint: name another")
    try:
        graphlib.TopologicalSorter(taught_by).prepare()
    except graphlib.CycleError as error:
        methods = list(dict.fromkeys(cells[name].method.name for name in error.args[1]))
        experiment.fail(
            f"methods.{methods[0]}.teacher-path", f"{' and '.join(methods)} teach each other: one must have no teacher"
        )


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
        reason = re.sub(r"^\S+: error: ", "", message)
        experiment.fail(key, f"{reason}: correct `{key}` or `train`")


def _check(experiment, key, criterion, args):
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    check = getattr(criterion, "check", None)  # of this package's criterions; they use nothing but the settings
    if check is None:
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # hydra's, about fairseq
            check(None, convert_namespace_to_omegaconf(args).criterion)
    except UserError as error:
        experiment.fail(key, str(error))
