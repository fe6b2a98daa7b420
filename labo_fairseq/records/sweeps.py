"""What decoding was tried: the sweeps of `labo calibrate --sweep` and the tuning of `labo experiment`."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import UserError
from .text import read_text, split_lines

# file: columns that are numbers and must be there
SWEEPS = {"temperatures.tsv": ("T", "BLEU", "ece", "nll"), "beams.tsv": ("beam", "BLEU", "length_ratio")}


def read_sweep(path: str | os.PathLike) -> list[dict[str, Any]] | None:
    """Rows of temperatures.tsv or beams.tsv, numbers as float; None where there is no such file. Raises UserError."""
    path = Path(path)
    if not path.exists():
        return None
    heading, *lines = [line for line in split_lines(read_text(path)) if line and not line.startswith("#")] or [""]
    names, numbers = heading.split("\t"), SWEEPS[path.name]
    again = "sweep again: labo calibrate --sweep"
    if not set(numbers) <= set(names):
        raise UserError(f"{path}: columns {', '.join(names)}: expected {', '.join(numbers)} among them: {again}")
    rows = []
    for line in lines:
        cells = line.split("\t")
        try:
            row = dict(zip(names, cells, strict=True))
            rows.append({**row, **{name: float(row[name]) for name in numbers}})
            if path.name == "beams.tsv":
                rows[-1]["beam"] = int(row["beam"])
        except ValueError:
            raise UserError(f"{path}: {line[:60]!r}: not {len(names)} columns as in the heading: {again}") from None
    return rows or None


def read_tuning(folder: str | os.PathLike) -> list[dict[str, Any]] | None:
    """[{"calibrate", "lenpen", "bleu", "chosen"}] of an experiment's tuning.json; None where there is none."""
    content = _json(Path(folder, "tuning.json"))
    try:
        chosen, rows = content["chosen"], content["all"]
        keys = ("calibrate", "lenpen", "bleu")
        picked = [{key: row[key] for key in keys} for row in rows]
        return [{**row, "chosen": all(row[key] == chosen[key] for key in keys)} for row in picked] or None
    except (KeyError, TypeError):
        return None


def read_measures(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """{set of tokens: its measures} of a calibration.json, of all tokens together; {} where there is none."""
    content = _json(Path(folder, "calibration.json"))
    measures = content.get("measures") if isinstance(content, dict) else None
    if not isinstance(measures, dict):
        return {}
    return {when: groups["all"] for when, groups in measures.items() if isinstance(groups, dict) and "all" in groups}


def _json(path):
    """The content of a JSON file; None where there is none."""
    if not path.exists():
        return None
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: no JSON of ours: write it again") from error
