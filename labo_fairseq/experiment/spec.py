"""The experiment file: YAML, every key known, every mistake one line that names file and key.

  name: tiny                        # of the output folder
  baseline: label smoothing         # what differences are from; without it the first method
  corpus:
    name: multi30k                  # as for `labo prepare`; or `prepared: DIR`, a folder that it wrote
    directions: [en-de]
    prepare: {bpe-operations: 4000} # further flags of `labo prepare`
    multilingual: false             # true: one model of all directions; `task` in `train` or `methods` says which task
  train:                            # flags of fairseq-train that all methods share
    arch: transformer_iwslt_de_en
    max-update: 20000
  methods:                          # flags of each; each needs a `criterion`
    label smoothing: {criterion: label_smoothing, label-smoothing: 0.1}
    confidence penalty: {criterion: confidence_penalty, confidence-penalty: [0.05, 0.1]}
    labo: {criterion: labo, vary: {smoothing-temperature: [1.15, 1.25]}}
  seeds: [1, 2, 3]
  decode:                           # how all methods are decoded; lists are tuned on validation data
    beam: 5
    lenpen: [0.6, 1, 1.4]
    average: 10
    calibrate: [none, adaptive]
    checkpoints: [average, best-bleu] # decode these; without it the average, or where there is none the best by nll
    curve: [1000, 2000, 4000]       # updates whose checkpoints are scored on validation data
    ece: true                       # measure ECE and NLL on validation and test data
    metrics: [bleu, chrf2, ter]     # of the table; without it bleu, chrf2, tokenized
    paired: true                    # compare the methods' equal seeds too, by paired tests on the test set
  profiles:
    small: {train: {max-update: 2000}, seeds: [1]}

A list as the value of a method's flag is a grid: the first seed trains every value, the other seeds the one whose BLEU
on validation data is highest. `vary` makes a method of every value instead. A profile overrides what stands above it;
null removes a key.

`teacher-path: "{direction}/METHOD/seed{seed}/checkpoints/checkpoint_best.pt"` names a cell of the same experiment, for
each student the teacher of its own seed (or data set); students start when their teachers have ended.

`train: {precision: auto}` trains in bfloat16 where the machine computes faster in it; float32 and bf16 ask for one.

Image classifiers: `corpus: {images: [cifar10, cifar100]}`, names as for --image-dataset, in place of name and
directions, and no `decode`. Grids are then chosen by accuracy on validation images.
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import UserError
from . import schema
from .schema import slug

# set by the steps themselves: a second value would send results elsewhere
RESERVED = (
    "seed", "save-dir", "log-file", "log-format", "user-dir", "source-lang", "target-lang", "task", "data", "cpu",
    "distributed-world-size", "restore-file", "lang-pairs", "image-dataset", "download",
)  # fmt: skip
RESERVED_IN_DECODING = ("beam", "lenpen", "path", "gen-subset", "calibration", "max-tokens")
RESERVED_IN_PREPARING = ("source", "target", "out")
MULTILINGUAL_TASKS = ("multilingual_translation", "translation_multi_simple_epoch")
_PRECISION_FLAGS = ("fp16", "bf16", "memory-efficient-fp16", "memory-efficient-bf16", "amp")
_DEEPEST, _MOST = 50, 100_000  # levels of brackets in a file, and values
_MOST_POINTS = 1000  # of a grid
_LONGEST_FOLDER = 200  # bytes
_KEYS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


@dataclass(frozen=True, eq=False)
class Method:
    """A row of the table. `flags` without the grid; `grid` {flag: values to choose from on validation data}."""

    name: str
    flags: dict
    grid: dict
    varied: tuple | None  #: (name of the family, flag, value) of a method that `vary` made

    def candidates(self):
        """[{flag: value}], one for each point of the grid; [{}] without a grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]

    def folder(self, point):
        """Name of the folder of a candidate, {flag: value}."""
        words = ",".join(f"{flag}={value}" for flag, value in point.items())
        return slug(self.name) + (f".{slug(words)}" if words else "")


@dataclass(frozen=True)
class Decode:
    """How all methods are decoded. Lists are tuned on validation data, for each cell by itself."""

    beam: int = 5
    lenpen: tuple = (1.0,)
    average: int = 0  #: last checkpoints to average; 0: the best one on validation data
    calibrate: tuple = ("none",)
    objective: str = "nll"
    checkpoints: tuple = ("best",)  #: of schema.CHECKPOINTS; the first one stands for the cell
    curve: tuple = ()  #: updates at which validation BLEU is measured, where a checkpoint was kept
    ece: bool = False  #: whether ECE and NLL are measured on validation and test data
    metrics: tuple = ("bleu", "chrf2", "tokenized")  #: of the table
    paired: bool = False  #: whether each seed is also compared by itself, by paired tests on the test set
    splits: tuple = ()  #: of (subset, sentences of each split, or "equal" for three equal parts)
    sweep: bool = False
    max_tokens: int = 8192
    flags: tuple = ()  #: further arguments of fairseq-generate

    @property
    def main(self):
        """The kind of checkpoint that stands for a cell: grids are chosen by it, and the table begins with it."""
        return self.checkpoints[0]


@dataclass(frozen=True)
class Experiment:
    """A checked file with its profile applied."""

    file: str
    name: str
    profile: str | None
    baseline: str
    corpus: dict
    directions: tuple  #: of (source, target); of images (data set,)
    train: dict
    methods: tuple
    seeds: tuple
    decode: Decode
    precision: str | None = None  #: of schema.PRECISIONS; None where the flags alone say it

    @property
    def images(self):
        """Whether the models classify images."""
        return "images" in self.corpus

    @property
    def measure(self):
        """What validation data choose by, and the table begins with."""
        return "accuracy" if self.images else "BLEU"

    @property
    def multilingual(self):
        """Whether one model learns all directions."""
        return self.corpus.get("multilingual", False)

    @property
    def trainings(self):
        """Tuples of directions that one model learns."""
        return (self.directions,) if self.multilingual else tuple((direction,) for direction in self.directions)

    def task(self, method):
        """fairseq's task for the training of a method."""
        if self.images:
            return "torchvision_classification"
        return {"task": "translation", **self.train, **method.flags}["task"]

    def fail(self, key, reason):
        """Raise UserError about a key."""
        raise UserError(f"{self.file}: {key}: {reason}")


def read(file, profile=None):
    """The Experiment of a file under one of its profiles. Raises UserError."""
    content = _load(file)
    profiles = _profiles(file, content.pop("profiles", {}))
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(map(str, profiles)) or "none"
            raise UserError(f"--profile: {profile}: not in {file}: its profiles are {known}")
        content = _merged(content, profiles[profile])
    checked = schema.checked(content, file)
    methods = _methods(file, checked, content["methods"])
    experiment = Experiment(
        str(file),
        checked.name,
        profile,
        methods[0].name if checked.baseline is None else checked.baseline,
        checked.corpus.model_dump(by_alias=True, exclude_unset=True),
        _directions(checked.corpus),
        {flag: value for flag, value in checked.train.items() if flag != "precision"},
        methods,
        tuple(checked.seeds),
        _decode(checked.decode),
        checked.train.get("precision"),
    )
    _check(experiment, checked)
    return experiment


def arguments(flags):
    """{flag: value} as a list of arguments: true is a bare flag, false and null leave it out."""
    words = []
    for flag, value in flags.items():
        if value is True:
            words.append(f"--{flag}")
        elif value is not None and value is not False:
            words += [f"--{flag}", str(value)]
    return words


def languages(directions):
    """(sources, targets) of directions, each language once, in their order."""
    return tuple(list(dict.fromkeys(side)) for side in zip(*directions, strict=True))


def _load(file):
    """The mapping that a YAML file holds: plain data, each key once. Raises UserError."""

    class Loader(yaml.SafeLoader):
        """yaml.safe_load, which would silently keep the last of two equal keys."""

        depth = 0

        def compose_node(self, parent, index):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise yaml.YAMLError(f"brackets inside each other, more than {_DEEPEST} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node, deep=False):
            seen = set()
            for key, _ in node.value:
                line = key.start_mark.line + 1
                scalar = isinstance(key, yaml.ScalarNode)
                if not scalar or key.tag not in _KEYS or not key.value.isprintable():
                    name = repr(key.value[:40]) if scalar else "a key of several values"
                    raise UserError(f"{file}:{line}: {name}: is no text: write keys as words, or in quotes")
                if key.value in seen:
                    raise UserError(f"{file}:{line}: {key.value}: is given twice: give each key once")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8-sig"), Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: give the path of an experiment file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    except UserError:  # is a ValueError, and says already what is wrong
        raise
    # values that are not what their tag says (`!!int x`) raise whatever the reader's conversion does
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        raise UserError(f"{where}: is no YAML: {_one_line(getattr(error, 'problem', None) or error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold `key: value` lines: see `labo experiment --help`")
    # a few lines of aliases can name more values than memory holds
    if sum(1 for _ in itertools.islice(_values(content), _MOST)) == _MOST:
        raise UserError(f"{file}: holds {_MOST} values or more: an experiment has fewer")
    return content


def _values(content):
    """Every value in nested mappings and lists, those of aliases as often as they are named."""
    waiting = [content]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())


def _one_line(text):
    return " ".join(str(text).split())[:200]


def _merged(base, changes):
    """`base` with the values of `changes`; mappings are merged, null removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _profiles(file, profiles):
    known = [field.alias for field in schema.File.model_fields.values()]
    if not isinstance(profiles, dict) or not all(isinstance(part, dict) for part in profiles.values()):
        raise UserError(f"{file}: profiles: must be a mapping of mappings, lines of `key: value`")
    for name, part in profiles.items():
        for key in part:
            if key not in known:
                raise UserError(f"{file}: profiles.{name}.{key}: unknown key: choose from {', '.join(known)}")
    return profiles


def _methods(file, checked, written):
    """The Methods of a file, those that `vary` makes too. written: `methods` as the file has it."""
    methods = []
    for name, part in checked.methods.items():
        # a cell's folder remembers its command, so that flags stay in the order of the file
        flags = {flag: value for flag, value in written[name].items() if flag != "vary"}
        grid = {flag: values for flag, values in flags.items() if isinstance(values, list)}
        flags = {flag: value for flag, value in flags.items() if flag not in grid}
        if not part.vary:
            methods.append(Method(name, flags, grid, None))
        for flag, values in part.vary.items():
            if flag in grid:
                raise UserError(f"{file}: methods.{name}.vary.{flag}: is a grid too: choose one of them")
            methods += [Method(f"{name} {flag}={v}", {**flags, flag: v}, grid, (name, flag, v)) for v in values]
    _check_folders(file, methods)
    return tuple(methods)


def _check_folders(file, methods):
    """Raise UserError where two cells would share a folder, or a folder's name would be too long."""
    owners = {}
    for method in methods:
        where = f"{file}: methods.{method.varied[0] if method.varied else method.name}"
        if math.prod(map(len, method.grid.values())) > _MOST_POINTS:
            raise UserError(f"{where}: its grid has more than {_MOST_POINTS} points: give fewer values")
        for point in method.candidates():
            folder = method.folder(point)
            owner = owners.setdefault(folder, method)
            if owner is not method:
                raise UserError(f"{where}: would share a folder with {owner.name[:60]!r}: choose another name")
            if len(folder.encode()) > _LONGEST_FOLDER:
                raise UserError(f"{where}: a folder of {len(folder)} letters, {folder[:40]}…: give shorter values")
        if len({method.folder(point) for point in method.candidates()}) < len(method.candidates()):
            raise UserError(f"{where}: two points of its grid would share a folder: give values that differ in more")


def _directions(corpus):
    if corpus.images is not None:
        return tuple((name,) for name in corpus.images)
    return tuple(tuple(one.split("-")) for one in corpus.directions)


def _decode(checked):
    known = checked.model_dump()
    known["flags"] = tuple(arguments(checked.flags))
    known["splits"] = tuple(checked.splits.items())
    known["checkpoints"] = checked.checkpoints or ["average" if checked.average else "best"]
    known["curve"] = sorted(checked.curve)
    return Decode(**{key: tuple(value) if isinstance(value, list) else value for key, value in known.items()})


def _check(experiment, checked):
    """Raise UserError where keys that are right by themselves do not fit together."""
    names = [method.name for method in experiment.methods]
    if experiment.baseline not in names:
        experiment.fail("baseline", f"{experiment.baseline!r} is no method: choose from {', '.join(names)}")
    reserved = [flag for flag in RESERVED if flag != "task"] if experiment.multilingual else RESERVED
    _refuse(experiment, "train", checked.train, reserved)
    _refuse(experiment, "decode.flags", checked.decode.flags, (*reserved, *RESERVED_IN_DECODING))
    _refuse(experiment, "corpus.prepare", checked.corpus.prepare, RESERVED_IN_PREPARING)
    for name, part in checked.methods.items():
        _refuse(experiment, f"methods.{name}", part.__pydantic_extra__, (*reserved, "precision"))
        _refuse(experiment, f"methods.{name}.vary", part.vary, (*RESERVED, "precision"))
    _check_precision(experiment, checked)
    if "average" in experiment.decode.checkpoints and not experiment.decode.average:
        experiment.fail("decode.checkpoints", "average: `average` says of how many: give it, 1 or more")
    if "name" in experiment.corpus:
        from ..data_prep.cli import CORPORA

        if experiment.corpus["name"] not in CORPORA:
            name = experiment.corpus["name"]
            experiment.fail("corpus.name", f"{name!r}: unknown: choose from {', '.join(CORPORA)}")
    if experiment.multilingual:
        _check_multilingual(experiment)
    if experiment.images and checked.decode.model_fields_set:
        experiment.fail("decode", "is for translation: leave it out for images")


def _check_precision(experiment, checked):
    if experiment.precision is None:
        return
    if experiment.precision not in schema.PRECISIONS:
        choices = ", ".join(schema.PRECISIONS)
        experiment.fail("train.precision", f"{experiment.precision!r}: must be one of {choices}")
    parts = {f"methods.{name}": part.__pydantic_extra__ for name, part in checked.methods.items()}
    for key, flags in {"train": checked.train, **parts}.items():
        for flag in _PRECISION_FLAGS:
            if flags.get(flag):
                experiment.fail(f"{key}.{flag}", "is chosen by `precision`: leave one of the two out")


def _refuse(experiment, key, flags, reserved):
    for flag in flags:
        if flag in reserved:
            experiment.fail(f"{key}.{flag}", "is set by labo experiment: leave it out")


def _check_multilingual(experiment):
    sources, targets = languages(experiment.directions)
    pairs = {(source, target) for source in sources for target in targets if source != target}
    if len(experiment.directions) < 2 or set(experiment.directions) != pairs:
        experiment.fail(
            "corpus.directions",
            "one model learns all pairs of its source and target languages, two or more, as `labo prepare` makes them: "
            f"give {', '.join(sorted(map('-'.join, pairs)))}, or leave `multilingual` out",
        )
    for method in experiment.methods:
        if experiment.task(method) not in MULTILINGUAL_TASKS:
            experiment.fail(f"methods.{method.name}.task", f"missing: choose from {', '.join(MULTILINGUAL_TASKS)}")
    if experiment.decode.sweep:
        experiment.fail("decode.sweep", "not for a multilingual model: leave it out")
