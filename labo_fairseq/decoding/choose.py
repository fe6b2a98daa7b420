"""Which calibrator belongs to which checkpoint, and what a foreign calibration file leads to."""

import logging
import math
import os
import re
from pathlib import Path
from typing import Any

from ..calibration.file import dictionary_record, load
from ..errors import UserError
from ..files import sha256
from ..functional.calibrators import Temperature

logger = logging.getLogger(__name__)

_DIRECTION = re.compile(r"\w+-\w+=")


def calibration_of(setting: str, direction: str | None) -> Any:
    """(file name, Calibration) that `--calibration SETTING` names for a direction such as "de-en", or (None, None).

    setting: None, FILE, or FILE per direction: "de-en=FILE,fr-en=FILE2"; a direction that is not named has none
    """
    file = file_of(setting, direction)
    return (None, None) if file is None else (file, load(file))


def file_of(setting: str, direction: str | None) -> Any:
    """The file name alone, or None; see `calibration_of`."""
    if not setting or not _DIRECTION.match(setting):
        return setting or None
    files = {}
    for part in setting.split(","):
        if not _DIRECTION.match(part):
            raise UserError(f"--calibration: {part}: must read DIRECTION=FILE, such as de-en=calibration.json")
        name, _, file = part.partition("=")
        files[name] = file
    if direction not in files:
        logger.warning("--calibration names no file for %s: it is decoded without a calibrator", direction)
    return files.get(str(direction))


def calibrators(calibration: Any, file: str | Path, paths: list, dictionary: Any, strict: bool = True) -> list:
    """The calibrator of each checkpoint, None for one at T = 1, which is the model itself.

    paths: of the checkpoints, in the order of the ensemble; None where there are none yet (training)
    dictionary: the target dictionary

    Members are matched by the hash of the checkpoint's bytes, whatever its name or place. Raises UserError where
    checkpoints or dictionary are not those that the calibration was fitted to; without `strict` that is a warning, and
    members are then matched by their place.
    """
    report = _refuse if strict else logger.warning
    if calibration.dictionary != dictionary_record(dictionary):
        report(_mismatch(file, "was fitted with another dictionary than the data's"))
        if calibration.dictionary["types"] != len(dictionary):
            _refuse(f"{file}: is for {calibration.dictionary['types']} types, the dictionary has {len(dictionary)}")
    foreign = None
    if paths is None:
        report(_mismatch(file, "belongs to a checkpoint, and a model in training is another one after each update"))
    else:
        foreign = _by_hash(calibration, paths, lambda path: report(_mismatch(file, f"was not fitted to {path}")))
    if foreign is None:
        foreign = _by_place(calibration, file, 1 if paths is None else len(paths))
    return [None if calibrator == Temperature(1.0) else calibrator for calibrator in foreign]


def weights_of(setting: str, members: Any) -> list[float]:
    """The weights of `--ensemble-weights`, times the number of members, so that 1.0 stands for the plain average.

    setting: None or numbers with commas, above 0; they are divided by their sum
    """
    if not setting:
        return [1.0] * members
    try:
        weights = [float(part) for part in setting.split(",")]
    except ValueError:
        raise UserError(f"--ensemble-weights: {setting}: must be numbers with commas, such as 0.7,0.3") from None
    if len(weights) != members:
        raise UserError(f"--ensemble-weights: {setting}: {len(weights)} weights for {members} checkpoints of --path")
    if not all(weight > 0 and math.isfinite(weight) for weight in weights):
        raise UserError(f"--ensemble-weights: {setting}: each must be above 0: leave a checkpoint out instead")
    return [weight / sum(weights) * members for weight in weights]


def _by_hash(calibration, paths, missing):
    """The calibrators of these checkpoints; None, and `missing(path)` called, where one is not in the file."""
    fitted = {member.sha256: member.calibrator for member in calibration.members}
    for path in paths:
        if not os.path.isfile(path):
            raise UserError(f"{path}: no such file: --path needs checkpoints, separated by '{os.pathsep}'")
    digests = [sha256(path) for path in paths]
    unknown = [path for path, digest in zip(paths, digests, strict=True) if digest not in fitted]
    if unknown:
        missing(unknown[0])
        return None
    return [fitted[digest] for digest in digests]


def _by_place(calibration, file, count):
    if len(calibration.members) != count:
        _refuse(f"{file}: holds {len(calibration.members)} calibrators for {count} checkpoints: fit it to these ones")
    return [member.calibrator for member in calibration.members]


def _mismatch(file, reason):
    return f"{file}: {reason}: fit it anew with `labo calibrate` (--calibration-mismatch warn takes it nevertheless)"


def _refuse(message):
    raise UserError(message)
