"""A training run as one row of a table: its method, scores, perplexity, speed."""

from dataclasses import dataclass, field
from pathlib import Path

from .. import __version__
from ..compat.versions import installed
from ..errors import UserError
from ..measures.warmup import AUTO, warmup_updates
from ..records.run_files import run_in
from ..records.run_folder import method_name
from ..records.tables import TextTable, shown
from ..records.train_log import read_train_log
from . import systems
from .bleu import Score
from .test_set import prepared


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
    name = folder.name or folder.resolve().name
    if not folder.is_dir():
        return Run(name, problems=["no such folder"])
    try:
        return read_run_files(run_in(folder))
    except UserError as error:  # of its command.json
        return Run(name, problems=[str(error)])


def read_run_files(files, tested=None):
    """The Run of a records.run_files.RunFiles; what is missing or damaged is said in its status.

    tested: the TestSet to score on; None for that of the corpus which the run names
    """
    run = Run(files.name)
    for step in (_add_training, _add_scores):
        try:
            step(run, files, tested)
        except UserError as error:
            run.problems.append(str(error))
    return run


def _add_training(run, files, _tested):
    settings = dict(files.settings)
    log = read_train_log(files.log) if files.log else None
    if "criterion" not in settings and log:
        settings = {name: str(value) for name, value in log.criterion.items()} | settings
    run.method = method_name(settings)
    if log is None:
        if files.folder is None:
            return  # a system of translations alone
        raise UserError("not started: no train.log")
    run.updates = log.updates
    run.updates_per_second = log.updates_per_second
    if run.updates_per_second:
        run.minutes = run.updates / run.updates_per_second / 60
    if log.best:
        run.perplexity = 2 ** min(log.best.nll_loss, 1000)  # a float holds no more
    if run.method.startswith("labo ") and run.updates:
        run.share_under_p_star = max(0, run.updates - _warmup(settings, log)) / run.updates
    goal = _integer(settings, "max_update", log.max_update or 0)
    # trained by --max-epoch alone, a run has no goal in updates
    if not log.finished and (not goal or run.updates < goal):
        run.problems.append(f"unfinished: {run.updates}{f' of {goal}' if goal else ''} updates")


def _add_scores(run, files, tested):
    if files.settings.get("task") == "torchvision_classification":
        return  # images: nothing to translate
    corpus = files.corpus if tested is None else tested.corpus
    run.synthetic = bool(corpus and corpus.synthetic)
    if not files.translations:
        raise UserError("not translated: no generate-test.txt")
    if corpus is None and tested is None:
        raise UserError("not scored: no file `data` that names the prepared corpus, and no --data")
    tested = tested or prepared(corpus)
    system, references, tokens = (
        systems.read_system(run.name, str(files.translations)), tested.references, tested.tokens
    )  # fmt: skip
    lines = systems.texts(system, references.first, references.name, detokenized_as=references.detokenized_as)
    run.bleu = _score(references.metric("bleu", tested.lowercase, tested.tokenize), lines)
    if tokens is not None and system.sentences is not None:
        lines = systems.texts(system, tokens.first, tokens.name, tokenized=True)
        run.tokenized_bleu = _score(tokens.metric("tokenized", tested.lowercase), lines)


def _score(metric, lines):
    return metric.score(metric.count(lines))


def _warmup(settings, log):
    """T_w of a run of LABO: the flag's number, or what `auto` makes of the length of the run."""
    name = "smoothing_warmup_updates"
    # the log names the default of the version that trained
    given = settings.get(name, log.criterion.get(name, AUTO))
    if given != AUTO:
        return _integer({name: given}, name, 0)
    # --max-epoch's updates are known once they are done
    return warmup_updates(log.max_update or (log.updates if log.criterion.get("max_epoch") else None))


def _integer(settings, name, default):
    try:
        return int(settings.get(name, default))
    except ValueError as error:
        raise UserError(f"--{name.replace('_', '-')}: {settings[name]}: is no whole number") from error


# heading: how a Run shows under it
COLUMNS = {
    "run": lambda run: run.name,
    "method": lambda run: run.method,
    "updates": lambda run: shown(run.updates, "d"),
    "share under P*": lambda run: shown(run.share_under_p_star, ".2f"),
    "BLEU": lambda run: shown(run.bleu and run.bleu.value, ".2f"),
    "BLEU (tokenized)": lambda run: shown(run.tokenized_bleu and run.tokenized_bleu.value, ".2f"),
    "true perplexity": lambda run: shown(run.perplexity, ".2f"),
    "updates/s": lambda run: shown(run.updates_per_second, ".2f"),
    "minutes": lambda run: shown(run.minutes, ".1f"),
    "status": lambda run: run.status,
}


LEGEND = (
    "share under P*: share of the updates after LABO's warm-up, which smooth with P*, the distribution that it learns, "
    "in place of the uniform one"
)


def notes(runs):
    """Lines that belong below the table: signatures, versions and, for made-up data, that it is."""
    lines = [f"{name}: {signature}" for name, signature in _signatures(runs)]
    if any(run.share_under_p_star is not None for run in runs):
        lines.append(LEGEND)
    if any(run.synthetic for run in runs):
        lines.append("synthetic corpus: made from a grammar; these scores say nothing about real translation")
    lines.append(", ".join(f"{name} {version}" for name, version in versions().items()))
    return lines


def versions():
    """{package: version} of what is installed here, without importing it."""
    return {"labo_fairseq": __version__, **installed()}


def _signatures(runs):
    scores = [score for run in runs for score in (run.bleu, run.tokenized_bleu) if score]
    return list(dict.fromkeys((score.metric, score.signature) for score in scores))


def table(runs):
    """TextTable with a row for each Run."""
    return TextTable("", [list(COLUMNS), *([show(run) for show in COLUMNS.values()] for run in runs)], notes(runs))
