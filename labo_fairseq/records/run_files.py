"""Where the files of a run lie: in one folder, or wherever the user's own commands have put them.

A folder may be one of scripts/quickstart.sh (run_folder.py says what it holds) or an ordinary --save-dir. Its training
log is train.log, else the one text file that fairseq-train wrote; its translations are generate-test.txt (the name that
fairseq-generate --results-path gives), else the one text file with H- lines. Files that lie elsewhere are named one by
one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from . import predictions
from .run_folder import Corpus, corpus_at, named_folders, read_corpus, read_settings, seeds_together
from .sweeps import read_tuning
from .text import read_text

T = TypeVar("T")  # what is read of a run

_TEXTS = (".txt", ".log", ".out", ".gz")
_MOST = 200_000_000  # bytes of a file that is looked into
_TRAINED = re.compile(r'"(?:train_|valid_)?num_updates": |\| num_updates \d')
_GENERATED = re.compile(r"^H-[0-9]+\t", re.MULTILINE)
_NOT_OF_THE_TEST_SET = re.compile(r"generate-(?!test)|(?:^|[.\-_])valid")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run; None for what there is not."""

    name: str
    folder: Path | None = None  #: of the run, where it has one
    log: Path | None = None  #: of fairseq-train
    translations: Path | None = None  #: of the test set: output of fairseq-generate, or plain lines
    calibration: Path | None = None  #: folder that `labo calibrate` wrote
    data: Path | None = None  #: folder of the prepared corpus, in place of the one that the run names
    direction: str | None = None  #: of a corpus of several pairs, say de-en
    system: str | None = None  #: runs with the same one are training seeds of it; None where the commands tell
    settings: Mapping[str, str] = field(default_factory=dict)  #: {flag: value} of its training command

    @property
    def corpus(self) -> Corpus | None:
        """The prepared corpus that it was trained on; None where none is known. Raises UserError."""
        if self.data is not None:
            return corpus_at(self.data, self.direction)
        return read_corpus(self.folder) if self.folder and (self.folder / "data").is_file() else None

    @property
    def calibration_folder(self) -> Path | None:
        """Where `labo calibrate` has left its files: as given, or in the run; None where there are none."""
        if self.calibration is not None or self.folder is None:
            return self.calibration
        places = [self.folder, *(self.folder / name for name in ("calibration", "calibration/temperature", "ece"))]
        names = ("reliability.tsv", "calibration.json")
        return next((place for place in places if any((place / name).exists() for name in names)), None)

    @property
    def calibrates_translations(self) -> bool:
        """Whether that calibration may be applied to the probabilities of the translations: no search has done so."""
        if self.calibration is not None:
            return True
        tried = read_tuning(self.folder) if self.folder else None
        return tried is None or any(row["chosen"] and row["calibrate"] == "none" for row in tried)


def run_in(folder: Path, name: str | None = None) -> RunFiles:
    """The RunFiles of a folder. Raises UserError where its command.json is damaged."""
    log, translations = folder / "train.log", folder / "generate-test.txt"
    return RunFiles(
        name or folder.name or folder.resolve().name,
        folder,
        log if log.exists() else _only(folder, _TRAINED),
        translations if translations.exists() else _only(folder, _GENERATED),
        settings=read_settings(folder),
    )


def _only(folder, pattern):
    """The one text file of a folder in which a pattern is found; None where there is none, or several."""
    if not folder.is_dir():
        return None
    found = [path for path in sorted(folder.iterdir()) if path.suffix in _TEXTS and _holds(path, pattern)]
    return found[0] if len(found) == 1 else None


def _holds(path, pattern):
    if not path.is_file() or path.stat().st_size > _MOST:
        return False
    if pattern is _GENERATED and _NOT_OF_THE_TEST_SET.search(path.name):
        return False
    try:
        return pattern.search(read_text(path)) is not None
    except UserError:  # no text
        return False


def find_runs(
    folders: Sequence[str],
    translations: Mapping[str, Sequence[str]] | None = None,
    logs: Mapping[str, str] | None = None,
    calibrations: Mapping[str, str] | None = None,
    data: str | None = None,
    direction: str | None = None,
) -> dict[str, RunFiles]:
    """{name: RunFiles}: those of folders, then the further systems of {name: [file of each training seed]}.

    A name of a folder in `translations`, `logs` or `calibrations` ({name: path}) adds that file to its run. data: the
    prepared corpus of all of them, also named by its folder bin/ that fairseq-train was given. Raises UserError.
    """
    translations, logs, calibrations = dict(translations or {}), dict(logs or {}), dict(calibrations or {})
    runs = {name: run_in(folder, name) for name, folder in named_folders(folders, of_any_kind=True).items()}
    for name, files in translations.items():
        if name in runs and len(files) == 1:
            runs[name] = replace(runs[name], translations=_file(name, files[0]))
            continue
        if name in runs:
            raise UserError(f"--system: {name}: is the name of a run too: choose another")
        for seed, file in enumerate(files, 1):
            seed_name = name if seed == 1 else f"{name} ({seed})"
            runs[seed_name] = RunFiles(seed_name, translations=_file(name, file), system=name)
    for name, path in logs.items():
        runs[name] = replace(runs.get(name, RunFiles(name)), log=_existing("--log", path))
    for name, path in calibrations.items():
        if name not in runs:
            raise UserError(f"--calibration: {name}: no such system: name one of {', '.join(runs)}")
        runs[name] = replace(runs[name], calibration=_existing("--calibration", path))
    _check_something(runs)
    if data is None:
        return runs
    return {name: replace(run, data=_prepared(data), direction=direction) for name, run in runs.items()}


def _check_something(runs):
    for run in runs.values():
        measured = run.folder and predictions.path_beside(predictions.checkpoint_of(run.folder), "test").exists()
        if run.log is None and run.translations is None and not measured:
            raise UserError(
                f"{run.folder}: has no train.log and no generate-test.txt, and not just one file of either kind: give "
                f"the folder of a training run, or name its files: --system {run.name}=FILE --log {run.name}=FILE"
            )


def _existing(flag, path):
    if not Path(path).exists():
        raise UserError(f"{flag}: {path}: no such file: name what is there")
    return Path(path)


def _file(name, file):
    if not Path(file).is_file():
        raise UserError(f"--system: {name}={file}: no such file: give the output of fairseq-generate")
    return Path(file)


def _prepared(data):
    """The folder with the manifest: DIR, or the one that holds DIR/bin."""
    folder = Path(data)
    for place in (folder, folder.resolve().parent):
        if (place / "manifest.json").exists():
            return place
    raise UserError(
        f"--data: {data}: has no manifest.json: give the folder that `labo prepare` wrote (any text: `labo prepare "
        "files`), or leave it out and name --reference and --source"
    )


def groups_of(read: Mapping[str, T], runs: Mapping[str, RunFiles]) -> dict[str, list[T]]:
    """{name of a system: [value of each training seed]} of {name of a run: value}."""
    folders = {name: run.folder for name, run in runs.items() if name in read and run.folder is not None}
    groups = seeds_together({name: read[name] for name in read if name in folders}, folders)
    for name, value in read.items():
        if name not in folders:
            groups.setdefault(runs[name].system or name, []).append(value)
    return groups
