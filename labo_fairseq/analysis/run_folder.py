"""A finished or unfinished experiment on disk, as scripts/quickstart.sh leaves it.

  RUN/command.json       the arguments of fairseq-train, a JSON list
  RUN/train.log          fairseq's JSON log (--log-format json --log-file)
  RUN/generate-test.txt  output of fairseq-generate on the test set, there only when it is whole
  RUN/data               one line: the folder that `labo prepare` wrote, absolute or relative to RUN

The references are DATA/raw/test.TARGET (detokenized, cased) and DATA/tok/test.TARGET (tokenized). DATA/manifest.json
has the keys "target", "synthetic" and "lowercased" (the model sees lower-cased text, so both sides are scored so).
"""

import json
from dataclasses import dataclass, field
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
    log_file, command_file = folder / "train.log", folder / "command.json"
    settings = settings_of(_command(command_file)) if command_file.exists() else {}
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
    data_file, log = folder / "data", folder / "generate-test.txt"
    data, manifest = _data(data_file) if data_file.exists() else (None, {})
    run.synthetic = bool(manifest.get("synthetic"))
    if not log.exists():
        raise UserError("not translated: no generate-test.txt")
    if data is None:
        raise UserError("not scored: no file `data` that names the prepared corpus")
    system = systems.read_system(run.name, str(log))
    raw, tok = (data / kind / f"test.{manifest['target']}" for kind in ("raw", "tok"))
    references, tokens = split_lines(read_text(raw)), split_lines(read_text(tok))
    # a model of lower-cased text cannot be scored cased; a manifest without the key leaves it to the tokens
    lowercase = manifest.get("lowercased", all(line == line.lower() for line in tokens))
    run.bleu = bleu.corpus_bleu(systems.texts(system, references, str(raw)), references, lowercase)
    lines = systems.texts(system, tokens, str(tok), tokenized=True)
    run.tokenized_bleu = bleu.tokenized_bleu(lines, tokens, lowercase)


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


def _data(path):
    """(folder of the prepared corpus, its manifest)."""
    data = path.parent / read_text(path).strip()
    manifest = _json(data / "manifest.json")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("target"), str):
        raise UserError(f"{data / 'manifest.json'}: has no 'target': prepare the corpus again")
    return data, manifest


def _json(path):
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: no JSON ({error.msg}): write it again") from error
