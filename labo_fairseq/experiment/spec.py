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
  methods:                          # flags of each; `criterion` is owed
    label smoothing: {criterion: label_smoothing, label-smoothing: 0.1}
    confidence penalty: {criterion: confidence_penalty, confidence-penalty: [0.05, 0.1]}
    labo: {criterion: labo, vary: {smoothing-temperature: [1.15, 1.25]}}
  seeds: [1, 2, 3]
  decode: {beam: 5, lenpen: [0.6, 1, 1.4], average: 10, calibrate: [none, adaptive]}
  profiles:
    small: {train: {max-update: 2000}, seeds: [1]}

A list as the value of a method's flag is a grid: the first seed trains every value, the other seeds the one whose BLEU
on validation data is highest. `vary` makes a method of every value instead. A profile overrides what stands above it;
null removes a key.

`teacher-path: "{direction}/METHOD/seed{seed}/checkpoints/checkpoint_best.pt"` names a cell of the same experiment, for
each student the teacher of its own seed (or data set); students start when their teachers have ended.

Image classifiers: `corpus: {images: [cifar10, cifar100]}`, names as for --image-dataset, in place of name and
directions, and no `decode`. Grids are then chosen by accuracy on validation images.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

CALIBRATORS = ("none", "temperature", "grouped", "adaptive")
SUBSETS = ("valid", "test")
# set by the steps themselves: a second value would send results elsewhere
RESERVED = (
    "seed", "save-dir", "log-file", "log-format", "user-dir", "source-lang", "target-lang", "task", "data", "cpu",
    "distributed-world-size", "restore-file", "lang-pairs", "image-dataset", "download",
)  # fmt: skip
MULTILINGUAL_TASKS = ("multilingual_translation", "translation_multi_simple_epoch")
TOP = ("name", "description", "baseline", "corpus", "train", "methods", "seeds", "decode", "profiles")
CORPUS = ("name", "prepared", "images", "directions", "prepare", "multilingual")
DECODE = ("beam", "lenpen", "average", "calibrate", "objective", "splits", "sweep", "max-tokens", "flags")


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


@dataclass(frozen=True)
class Decode:
    """How all methods are decoded. Lists are tuned on validation data, for each cell by itself."""

    beam: int = 5
    lenpen: tuple = (1.0,)
    average: int = 0  #: last checkpoints to average; 0: the best one on validation data
    calibrate: tuple = ("none",)
    objective: str = "nll"
    splits: tuple = ()  #: of (subset, sentences of each split, or "equal" for three equal parts)
    sweep: bool = False
    max_tokens: int = 8192
    flags: tuple = ()  #: further arguments of fairseq-generate


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
    check = _Check(file)
    check.keys(content, TOP, "")
    profiles = check.mapping(content.pop("profiles", {}), "profiles")
    for name, part in profiles.items():
        check.keys(check.mapping(part, f"profiles.{name}"), [k for k in TOP if k != "profiles"], f"profiles.{name}.")
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(map(str, profiles)) or "none"
            raise UserError(f"--profile: {profile}: not in {file}: its profiles are {known}")
        content = _merged(content, profiles[profile])
    corpus, directions = _corpus(check, content)
    reserved = [flag for flag in RESERVED if flag != "task"] if corpus.get("multilingual") else RESERVED
    methods = _methods(check, content, reserved)
    names = [method.name for method in methods]
    baseline = content.get("baseline", names[0])
    if baseline not in names:
        check.fail("baseline", f"{baseline!r} is no method: choose from {', '.join(names)}")
    experiment = Experiment(
        str(file),
        check.name(content.get("name"), "name"),
        profile,
        baseline,
        corpus,
        directions,
        _flags(check, content.get("train"), "train", reserved),
        methods,
        _seeds(check, content.get("seeds")),
        _decode(check, content.get("decode", {})),
    )
    if experiment.multilingual:
        _check_multilingual(experiment)
    if experiment.images and content.get("decode"):
        check.fail("decode", "is for translation: leave it out for images")
    return experiment


def arguments(flags):
    """{flag: value} as a list of arguments: true is a bare flag, false and null leave it out."""
    found = []
    for flag, value in flags.items():
        if value is True:
            found.append(f"--{flag}")
        elif value is not None and value is not False:
            found += [f"--{flag}", str(value)]
    return found


def slug(text):
    """A folder name of a method's name."""
    return re.sub(r"[^\w.=+-]+", "-", text.lower()).strip("-")


class _Check:
    """Complaints about one file."""

    def __init__(self, file):
        self.file = file

    def fail(self, key, reason):
        raise UserError(f"{self.file}: {key}: {reason}")

    def mapping(self, value, key):
        if not isinstance(value, dict):
            self.fail(key, "must be a mapping, lines of `key: value`")
        return value

    def keys(self, mapping, known, prefix):
        for key in mapping:
            if key not in known:
                self.fail(f"{prefix}{key}", f"unknown key: choose from {', '.join(known)}")

    def name(self, value, key):
        if not isinstance(value, str) or not slug(value) or not value.isprintable() or value.startswith("#"):
            self.fail(key, f"{value!r}: must be a printable name with a letter or digit, not beginning with '#'")
        return value

    def several(self, value, key, good, wanted):
        """A value or a non-empty list of different values as a tuple."""
        values = value if isinstance(value, list) else [value]
        for one in values:
            if not good(one):
                self.fail(key, f"{one!r}: must be {wanted}")
        if not values:
            self.fail(key, f"is empty: give {wanted}")
        twice = next((one for i, one in enumerate(values) if one in values[:i]), None)
        if twice is not None:
            self.fail(key, f"{twice} is given twice: give each once")
        return tuple(values)


def _load(file):
    import yaml

    class Loader(yaml.SafeLoader):
        """yaml.safe_load, which would silently keep the last of two equal keys."""

        def construct_mapping(self, node, deep=False):
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise UserError(f"{file}:{line}: {key.value}: is given twice: give each key once")
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}: give the path of an experiment file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        raise UserError(f"{where}: is no YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold `key: value` lines: see `labo experiment run --help`")
    return content


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


def _corpus(check, content):
    corpus = check.mapping(content.get("corpus"), "corpus")
    check.keys(corpus, CORPUS, "corpus.")
    if "images" in corpus:
        return _images(check, corpus)
    if ("name" in corpus) == ("prepared" in corpus):
        check.fail("corpus", "needs either `name`, a corpus of `labo prepare`, or `prepared`, a folder that it wrote")
    if "prepared" in corpus and "prepare" in corpus:
        check.fail("corpus.prepare", "of no use with `prepared`: leave it out")
    if "name" in corpus:
        from ..data_prep.cli import CORPORA

        if corpus["name"] not in CORPORA:
            check.fail("corpus.name", f"{corpus['name']!r}: unknown: choose from {', '.join(CORPORA)}")
    _flags(check, corpus.get("prepare", {}), "corpus.prepare", ("source", "target", "out"))
    pattern = re.compile("[a-z]{2,3}-[a-z]{2,3}")
    directions = check.several(
        corpus.get("directions"),
        "corpus.directions",
        lambda one: isinstance(one, str) and pattern.fullmatch(one),
        "a direction such as en-de",
    )
    if not isinstance(corpus.get("multilingual", False), bool):
        check.fail("corpus.multilingual", f"{corpus['multilingual']!r}: must be true or false")
    if "prepared" in corpus and len(directions) > 1 and not corpus.get("multilingual"):
        check.fail("corpus.directions", "a prepared folder has one direction: give one, or `multilingual: true`")
    return corpus, tuple(tuple(one.split("-")) for one in directions)


def _images(check, corpus):
    if len(corpus) > 1:
        other = next(key for key in corpus if key != "images")
        check.fail(f"corpus.{other}", "is for translation: leave it out beside `images`")
    pattern = re.compile("[a-z][a-z0-9_]*")
    names = check.several(
        corpus["images"],
        "corpus.images",
        lambda one: isinstance(one, str) and pattern.fullmatch(one),
        "a data set such as cifar10, as for --image-dataset",
    )
    return corpus, tuple((name,) for name in names)


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


def languages(directions):
    """(sources, targets) of directions, each language once, in their order."""
    return tuple(list(dict.fromkeys(side)) for side in zip(*directions, strict=True))


def _flags(check, value, key, reserved=RESERVED):
    flags = check.mapping(value, key)
    for flag, setting in flags.items():
        where = f"{key}.{flag}"
        if not isinstance(flag, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", flag):
            check.fail(where, "is no flag: write it without dashes in front, with dashes between words")
        if flag in reserved:
            check.fail(where, "is set by labo experiment: leave it out")
        if isinstance(setting, dict | list):
            check.fail(where, f"{setting!r}: must be one value")
    return flags


def _methods(check, content, reserved):
    methods = []
    for name, flags in check.mapping(content.get("methods"), "methods").items():
        key = f"methods.{name}"
        check.name(name, key)
        flags = dict(check.mapping(flags, key))
        vary = check.mapping(flags.pop("vary", {}), f"{key}.vary")
        grid = {flag: value for flag, value in flags.items() if isinstance(value, list)}
        flags = _flags(check, {flag: value for flag, value in flags.items() if flag not in grid}, key, reserved)
        for part, where in ((grid, key), (vary, f"{key}.vary")):
            _flags(check, dict.fromkeys(part), where)
            for flag, values in part.items():
                check.several(values, f"{where}.{flag}", lambda one: isinstance(one, int | float | str), "a value")
        if not isinstance(flags.get("criterion"), str):
            check.fail(f"{key}.criterion", "missing: name the criterion")
        if not vary:
            methods.append(Method(name, flags, grid, None))
        for flag, values in vary.items():
            if flag in grid:
                check.fail(f"{key}.vary.{flag}", "is a grid too: choose one of them")
            methods += [Method(f"{name} {flag}={v}", {**flags, flag: v}, grid, (name, flag, v)) for v in values]
    if not methods:
        check.fail("methods", "is empty: give at least one")
    slugs = {}
    for method in methods:
        other = slugs.setdefault(slug(method.name), method.name)
        if other != method.name:
            check.fail(f"methods.{method.name}", f"would share a folder with {other!r}: choose another name")
    return tuple(methods)


def _seeds(check, value):
    return check.several(value, "seeds", _whole(1), "a whole number, 1 or more")


def _decode(check, value):
    decode = check.mapping(value, "decode")
    check.keys(decode, DECODE, "decode.")

    def one(key, good, wanted):
        if key in decode and not good(decode[key]):
            check.fail(f"decode.{key}", f"{decode[key]!r}: must be {wanted}")

    one("beam", _whole(1), "a whole number, 1 or more")
    one("average", _whole(0), "the number of checkpoints, 0 for none")
    one("max-tokens", _whole(1), "a whole number, 1 or more")
    one("sweep", lambda v: isinstance(v, bool), "true or false")
    one("objective", lambda v: v in ("nll", "ece"), "nll or ece")
    known = {f.replace("-", "_"): decode[f] for f in decode if f not in ("lenpen", "calibrate", "splits", "flags")}
    several = {
        "lenpen": (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"),
        "calibrate": (lambda v: v in CALIBRATORS, f"one of {', '.join(CALIBRATORS)}"),
    }
    for key, (good, wanted) in several.items():
        if key in decode:
            known[key] = check.several(decode[key], f"decode.{key}", good, wanted)
    for subset, size in check.mapping(decode.get("splits", {}), "decode.splits").items():
        check.keys({subset: size}, SUBSETS, "decode.splits.")
        if size != "equal" and not _whole(1)(size):
            check.fail(f"decode.splits.{subset}", f"{size!r}: must be `equal` or the number of sentences of a split")
        known["splits"] = (*known.get("splits", ()), (subset, size))
    if "flags" in decode:
        reserved = (*RESERVED, "beam", "lenpen", "path", "gen-subset", "calibration", "max-tokens")
        known["flags"] = tuple(arguments(_flags(check, decode["flags"], "decode.flags", reserved)))
    return Decode(**known)


def _whole(least):
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least
