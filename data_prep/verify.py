"""`labo prepare --verify DIR`: are the files of a prepared folder those of its manifest?"""

import json
from pathlib import Path

from ..errors import UserError
from .pipeline import FINISHED, is_as_recorded
from .text import progress


def verify(folder):
    """Print one row per file, its name, lines, SHA-256 and state, as TSV; raise UserError if one is not as recorded."""
    path = Path(folder) / FINISHED
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        expected = [(name, entry.get("lines", ""), entry["sha256"]) for name, entry in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a manifest of labo prepare") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: --verify takes a folder that labo prepare has finished") from error
    faulty = []
    print("file", "lines", "sha256", "state", sep="\t")
    for name, lines, digest in progress(expected, "verify", "files"):
        here = path.parent / name
        state = "ok" if is_as_recorded(here, files[name]) else "changed" if here.exists() else "missing"
        if state != "ok":
            faulty.append(f"{name} is {state}")
        print(name, lines, digest, state, sep="\t")
    if faulty:
        raise UserError(
            f"{folder}: {len(faulty)} of {len(expected)} files are not those of the manifest ({faulty[0]}): "
            "run the command that made the folder again, it makes them anew"
        )
