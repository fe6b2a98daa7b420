"""calibration.json: the fitted calibrators of a model or an ensemble, and what they were fitted to.

A calibration belongs to its checkpoints and its dictionary: `check` refuses others. Layout (version 1):

  format, version, labo_fairseq   "labo-calibration", 1, the version that wrote it
  signature                       of the measures, such as "ece|bins:15|unit:bpe|T:1.37|n:13842"
  corpus                          {"data", "split", "source_lang", "target_lang", "sentences", "tokens"}
  dictionary                      {"sha256": of the target symbols or class names in order, "types": V}
  members                         per checkpoint {"checkpoint": name, "sha256": of its bytes, "calibrator": {"kind", …}}
  measures                        {"before": {…}, "after": {…}, …}, as `labo calibrate` reports them
  sentence_confidence             {…} or null: see decoding/sentence_confidence.py
  decoding                        only after `labo calibrate --tune-decoding`: {"lenpen", "temperature", "eos_bias",
                                  "search": {"beam", …}, "measures": {…}}, see Decoding
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..files import write_aside
from ..functional.calibrators import MOST, Adaptive, Grouped, Temperature

FORMAT, VERSION = "labo-calibration", 1


@dataclass(frozen=True)
class Member:
    """One checkpoint and its calibrator (functional/calibrators.py)."""

    checkpoint: str  #: file name without folder
    sha256: str  #: of the checkpoint's bytes
    calibrator: object


@dataclass(frozen=True)
class Decoding:
    """Settings of beam search that were tuned to a score on validation data."""

    lenpen: float = 1.0  #: fairseq's --lenpen
    temperature: float = 1.0  #: of the search, besides the calibrators' own
    eos_bias: float = 0.0  #: nats, added to the logit of EOS after the temperatures
    search: dict = field(default_factory=dict)  #: {"beam", "max_len_a", "max_len_b"} that they were tuned with
    measures: dict = field(default_factory=dict)  #: on what data, and how it scored

    def __str__(self):
        return f"length penalty {self.lenpen:g}, temperature {self.temperature:g}, EOS bias {self.eos_bias:g}"


@dataclass(frozen=True)
class Calibration:
    """The content of a calibration file."""

    members: list
    dictionary: dict
    corpus: dict
    signature: str = ""
    measures: dict = field(default_factory=dict)
    sentence_confidence: dict | None = None
    decoding: Decoding | None = None


def dictionary_record(dictionary: Any) -> dict:
    """{"sha256", "types"} of a fairseq dictionary: of its symbols in order, whatever their counts and padding."""
    return classes_record(dictionary.symbols[: len(dictionary)])


def classes_record(names: list[str]) -> dict:
    """{"sha256", "types"} of the names of the classes of images, in order."""
    digest = hashlib.sha256("\n".join(names).encode())
    return {"sha256": digest.hexdigest(), "types": len(names)}


def save(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration file; it appears whole or not at all."""
    from .. import __version__

    content = {
        "format": FORMAT,
        "version": VERSION,
        "labo_fairseq": __version__,
        "signature": calibration.signature,
        "corpus": calibration.corpus,
        "dictionary": calibration.dictionary,
        "members": [
            {"checkpoint": m.checkpoint, "sha256": m.sha256, "calibrator": _to_json(m.calibrator)}
            for m in calibration.members
        ],
        "measures": calibration.measures,
        "sentence_confidence": calibration.sentence_confidence,
    }
    if calibration.decoding is not None:
        content["decoding"] = dataclasses.asdict(calibration.decoding)
    with write_aside(path) as stream:
        json.dump(content, stream, indent=1, allow_nan=False)
        stream.write("\n")


def load(path: str | Path) -> Calibration:
    """Read a calibration file. Raises UserError on a broken or foreign one, naming what is wrong with it."""
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream, parse_int=_whole, parse_float=_float, parse_constant=_float)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name a file that `labo calibrate` wrote") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a calibration file ({error}): name one that `labo calibrate` wrote") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a calibration file: name one that `labo calibrate` wrote")
    if content.get("version") != VERSION:
        version = f"version {content.get('version')!r:.50}"
        raise UserError(f"{path}: {version}: this package reads version {VERSION}: fit it anew")
    try:
        return _calibration(content)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # torch's own are RuntimeErrors
        reason = " ".join(repr(error).split())
        raise UserError(f"{path}: broken calibration file ({reason:.200}): fit it anew") from None


def _calibration(content):
    dictionary = _of(dict, content["dictionary"])
    types = _of(int, dictionary["types"])
    _of(str, dictionary["sha256"])
    if content["sentence_confidence"] is not None:
        _of(dict, content["sentence_confidence"])
    members = [_member(_of(dict, record), types) for record in _of(list, content["members"])]
    if not members:
        raise ValueError("no members")
    return Calibration(
        members=members,
        dictionary=dictionary,
        corpus=_of(dict, content["corpus"]),
        signature=_of(str, content["signature"]),
        measures=_of(dict, content["measures"]),
        sentence_confidence=content["sentence_confidence"],
        decoding=_decoding(content["decoding"]) if "decoding" in content else None,
    )


def _decoding(record):
    settings = _of(dict, record)
    search = _of(dict, settings["search"])
    if _of(int, search["beam"]) < 1:
        raise ValueError(f"beam {search['beam']} is below 1")
    for limit in ("max_len_a", "max_len_b"):
        _number(search[limit])
    return Decoding(
        _number(settings["lenpen"]),
        _positive(settings["temperature"]),
        _number(settings["eos_bias"]),
        search,
        _of(dict, settings["measures"]),
    )


def _member(record, types):
    return Member(_of(str, record["checkpoint"]), _of(str, record["sha256"]), _from_json(record["calibrator"], types))


def _to_json(calibrator):
    if isinstance(calibrator, Temperature):
        return {"kind": "temperature", "temperature": calibrator.temperature}
    if isinstance(calibrator, Grouped):
        return {
            "kind": "grouped",
            "temperatures": calibrator.temperatures.tolist(),
            "eos": calibrator.eos,
            "eos_bias": calibrator.eos_bias,
            "groups": calibrator.groups.tolist(),
        }
    return {
        "kind": "adaptive",
        "features": list(Adaptive.FEATURES),
        "weights": calibrator.weights.tolist(),
        "eos": calibrator.eos,
        "eos_bias": calibrator.eos_bias,
    }


def _from_json(record, types):
    kind = _of(dict, record)["kind"]
    if kind == "temperature":
        return Temperature(_positive(record["temperature"]))
    if kind == "grouped":
        temperatures = torch.tensor([_positive(t) for t in _of(list, record["temperatures"])], dtype=torch.float32)
        groups = torch.tensor([_of(int, group) for group in _of(list, record["groups"])], dtype=torch.int64)
        if len(groups) != types or not types or groups.min() < 0 or groups.max() >= len(temperatures):
            raise ValueError("groups do not fit the dictionary and the temperatures")
        return Grouped(temperatures, groups, _type(record["eos"], types), _number(record["eos_bias"]))
    if kind == "adaptive":
        if record["features"] != list(Adaptive.FEATURES) or len(_of(list, record["weights"])) != len(Adaptive.FEATURES):
            raise ValueError("features that this version does not compute")
        weights = torch.tensor([_number(weight) for weight in record["weights"]], dtype=torch.float32)
        eos = None if record["eos"] is None else _type(record["eos"], types)
        return Adaptive(weights, eos, _number(record["eos_bias"]))
    raise ValueError(f"unknown calibrator {kind!r}")


def _whole(text):
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text:.20}... is not a number of 64 bits")
    return number


def _float(text):
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is not finite")
    return number


def _of(kind, value):
    # in Python a bool is an int
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.50} is no {getattr(kind, '__name__', 'number')}")
    return value


def _type(index, types):
    if not 0 <= _of(int, index) < types:
        raise ValueError(f"type {index} is not in the dictionary")
    return index


def _number(value):
    if not abs(_of(int | float, value)) <= MOST:
        raise ValueError(f"{value} is beyond ±{MOST:g}")
    return float(value)


def _positive(value):
    if not _number(value) > 0:
        raise ValueError(f"temperature {value} is not above 0")
    if value < 1 / MOST:
        raise ValueError(f"temperature {value} is below {1 / MOST:g}")
    return float(value)
