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
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UserError
from . import bleu, systems
from .bleu import Score
from .text import read_text, split_lines
from .train_log import read_train_log

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
LABO_WARMUP_UPDATES = 5000
RELIABILITY = ("when", "bin_low", "bin_high", "count", "confidence", "accuracy", "accuracy_low", "accuracy_high")


@dataclass
class Run:
    """One row of `labo table`. None stands for what is not known (yet); `problems` say why."""

    name: str
    method: str = "?"
    updates: int | None = None
    share_under_p_star: float | None = None  #: share of the updates that LABO ran after its warm-up; None for others
    bleu: Score | None = None  #: detokenized, by sacreBLEU
    tokenized_bleu: Score | None = None
    perplexity: float | None = None  #: 2 to the power of the lowest nll_loss on the validation set
    updates_per_second: float | None = None  #: inside training steps
    minutes: float | None = None  #: inside training steps
    synthetic: bool = False
    problems: list = field(default_factory=list)  #: what is missing, and why

    @property
    def status(self):
        """ "ok", or what is missing and why."""
        return "; ".join(self.problems) or "ok"


@dataclass(frozen=True)
class Corpus:
    """A corpus as `labo prepare` leaves it: raw/ detokenized, tok/ tokenized, bpe/ subwords, bin/ for fairseq."""

    folder: Path
    source: str | None  #: language; None in a manifest without it
    target: str
    synthetic: bool
    lowercase: bool  #: whether both sides are to be scored in lower case
    pair: str | None = None  #: say de-en, in a corpus of several pairs of languages

    def file(self, kind, language, part="test"):
        """Path of a text, say raw/test.de, of several pairs raw/test.de-en.de, as a string."""
        name = f"{part}.{self.pair}" if self.pair else part
        return str(self.folder / kind / f"{name}.{language}")

    def lines(self, kind, language, part="test"):
        """Its lines. Raises UserError where it cannot be read."""
        return split_lines(read_text(self.file(kind, language, part)))

    @property
    def dictionary(self):
        """Path of the source dictionary, as a string."""
        return str(self.folder / "bin" / f"dict.{self.source}.txt")


def read_run(folder):
    """The Run of a folder. Never raises on a missing, unfinished or damaged run: its status says what is wrong."""
    folder = Path(folder)
    run = Run(folder.name or folder.resolve().name)
    if not folder.is_dir():
        run.problems.append("no such folder")
        return run
    for step in (_add_training, _add_scores):
        try:
            step(run, folder)
        except UserError as error:
            run.problems.append(str(error))
    return run


def read_corpus(folder):
    """The Corpus that a run folder's file `data` names. Raises UserError where it or its manifest cannot be read."""
    data, *direction = split_lines(read_text(Path(folder) / "data").strip())
    return corpus_at(Path(folder) / data, *direction[:1])


def corpus_at(data, direction=None):
    """The Corpus in a folder that `labo prepare` wrote; of several pairs of languages that of one, such as "de-en".

    Raises UserError where the manifest cannot be read or has no such direction.
    """
    data = Path(data)
    manifest = _json(data / "manifest.json")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("target"), str):
        raise UserError(f"{data / 'manifest.json'}: has no 'target': prepare the corpus again")
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
    pairs = [f"{one}-{other}" for one in source.split(",") for other in target.split(",")]
    if direction not in pairs:
        raise UserError(f"{file}: is of {', '.join(pairs)}: name one of them in the second line of the run's file data")
    return *direction.split("-"), direction


def read_settings(folder):
    """{flag: value} of the command that made a run folder; {} where it is not recorded."""
    path = Path(folder, "command.json")
    return settings_of(_command(path)) if path.exists() else {}


def read_reliability(folder):
    """Rows of reliability.tsv as dicts: "when" (before or after), the others numbers; None where there is none.

    Columns: when, bin_low, bin_high, count, confidence and accuracy (means of the bin), accuracy_low, accuracy_high.
    Raises UserError where the file is damaged.
    """
    path = Path(folder, "reliability.tsv")
    if not path.exists():
        return None
    heading, *lines = [line for line in split_lines(read_text(path)) if line and not line.startswith("#")] or [""]
    names = heading.split("\t")
    if names != list(RELIABILITY):
        raise UserError(f"{path}: columns {', '.join(names)}: expected {', '.join(RELIABILITY)}: calibrate again")
    rows = []
    for line in lines:
        when, *cells = line.split("\t")
        try:
            # an empty bin has a count of 0 and no means
            numbers = [float(cell) if cell else math.nan for cell in cells]
            rows.append({"when": when, **dict(zip(RELIABILITY[1:], numbers, strict=True))})
        except ValueError as error:
            raise UserError(
                f"{path}: {line[:60]!r}: not {len(RELIABILITY)} columns of numbers: calibrate again"
            ) from error
    if not rows:
        raise UserError(f"{path}: no bins: calibrate again")
    return rows


def settings_of(arguments):
    """{name: value} of a command's flags: `--label-smoothing 0.1` and `--label-smoothing=0.1`, the last one counts."""
    settings = {}
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        if argument.startswith("--"):
            flag, equals, value = argument.partition("=")
            settings[flag[2:].replace("-", "_")] = value if equals else "" if following.startswith("--") else following
    return settings


def method_name(settings):
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


def _add_training(run, folder):
    log_file = folder / "train.log"
    settings = read_settings(folder)
    log = read_train_log(log_file) if log_file.exists() else None
    if "criterion" not in settings and log:
        settings = {name: str(value) for name, value in log.criterion.items()} | settings
    run.method = method_name(settings)
    if log is None:
        raise UserError("not started: no train.log")
    run.updates = log.updates
    run.updates_per_second = log.updates_per_second
    if run.updates_per_second:
        run.minutes = run.updates / run.updates_per_second / 60
    if log.best:
        run.perplexity = 2 ** min(log.best.nll_loss, 1000)  # a float holds no more
    if run.method.startswith("labo ") and run.updates:
        warmup = _integer(settings, "smoothing_warmup_updates", LABO_WARMUP_UPDATES)
        run.share_under_p_star = max(0, run.updates - warmup) / run.updates
    goal = _integer(settings, "max_update", log.max_update or 0)
    if run.updates < goal:
        run.problems.append(f"unfinished: {run.updates} of {goal} updates")


def _add_scores(run, folder):
    if read_settings(folder).get("task") == "torchvision_classification":
        return  # images: nothing to translate
    data_file, log = folder / "data", folder / "generate-test.txt"
    corpus = read_corpus(folder) if data_file.exists() else None
    run.synthetic = bool(corpus and corpus.synthetic)
    if not log.exists():
        raise UserError("not translated: no generate-test.txt")
    if corpus is None:
        raise UserError("not scored: no file `data` that names the prepared corpus")
    system = systems.read_system(run.name, str(log))
    references, tokens = corpus.lines("raw", corpus.target), corpus.lines("tok", corpus.target)
    lines = systems.texts(system, references, corpus.file("raw", corpus.target))
    run.bleu = bleu.corpus_bleu(lines, references, corpus.lowercase)
    lines = systems.texts(system, tokens, corpus.file("tok", corpus.target), tokenized=True)
    run.tokenized_bleu = bleu.tokenized_bleu(lines, tokens, corpus.lowercase)


def _integer(settings, name, default):
    try:
        return int(settings.get(name, default))
    except ValueError as error:
        raise UserError(f"--{name.replace('_', '-')}: {settings[name]}: is no whole number") from error


def _command(path):
    arguments = _json(path)
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        raise UserError(f"{path}: is no list of strings: it should hold the arguments of fairseq-train")
    return arguments


def _json(path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg}): write it again") from error
