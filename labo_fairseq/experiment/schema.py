"""What an experiment file may hold: keys, types and ranges, checked by pydantic. spec.py says what they mean.

A file is checked strictly: no conversion between types, no unknown key. `checked` turns pydantic's account of the first
mistake into one line, `file: key: what is wrong, what to give`.
"""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..errors import UserError

MOST = 2**31 - 1
LONGEST_NAME = 100  # bytes of a folder's name: file systems take 255, of which files beside it need some
CALIBRATORS = ("none", "temperature", "grouped", "adaptive")
CHECKPOINTS = ("average", "best", "best-bleu")
METRICS = ("bleu", "chrf2", "chrf++", "ter", "tokenized")
PRECISIONS = ("auto", "float32", "bf16")
# beside the methods' folders in OUT/DIRECTION
_TAKEN = re.compile(r"report|.*\.(tsv|md|png|log|part)")


def slug(text: str) -> str:
    """A folder name of a method's name."""
    return re.sub(r"[^\w.=+-]+", "-", text.lower()).strip("-")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or value.startswith("#") or not slug(value).strip("."):
        raise ValueError("must be a printable name with a letter or digit, not beginning with '#'")
    if len(slug(value).encode()) > LONGEST_NAME:
        raise ValueError(f"is too long for a folder: give a name of at most {LONGEST_NAME} bytes")
    if _TAKEN.fullmatch(slug(value)):
        raise ValueError("is the name of a result in the folder of the methods: choose another name")
    return value


def _flag(value: str) -> str:
    if not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", value):
        raise ValueError("is no flag: write it without dashes in front, with dashes between words")
    return value


def _setting(value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError("must be one value: a number, a text, true, false or null")
    return value


def _choices(value: Any) -> Any:
    """A setting, or a list of settings to choose from."""
    return _different(value) if isinstance(value, list) else _setting(value)


def _different(values: list) -> list:
    if not all(isinstance(value, int | float | str) for value in values):
        raise ValueError("must be a list of values: numbers, texts, true or false")
    if not values:
        raise ValueError("is empty: give at least one value")
    twice = next((one for i, one in enumerate(values) if one in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{_shown(twice)} is given twice: give each once")
    return values


def _must(good: Any, wanted: str) -> Any:
    """A validator: the value, or an error that says what is wanted."""

    def check(value: Any) -> Any:
        if not good(value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _one(good: Any, wanted: str) -> Any:
    return Annotated[Any, _must(good, wanted)]


def _several(good: Any, wanted: str) -> Any:
    """A value or a list of different values, each of them good."""

    def listed(value: Any) -> list:
        values = value if isinstance(value, list) else [value]
        for one in values:
            if not good(one):
                raise ValueError(f"{_shown(one)}: must be {wanted}")
        if not values:
            raise ValueError(f"is empty: give {wanted}")
        return _different(values)

    return Annotated[list, BeforeValidator(listed)]


def _is_whole(least: int) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST


def _whole(least: int) -> tuple:
    return _is_whole(least), f"a whole number, {least} or more, at most {MOST}"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e6 and math.isfinite(value)


def _matches(pattern: str) -> Any:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value)


def _among(choices: tuple) -> tuple:
    return lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(choices)}"


Name = Annotated[Any, AfterValidator(_name)]
Flag = Annotated[str, AfterValidator(_flag)]
Flags = dict[Flag, Annotated[Any, AfterValidator(_setting)]]
Switch = _one(lambda value: isinstance(value, bool), "true or false")
Text = _one(lambda value: isinstance(value, str), "text, in quotes where it looks like a number")


class _Part(BaseModel):
    """A mapping of the file: only the known keys, written with dashes."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-"))


class Corpus(_Part):
    """`corpus`."""

    name: Text | None = None
    prepared: Text | None = None
    images: _several(_matches("[a-z][a-z0-9_]*"), "a data set such as cifar10, as for --image-dataset") | None = None
    directions: _several(_matches("[a-z]{2,3}-[a-z]{2,3}"), "a direction such as en-de") | None = None
    prepare: Flags = {}
    multilingual: Switch = False

    @model_validator(mode="after")
    def _fit_together(self) -> "Corpus":
        if self.images is not None:
            other = next((key for key in self.model_fields_set if key != "images"), None)
            if other is not None:
                raise ValueError(f"{other}: is for translation: leave it out beside `images`")
            return self
        if (self.name is None) == (self.prepared is None):
            raise ValueError("needs either `name`, a corpus of `labo prepare`, or `prepared`, a folder that it wrote")
        if self.prepared is not None and self.prepare:
            raise ValueError("prepare: is for corpora with a `name`: leave it out with `prepared`")
        if self.directions is None:
            raise ValueError("directions: missing: give a direction such as en-de, or several")
        if self.prepared is not None and len(self.directions) > 1 and not self.multilingual:
            raise ValueError("directions: a prepared folder has one direction: give one, or `multilingual: true`")
        return self


class Method(BaseModel):
    """An entry of `methods`: any flags, of which lists are grids."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[Flag, Annotated[Any, AfterValidator(_choices)]] = Field(init=False)

    criterion: Text
    vary: dict[Flag, Annotated[list, AfterValidator(_different)]] = {}


class Decode(_Part):
    """`decode`; spec.Decode says what the keys mean."""

    beam: _one(*_whole(1)) = 5
    lenpen: _several(_is_number, "a number") = [1.0]
    average: _one(_is_whole(0), "the number of checkpoints, 0 for none") = 0
    checkpoints: _several(*_among(CHECKPOINTS)) = []
    curve: _several(*_whole(1)) = []
    calibrate: _several(*_among(CALIBRATORS)) = ["none"]
    objective: _one(*_among(("nll", "ece"))) = "nll"
    ece: Switch = False
    metrics: _several(*_among(METRICS)) = ["bleu", "chrf2", "tokenized"]
    paired: Switch = False
    splits: dict[Literal["valid", "test"], Annotated[Any, AfterValidator(lambda size: _split(size))]] = {}
    sweep: Switch = False
    max_tokens: _one(*_whole(1)) = 8192
    flags: Flags = {}


def _split(size: Any) -> Any:
    if size != "equal" and not _is_whole(1)(size):
        raise ValueError("must be `equal` or the number of sentences of a split")
    return size


class File(_Part):
    """The whole file."""

    name: Name
    description: Text | None = None
    baseline: Text | None = None
    corpus: Corpus
    train: Flags
    methods: Annotated[dict[Name, Method], Field(min_length=1)]
    seeds: _several(*_whole(1))
    decode: Decode = Decode()


def checked(content: dict, file: str) -> File:
    """The content of a file as a File. Raises UserError, one line about the first mistake: `file: key: what`."""
    try:
        return File.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    # a mistake about a mapping as a whole may name the key in it that is at fault
    reason = first["msg"].removeprefix("Value error, ")
    parts = [str(part)[:60] for part in first["loc"] if part != "[key]"]
    inner = re.match(r"([a-z]+): (?=\S)", reason) if first["type"] == "value_error" else None
    if inner and isinstance(first["input"], dict):
        parts, reason = [*parts, inner[1]], reason[inner.end() :]
    raise UserError(f"{file}: {'.'.join(parts)}: {_in_words(first, reason)}")


def _in_words(error: dict, reason: str) -> str:
    """What is wrong and what to give, of an error of pydantic."""
    if error["type"] in ("extra_forbidden", "literal_error"):
        place = tuple(part for part in error["loc"] if part != "[key]")[:-1]
        return f"unknown key: choose from {', '.join(_known(place))}"
    if error["type"] == "missing":
        return "missing: name the criterion" if error["loc"][-1] == "criterion" else "missing: the file needs this key"
    if error["type"] in ("dict_type", "model_type"):
        return "must be a mapping, lines of `key: value`"
    if error["type"] == "list_type":
        return "must be a list of values, such as [0.5, 1]"
    if error["type"] == "too_short":
        return "is empty: give at least one"
    if isinstance(error["input"], dict | list) or not reason.startswith(("must", "is ")):
        return reason
    return f"{_shown(error['input'])}: {reason}"


def _known(place: tuple) -> list:
    """The keys that a mapping of the file may have."""
    if place == ("decode", "splits"):
        return ["valid", "test"]
    part = {"corpus": Corpus, "decode": Decode}.get(place[0] if place else None, File)
    return [field.alias for field in part.model_fields.values()]


def _shown(value: Any) -> str:
    try:
        return repr(value)[:100]
    except ValueError:  # a number of more digits than Python writes
        return "a number of thousands of digits"
