"""A finished or unfinished experiment on disk, as scripts/quickstart.sh leaves it.

  RUN/command.json       the arguments of fairseq-train, a JSON list
  RUN/train.log          fairseq's JSON log (--log-format json --log-file)
  RUN/generate-test.txt  output of fairseq-generate on the test set, there only when it is whole
  RUN/data               the folder that `labo prepare` wrote, absolute or relative to RUN; of a corpus of several
                         pairs of languages a second line names the one of this run, say de-en
  RUN/reliability.tsv    bins of the reliability diagram, beside the calibration.json of `labo calibrate`; optional

The references are DATA/raw/test.TARGET (detokenized, cased) and DATA/tok/test.TARGET (tokenized), the subwords of the
source DATA/bpe/test.SOURCE (of several pairs test.de-en.TARGET and so on), the dictionaries DATA/bin/dict.XX.txt.
DATA/manifest.json has the keys "source", "target", "synthetic" and "lowercased" (the model sees lower-cased text, so
both sides are scored so).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from . import predictions, run_folder
from .text import read_text, split_lines

T = TypeVar("T")  # what is read of a run

# criterion: (setting, symbol or "" where the value speaks for itself, the criterion's default); the order of display
SETTINGS = {
    "label_smoothed_cross_entropy": [("label_smoothing", "ε=", "0.0")],
    "label_smoothing": [
        ("smoothing_prior", "", "uniform"),
        ("smoothing_form", "", "torch"),
        ("label_smoothing", "α=", "0.1"),
    ],
    "labo adaptive": [("rho", "ρ=", "0.5"), ("smoothing_temperature", "τ=", "1.25")],
    "labo fixed": [("label_smoothing", "α=", "0.1"), ("smoothing_temperature", "τ=", "1.25")],
}


@dataclass(frozen=True)
class Corpus:
    """A corpus as `labo prepare` leaves it: raw/ detokenized, tok/ tokenized, bpe/ subwords, bin/ for fairseq."""

    folder: Path
    source: str | None  #: language; None in a manifest without it
    target: str
    synthetic: bool
    lowercase: bool  #: whether both sides are to be scored in lower case
    pair: str | None = None  #: say de-en, in a corpus of several pairs of languages

    def file(self, kind: str, language: str | None, part: str = "test") -> str:
        """Path of a text, say raw/test.de, of several pairs raw/test.de-en.de, as a string."""
        name = f"{part}.{self.pair}" if self.pair else part
        return str(self.folder / kind / f"{name}.{language}")

    def lines(self, kind: str, language: str | None, part: str = "test") -> list[str]:
        """Its lines. Raises UserError where it cannot be read."""
        return split_lines(read_text(self.file(kind, language, part)))

    @property
    def dictionary(self) -> str:
        """Path of the source dictionary, as a string."""
        return str(self.folder / "bin" / f"dict.{self.source}.txt")


def read_corpus(folder: str | os.PathLike) -> Corpus:
    """The Corpus that a run folder's file `data` names. Raises UserError where it or its manifest cannot be read."""
    file = Path(folder) / "data"
    data, *direction = split_lines(read_text(file).strip()) or [""]
    if not data:
        raise UserError(f"{file}: is empty: its first line names the folder of the prepared corpus")
    return corpus_at(Path(folder) / data, *direction[:1])


def corpus_at(data: str | os.PathLike, direction: str | None = None) -> Corpus:
    """The Corpus in a folder that `labo prepare` wrote; of several pairs of languages that of one, such as "de-en".

    Raises UserError where the manifest cannot be read or has no such direction.
    """
    data = Path(data)
    manifest = _json(data / "manifest.json")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("target"), str):
        raise UserError(f"{data / 'manifest.json'}: has no 'target': prepare the corpus again")
    if not isinstance(manifest.get("source"), str | None):
        raise UserError(f"{data / 'manifest.json'}: 'source' is no language: prepare the corpus again")
    source, target, pair = _languages(manifest, direction, data / "manifest.json")
    corpus = Corpus(data, source, target, bool(manifest.get("synthetic")), bool(manifest.get("lowercased")), pair)
    if manifest.get("lowercased") is not None:
        return corpus
    # a model of lower-cased text cannot be scored cased; a manifest without the key leaves it to the tokens
    return replace(corpus, lowercase=all(line == line.lower() for line in corpus.lines("tok", target)))


def _languages(manifest, direction, file):
    """(source, target, name of the pair or None); the languages of a manifest may be several, as in "de,fr"."""
    source, target = manifest.get("source"), manifest["target"]
    if "," not in f"{source}{target}":
        return source, target, None
    pairs = {f"{one}-{other}": (one, other) for one in (source or "").split(",") for other in target.split(",")}
    if direction not in pairs:
        raise UserError(f"{file}: is of {', '.join(pairs)}: name one of them in the second line of the run's file data")
    return *pairs[direction], direction


def read_settings(folder: str | os.PathLike) -> dict[str, str]:
    """{flag: value} of the command that made a run folder; {} where it is not recorded."""
    path = Path(folder, "command.json")
    return settings_of(_command(path)) if path.exists() else {}


def settings_of(arguments: Sequence[str]) -> dict[str, str]:
    """{name: value} of a command's flags: `--label-smoothing 0.1` and `--label-smoothing=0.1`, the last one counts."""
    settings = {}
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        if argument.startswith("--"):
            flag, equals, value = argument.partition("=")
            settings[flag[2:].replace("-", "_")] = value if equals else "" if following.startswith("--") else following
    return settings


def method_name(settings: Mapping[str, str]) -> str:
    """The criterion with its settings, say `labo adaptive ρ=0.5 τ=1.25`, from flags or from fairseq's configuration."""
    name = settings.get("criterion") or settings.get("_name")
    if not name:
        return "?"
    if name == "labo":
        name = f"labo {settings.get('smoothing_mass', 'adaptive')}"
    shown = [f"{symbol}{settings.get(key, default)}" for key, symbol, default in SETTINGS.get(name, [])]
    if settings.get("rdrop_weight", "0") not in ("0", "0.0"):
        shown.append(f"R-Drop={settings['rdrop_weight']}")
    return " ".join([name, *shown])


def _command(path):
    arguments = _json(path)
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise UserError(f"{path}: is no list of strings: it should hold the arguments of fairseq-train")
    return arguments


def _json(path):
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg}): write it again") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, as many brackets
        raise UserError(f"{path}: no JSON of ours ({str(error).partition(';')[0]}): write it again") from error


# flags that say where things lie and which seed it is; two runs that differ in these alone are seeds of one system
NO_METHOD = ("seed", "save_dir", "log_file", "tensorboard_logdir", "wandb_project", "restore_file", "user_dir")


def named_folders(arguments: Sequence[str], of_any_kind: bool = False) -> dict[str, Path]:
    """{name: folder}; folders of one name get their parents' names too. Raises UserError.

    of_any_kind: whether their files may have other names than scripts/quickstart.sh gives.
    """
    folders = [Path(argument) for argument in arguments]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: give the folder of a training run")
        measured = predictions.path_beside(predictions.checkpoint_of(folder), "test").exists()
        known = any((folder / name).exists() for name in ("train.log", "generate-test.txt"))
        if not (measured or of_any_kind or known):
            raise UserError(f"{folder}: has no train.log and no generate-test.txt: give the folder of a training run")
    resolved = [folder.resolve() for folder in folders]
    for i, path in enumerate(resolved):
        if path in resolved[:i]:
            raise UserError(f"{folders[i]}: a run is given twice: give each once")
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    names = ["/".join(path.parts[-depth:]) for path in resolved]
    return dict(zip(names, folders, strict=True))


def seeds_together(read: Mapping[str, T], folders: Mapping[str, Path]) -> dict[str, list[T]]:
    """{name: [value, …]} of {name: value}: training seeds of one system together, under the name of the first.

    folders: {name: run folder}, whose commands say what is one system.
    """
    groups: dict = {}
    of_method: dict = {}
    for name, system in read.items():
        settings = run_folder.read_settings(folders[name])
        method = {flag: value for flag, value in settings.items() if flag not in NO_METHOD}
        if "teacher_path" in method:  # each seed may have a teacher of its own seed
            method["teacher_path"] = str(method["teacher_path"]).replace(f"/seed{settings.get('seed')}/", "/seed/")
        # a run whose command is not known is a system of its own
        first = of_method.setdefault(tuple(sorted(method.items())) or name, name)
        groups.setdefault(first, []).append(system)
    return groups
