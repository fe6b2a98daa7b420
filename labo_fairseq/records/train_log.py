"""Reads the log of `fairseq-train`, also of a run that was killed and resumed.

`--log-format json` writes a point every --log-interval updates; of the other formats (`simple`, and what a bar leaves
in a file) there are at least the lines at the ends of the epochs.

Losses are in bits (base 2) per token, as fairseq logs them. What the file looks like, and what survives a restart:

- A resumed run appends. After a kill it starts again from its last checkpoint, so updates come twice; here the later
  account counts, and what the killed process did after that checkpoint is dropped, its seconds too.
- fairseq adds one more log handler each epoch: in epoch k every line stands k times in the file.
- `train_wall` counts the seconds inside training steps (no validation, no saving, no waiting for data), rounded to
  whole seconds, since the last line of its kind. A checkpoint inside an epoch keeps that sum, one at the end of an
  epoch does not: after it the first train_inner line misses the updates since the line before. The sums per epoch
  have no such gap, so the seconds and the speed here come from those. (`wall` is 0 after every restart.)
"""

import ast
import json
import math
import os
import re
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from .text import read_text, split_lines

# 2024-05-01 10:00:00 | INFO | valid | epoch 003 | valid on 'valid' subset | loss 5.2 | … | num_updates 600
_PLAIN = re.compile(r"\| INFO \| ([\w.]+) \| epoch (\d+)(?=[ :])(.*)")
FINISHED = "done training"  # begins what fairseq logs last
# order in which lines of one update are written
_RANK = {"train_inner": 0, "valid": 1, "train": 2}


@dataclass(frozen=True)
class TrainPoint:
    """Means over the updates since the last such point (`--log-interval`); None for what the criterion does not log."""

    update: int
    loss: float | None  #: of the criterion, bits
    nll_loss: float | None  #: negative log-likelihood, bits
    ups: float | None  #: updates per second of wall time, with validation and saving
    wpb: float | None  #: target tokens per batch
    seconds: float | None  #: inside training steps


@dataclass(frozen=True)
class ValidPoint:
    """One validation of the first valid subset."""

    update: int
    loss: float | None  #: of the criterion, bits; not comparable across criterions
    nll_loss: float | None  #: negative log-likelihood, bits
    ppl: float | None  #: perplexity as fairseq printed it
    bleu: float | None  #: with --eval-bleu


@dataclass(frozen=True)
class TrainLog:
    """What a training log says about the run, restarts joined."""

    train: list[TrainPoint]  #: by update
    valid: list[ValidPoint]  #: by update
    updates: int  #: number of the last update that any line names
    timed_updates: int  #: updates of the finished epochs ...
    timed_seconds: float  #: ... and the seconds spent in their training steps
    criterion: dict[str, Any]  #: settings of the criterion as fairseq resolved them, with "_name"; empty if unknown
    max_update: int | None  #: --max-update, None if unknown or unlimited
    finished: bool  #: fairseq ended the training itself, by --max-update, --max-epoch, --patience or another limit

    @property
    def best(self) -> ValidPoint | None:
        """The ValidPoint with the lowest nll_loss, the later of equal ones as in fairseq; None if there is none."""
        points = [(point.nll_loss, point) for point in reversed(self.valid) if point.nll_loss is not None]
        finite = [(loss, point) for loss, point in points if loss < math.inf]
        return min(finite, key=lambda pair: pair[0], default=(None, None))[1]

    @property
    def updates_per_second(self) -> float | None:
        """Updates per second inside training steps, or None where the log shows less than a second of them."""
        return self.timed_updates / self.timed_seconds if self.timed_seconds else None


def read_train_log(path: str | os.PathLike) -> TrainLog:
    """The TrainLog of a file, plain or gzip. Raises UserError where it cannot be read or is no such log."""
    lines = split_lines(read_text(path).rstrip())
    config: dict = next((config_ for config_ in map(_config, reversed(lines)) if config_), {})
    history = _history(lines)
    if not history and not config:
        raise UserError(f"{path}: no line of fairseq-train's log: train with --log-format json --log-file FILE")
    train = [_train_point(update, stats) for (update, _), kind, stats in history if kind == "train_inner"]
    valid = [_valid_point(update, stats) for (update, _), kind, stats in history if kind == "valid"]
    updates = history[-1][0][0] if history else 0
    max_update = config.get("optimization", {}).get("max_update")
    max_update = max_update if isinstance(max_update, int) and max_update > 0 else None
    timed_updates, seconds = _timed(history, train)
    finished = FINISHED in lines[-1]
    return TrainLog(train, valid, updates, timed_updates, seconds, config.get("criterion", {}), max_update, finished)


def read_epochs(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Of an image classifier [{"epoch", "loss", "error", "ece", "ece_scaled", "temperature", "targets"}], by epoch.

    loss: of training, bits; error: of validation, percent; ece, ece_scaled and temperature of validation; targets:
    {name: mean} of the criterion's logged targets. What was not logged is not there. Raises UserError where the file
    cannot be read.
    """
    epochs: dict[float, dict] = {}
    for _, kind, values in _history(split_lines(read_text(path))):
        if kind == "train_inner":
            continue
        logged = {key: value for key, value in values.items() if value is not None}
        one = epochs.setdefault(logged["epoch"], {"epoch": logged["epoch"]})
        if kind == "train":
            one |= {"loss": logged["loss"]} if "loss" in logged else {}
            one["targets"] = {key: value for key, value in logged.items() if key.startswith("target_")}
        else:
            one |= {key: logged[key] for key in ("ece", "ece_scaled", "temperature") if key in logged}
            one |= {"error": 100 - logged["accuracy"]} if "accuracy" in logged else {}
    return [epochs[number] for number in sorted(epochs)]


def parse_line(line: str) -> tuple[str, dict[str, float | None]] | None:
    """(kind, values) of a JSON line, with or without a time stamp before it; None for any other line.

    The kind is "train_inner", "train" (end of an epoch) or the name of the subset; keys have lost the prefix that
    fairseq adds for the latter two, values are numbers (None for what is no number).
    """
    start = line.rfind('{"epoch": ')  # the last: a killed process may have left half a line before it
    if start < 0:
        return _parse_plain_line(line)
    try:
        raw = json.loads(line[start:])
    except (ValueError, RecursionError):  # half a line, a number of thousands of digits, as many brackets
        return None
    counter = next((key for key in raw if key.endswith("num_updates")), None)
    if counter is None:
        return None
    prefix = counter.removesuffix("num_updates")
    return prefix.rstrip("_") or "train_inner", {key.removeprefix(prefix): _number(raw[key]) for key in raw}


def _parse_plain_line(line):
    """As parse_line, of --log-format simple and of the lines that stay where a progress bar was."""
    match = _PLAIN.search(line)
    if not match:
        return None
    kind, epoch, rest = match.groups()
    found = re.findall(r"(\w+)=([^,\s]+)", rest) if kind == "train_inner" else re.findall(r"\| (\w+) (\S+)", rest)
    values = {key: _number(value) for key, value in found}
    return (kind, {"epoch": float(epoch), **values}) if "num_updates" in values else None


def _history(lines):
    """[((update, rank), kind, values)], ascending; a record makes all at or after its place void."""
    history = []
    for line in lines:
        kind, values = parse_line(line) or (None, None)
        if kind not in _RANK or not all(_is_count(values.get(name)) for name in ("num_updates", "epoch")):
            continue
        place = (int(values["num_updates"]), _RANK[kind])
        while history and history[-1][0] >= place:
            history.pop()
        history.append((place, kind, values))
    return history


def _is_count(value):
    return value is not None and 0 <= value < math.inf


def _timed(history, train):
    """(updates, seconds) of the epochs whose beginning and end the log shows; of the train_inner lines before any."""
    # an epoch that was interrupted may have two lines, the later one covers all of it
    epochs = {
        values["epoch"]: (place[0], values.get("train_wall")) for place, kind, values in history if kind == "train"
    }
    if not epochs:
        timed = [point for point in train if point.seconds is not None]
        return (timed[-1].update if timed else 0), math.fsum(point.seconds for point in timed)
    updates, seconds = 0, 0.0
    for epoch, (end, spent) in epochs.items():
        start = 0 if epoch == 1 else epochs.get(epoch - 1, (None, None))[0]
        if start is not None and spent is not None:
            updates, seconds = updates + end - start, seconds + spent
    return updates, seconds


def _train_point(update, values):
    loss, ups, wpb, seconds = map(values.get, ("loss", "ups", "wpb", "train_wall"))
    return TrainPoint(update, loss, _nll_loss(values), ups, wpb, seconds)


def _valid_point(update, values):
    loss, ppl, bleu = map(values.get, ("loss", "ppl", "bleu"))
    return ValidPoint(update, loss, _nll_loss(values), ppl, bleu)


def _nll_loss(values):
    loss, nll_loss, ppl = map(values.get, ("loss", "nll_loss", "ppl"))
    # fairseq's cross_entropy logs no nll_loss of its own: there the loss is it, and the perplexity shows that
    if nll_loss is None and None not in (loss, ppl) and ppl > 0 and abs(math.log2(ppl) - loss) < 0.01:
        return loss
    return nll_loss


def _config(line):
    """{section: settings} for the two sections used here, of the line on which fairseq prints its configuration.

    The whole line is a Python literal but for `Namespace(...)` in some sections, so each section is read by itself.
    """
    start = line.find("{'_name': None, 'common': ")
    if start < 0:
        return None
    try:
        tree = ast.parse(line[start:], mode="eval").body
        sections = {key.value: value for key, value in zip(tree.keys, tree.values, strict=True)}
        found = {name: _settings(sections[name]) for name in ("criterion", "optimization")}
    except (SyntaxError, ValueError, AttributeError, KeyError, TypeError, RecursionError, MemoryError):
        return None
    return found if isinstance(found["criterion"].get("_name"), str | None) else None


def _settings(section):
    """{name: value} of one section. A choice stands there without quotes (`'smoothing_mass': adaptive`)."""
    return {
        ast.literal_eval(key): _word(value) if isinstance(value, ast.Name | ast.BinOp) else ast.literal_eval(value)
        for key, value in zip(section.keys, section.values, strict=True)
    }


def _word(value):
    return ast.unparse(value).replace(" ", "")


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
