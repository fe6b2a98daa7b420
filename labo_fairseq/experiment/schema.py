"""What an experiment file may hold: keys, types and ranges, checked by pydantic. spec.py says what they mean."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..errors import UserError

MOST = 2**31 - 1
LONGEST_NAME = 100  # characters: a file system takes 255 bytes


def slug(text: str) -> str:
    """A folder name of a method's name."""
    return re.sub(r"[^\w.=+-]+", "-", text.lower()).strip("-")


def _name(value: str) -> str:
    if not slug(value).strip(".") or not value.isprintable() or value.startswith("#") or len(value) > LONGEST_NAME:
        raise ValueError(
            f"must be printable, with a letter or digit, of at most {LONGEST_NAME} characters, without '#' in front"
        )
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
    return _several(value) if isinstance(value, list) and all(map(_is_choice, value)) else _setting(value)


def _is_choice(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _several(values: list) -> list:
    if not values:
        raise ValueError("is empty: give at least one")
    twice = next((one for i, one in enumerate(values) if one in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} is given twice: give each once")
    return values


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _whole(least: int) -> Any:
    return Annotated[int, Field(ge=least, le=MOST)]


Name = Annotated[str, AfterValidator(_name)]
Flag = Annotated[str, AfterValidator(_flag)]
Flags = dict[Flag, Annotated[Any, AfterValidator(_setting)]]
Number = Annotated[float, Field(allow_inf_nan=False)]
Direction = Annotated[str, Field(pattern="^[a-z]{2,3}-[a-z]{2,3}$")]
DataSet = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
Calibrator = Literal["none", "temperature", "grouped", "adaptive"]
# a value, or a list of different values
Directions = Annotated[list[Direction], BeforeValidator(_as_list), AfterValidator(_several)]
DataSets = Annotated[list[DataSet], BeforeValidator(_as_list), AfterValidator(_several)]
Numbers = Annotated[list[Number], BeforeValidator(_as_list), AfterValidator(_several)]
Calibrators = Annotated[list[Calibrator], BeforeValidator(_as_list), AfterValidator(_several)]
Seeds = Annotated[list[_whole(1)], BeforeValidator(_as_list), AfterValidator(_several)]


class _Part(BaseModel):
    """A mapping of the file: only the known keys, written with dashes, and no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-"))


class Corpus(_Part):
    """`corpus`."""

    name: str | None = None
    prepared: str | None = None
    images: DataSets | None = None
    directions: Directions | None = None
    prepare: Flags = {}
    multilingual: bool = False

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

    criterion: str
    vary: dict[Flag, Annotated[list[int | float | str], AfterValidator(_several)]] = {}


class Decode(_Part):
    """`decode`; spec.Decode says what the keys mean."""

    beam: _whole(1) = 5
    lenpen: Numbers = [1.0]
    average: _whole(0) = 0
    calibrate: Calibrators = ["none"]
    objective: Literal["nll", "ece"] = "nll"
    splits: dict[Literal["valid", "test"], Annotated[Any, AfterValidator(lambda size: _split(size))]] = {}
    sweep: bool = False
    max_tokens: _whole(1) = 8192
    flags: Flags = {}


def _split(size: Any) -> Any:
    if size != "equal" and not (isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MOST):
        raise ValueError("must be `equal`, or the number of sentences of a split")
    return size


class File(_Part):
    """The whole file."""

    name: Name
    description: str | None = None
    baseline: str | None = None
    corpus: Corpus
    train: Flags
    methods: Annotated[dict[Name, Method], Field(min_length=1)]
    seeds: Seeds
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
    if error["type"] == "extra_forbidden":
        return "unknown key: see `labo experiment --help`"
    if error["type"] == "missing":
        return "missing"
    if error["type"] in ("dict_type", "model_type"):
        return "must be a mapping, lines of `key: value`"
    if error["type"] == "too_short":
        return "is empty: give at least one"
    if isinstance(error["input"], dict | list):
        return reason
    return f"{str(error['input'])[:100]!r}: {reason[:1].lower()}{reason[1:]}"
