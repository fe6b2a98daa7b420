"""One HTML page about some training runs on one corpus: curves, scores, frequency splits, confidence, examples.

  labo report runs/multi30k.en-de.u2500/label_smoothed_cross_entropy runs/multi30k.en-de.u2500/labo --out report

RUN is a folder as scripts/quickstart.sh writes it (see `labo table --help`); the first one is the baseline. Runs whose
commands differ in nothing but the seed and the places of files are training seeds of one system: the scores are then
given as mean and standard deviation over the seeds, and everything else for the first seed. A run that is not
translated yet shows its curve only. A reliability diagram is shown for runs with the reliability.tsv of `labo
calibrate`. Image classifiers are shown where `labo classify-report` has measured them.

Writes OUT/report.html, which is complete by itself, and the same figures and tables as OUT/*.png and OUT/*.tsv. Needs
matplotlib: pip install 'labo_fairseq[plot]'.
"""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..files import write_aside
from . import (
    bleu,
    class_training,
    classification,
    compare,
    confidence,
    figures,
    frequency,
    predictions,
    run_folder,
    significance,
    splits,
    systems,
    words,
)
from .page import Example, Section, drawn, page, saved
from .score import add_significance_arguments, check_significance_arguments, score_table
from .table import COLUMNS, notes
from .tables import TextTable
from .train_log import read_train_log

# flags that say where things lie and which seed it is; two runs that differ in these alone are seeds of one system
NO_METHOD = ("seed", "save_dir", "log_file", "tensorboard_logdir", "wandb_project", "restore_file", "user_dir")


@dataclass(frozen=True)
class Translated:
    """What the sections about translations share. `systems` holds the first seed of each system."""

    corpus: run_folder.Corpus
    groups: dict  #: {name: [System, …]}, one per seed
    references: list
    metric: bleu.Metric  #: BLEU of detokenized text
    lines: dict  #: {name: texts}
    counts: dict  #: {name: statistics of BLEU}
    splits: list  #: of frequency.Split
    tests: tuple
    settings: dict

    @property
    def systems(self):
        """{name: System} of the first seed of each."""
        return {name: group[0] for name, group in self.groups.items()}


def add_arguments(parser):
    """Declare the arguments of `labo report`."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run; the first is the baseline")
    parser.add_argument(
        "--out", metavar="DIR", default="report", help="folder for the page, the figures and the tables"
    )
    parser.add_argument("--title", default="Translation systems compared", help="of the page")
    parser.add_argument("--examples", type=int, default=5, metavar="N", help="sentences won and lost per system")
    parser.add_argument(
        "--size", type=int, metavar="N", help="sentences per frequency split (default: three equal parts)"
    )
    add_significance_arguments(parser, default="both")


def run(args):
    """Write the report; returns 0. Raises UserError on bad input."""
    check_significance_arguments(args)
    for name, value, least in (("examples", args.examples, 0), ("size", args.size, 1)):
        if value is not None and value < least:
            raise UserError(f"--{name}: {value}: must be {least} or more")
    folders = named_folders(args.runs)
    translated = _translated(folders, args)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(folders, translated, args)
    except OSError as error:  # what is read has its own errors
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
    print(out / "report.html")
    return 0


def _write(folders, translated, args):
    sections = []
    steps = (_runs, _curves, _scores, _splits, _confidence, _reliability, _examples)
    for step in tqdm(steps, desc="report", unit="section", leave=False, disable=None):
        section = step(folders, translated, args)
        if section:
            sections.append(section)
    classifiers = _classifiers(folders)
    sections += [build(classifiers, args.out) for build in classification.SECTIONS if classifiers]
    if classifiers:
        groups = seeds_together(folders, folders)
        sections += filter(None, [class_training.training(groups, classifiers, args.out)])
    text = "" if classifiers else "Not translated yet: the runs show their training only."
    if translated:
        corpus = translated.corpus
        text = f"{corpus.source} → {corpus.target}, {len(translated.references)} test sentences. "
        text += f"Differences are from the first system, {next(iter(translated.groups))}."
        if corpus.synthetic:
            text += " The corpus is synthetic: these scores say nothing about real translation."
    with write_aside(Path(args.out, "report.html")) as stream:
        stream.write(page(args.title, text, sections))


def named_folders(arguments):
    """{name: folder}; folders of one name get their parents' names too."""
    folders = [Path(argument) for argument in arguments]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder: give the folder of a training run")
        measured = predictions.path_beside(predictions.checkpoint_of(folder), "test").exists()
        if not measured and not any((folder / name).exists() for name in ("train.log", "generate-test.txt")):
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


def _translated(folders, args):
    """The Translated of those runs that have translations; None where none has."""
    done = {name: folder for name, folder in folders.items() if (folder / "generate-test.txt").exists()}
    if not done:
        return None
    corpora = {name: run_folder.read_corpus(folder) for name, folder in done.items()}
    first, corpus = next(iter(corpora.items()))
    references = corpus.lines("raw", corpus.target)
    for name, other in corpora.items():
        if other.lines("raw", other.target) != references:
            raise UserError(f"{folders[name]}: has another test set than {folders[first]}: report on them separately")
    read = {name: systems.read_system(name, str(folder / "generate-test.txt")) for name, folder in done.items()}
    groups = seeds_together(read, done)
    file = corpus.file("raw", corpus.target)
    lines = {name: systems.texts(group[0], references, file) for name, group in groups.items()}
    metric = bleu.Metric("bleu", references, corpus.lowercase)
    counts = {name: metric.count(texts) for name, texts in lines.items()}
    several = max(map(len, groups.values())) > 1
    tests = significance.TESTS[args.significance] if len(groups) > 1 and not several else ()
    settings = {"samples": args.samples, "trials": args.trials, "seed": args.seed}
    found = _frequency_splits(corpus, references, args.size)
    return Translated(corpus, groups, references, metric, lines, counts, found, tests, settings)


def seeds_together(read, folders):
    """{name: [value, …]} of {name: value}: training seeds of one system together, under the name of the first.

    folders: {name: run folder}, whose commands say what is one system.
    """
    groups, of_method = {}, {}
    for name, system in read.items():
        settings = run_folder.read_settings(folders[name])
        method = {flag: value for flag, value in settings.items() if flag not in NO_METHOD}
        if "teacher_path" in method:  # each seed may have a teacher of its own seed
            method["teacher_path"] = str(method["teacher_path"]).replace(f"/seed{settings.get('seed')}/", "/seed/")
        # a run whose command is not known is a system of its own
        first = of_method.setdefault(tuple(sorted(method.items())) or name, name)
        groups.setdefault(first, []).append(system)
    return groups


def _classifiers(folders):
    """{name: [classification.Seed, …]} of the image runs whose predictions `labo classify-report` has written."""
    checkpoints = {name: predictions.checkpoint_of(folder) for name, folder in folders.items()}
    seeds = {
        name: classification.seed_of(checkpoint, "test", "valid")
        for name, checkpoint in checkpoints.items()
        if predictions.path_beside(checkpoint, "test").exists()
    }
    groups = seeds_together(seeds, folders)
    if groups:
        classification.check_same_images(groups)
    return groups


def _frequency_splits(corpus, references, size):
    source = corpus.lines("bpe", corpus.source)
    file = corpus.file("bpe", corpus.source)
    bleu.check_counts(source, references, file, corpus.file("raw", corpus.target))
    counts = frequency.read_dictionary(corpus.dictionary)
    frequency.check_unknown(source, counts, file, corpus.dictionary)
    return frequency.split_by_score(frequency.frequency_scores(source, counts), 3, size)


# sections: each takes (folders, translated, args), writes its figures and tables, and returns a Section or None


def _runs(folders, _translated, args):
    runs = [run_folder.read_run(folder) for folder in folders.values()]
    rows = [list(COLUMNS)]
    for name, run in zip(folders, runs, strict=True):
        run.name = name
        rows.append([show(run) for show in COLUMNS.values()])
    return Section("Runs", tables=[saved(TextTable("training runs", rows, notes(runs)), args.out, "runs")])


def _curves(folders, _translated, args):
    logs = {name: read_train_log(folder / "train.log") for name, folder in folders.items() if _has_log(folder)}
    if not any(log.train or log.valid for log in logs.values()):
        return None
    text = (
        "The plain negative log-likelihood, in bits, without any smoothing: comparable across criterions. On the "
        "training set it is measured with dropout."
    )
    figure = drawn(figures.training_curves(logs), args.out, "training", "training curves of " + ", ".join(logs))
    return Section("Training", text, [figure])


def _scores(_folders, translated, args):
    if not translated:
        return None
    corpus = translated.corpus
    tables = []
    for names, kind in ((["bleu", "chrf2"], "raw"), (list(bleu.TOKENIZED), "tok")):
        references, file = corpus.lines(kind, corpus.target), corpus.file(kind, corpus.target)
        settings = (translated.tests, translated.settings)
        table = score_table(translated.groups, names, references, file, corpus.lowercase, *settings)
        tables += [saved(part, args.out, f"scores_{name}") for part, name in zip(table.by_metric(), names, strict=True)]
    text = ""
    if translated.tests:
        text = (
            "p-values are for the difference from the first system on this test set. They say nothing of what another "
            "training seed would give."
        )
    return Section("Scores", text, tables=tables)


def _splits(_folders, translated, args):
    if not translated:
        return None
    corpus, metric, names = translated.corpus, translated.metric, list(translated.groups)
    parts = splits.scores_by_split(metric, translated.counts, translated.splits, translated.tests, translated.settings)
    training = words.count_words(metric, corpus.lines("raw", corpus.target, "train"))
    wanted = [metric.words(line) for line in translated.references]
    outputs = {name: [metric.words(line) for line in lines] for name, lines in translated.lines.items()}
    matches = {name: words.by_frequency(texts, wanted, training) for name, texts in outputs.items()}
    pictures = [
        drawn(figures.split_scores(parts, names, metric.heading), args.out, "splits", "BLEU per frequency split"),
        drawn(figures.word_f1(matches), args.out, "words", "word F1 by training frequency"),
    ]
    tables = [
        (splits.table_of_splits(translated.splits, len(translated.references)), "splits"),
        (splits.table_of_scores(parts, names, metric, translated.settings), "splits_bleu"),
        (splits.table_of_words(matches), "words_by_frequency"),
        (splits.table_of_lengths(metric, translated.counts, outputs, wanted), "words_by_length"),
    ]
    text = (
        "Sentences in descending order of the mean training count of their source subwords (Lu et al. 2023, equation "
        "18), in three parts. Bars show 95% bootstrap intervals where they were asked for."
    )
    return Section("Frequency", text, pictures, [saved(table, args.out, name) for table, name in tables])


def _confidence(_folders, translated, args):
    if not translated:
        return None
    probabilities = {name: confidence.token_probabilities(s) for name, s in translated.systems.items()}
    found = confidence.histograms(probabilities, translated.splits)
    figure = drawn(
        figures.confidence_histograms(found),
        args.out,
        "confidence",
        "histograms of the probabilities of the chosen tokens",
    )
    shown = [saved(confidence.table_of_summary(found), args.out, "confidence")]
    overlaps = zip(confidence.tables_of_overlap(found), ("splits", "systems"), strict=False)
    shown += [saved(table, args.out, f"confidence_overlap_{between}") for table, between in overlaps]
    saved(confidence.table_of_histograms(found), args.out, "confidence_histograms")
    text = "Probabilities of the tokens that beam search chose, as Figure 2 of Lu et al. (2023)."
    return Section("Confidence", text, [figure], shown)


def _reliability(folders, _translated, args):
    pictures = []
    for i, (name, folder) in enumerate(folders.items(), 1):
        bins = run_folder.read_reliability(folder)
        if bins:
            pictures.append(
                drawn(figures.reliability(bins, name), args.out, f"reliability_{i}", f"reliability of {name}")
            )
    if not pictures:
        return None
    text = "How often tokens of a given confidence are right; below, how many tokens there are. Vertical bars: 95%."
    return Section("Reliability", text, pictures)


def _examples(_folders, translated, args):
    if not translated or not args.examples or len(translated.groups) < 2:
        return None
    metric = bleu.Metric("chrf2", translated.references, translated.corpus.lowercase)
    values = {name: metric.sentence_scores(lines) for name, lines in translated.lines.items()}
    (baseline, base), *others = values.items()
    sources = translated.corpus.lines("raw", translated.corpus.source)
    found = []
    for name, scores in others:
        gained = compare.wins_and_losses(scores, base, args.examples)
        for label, ids in zip(("better", "worse"), gained, strict=True):
            for i in ids:
                lines = [("source", sources[i]), ("reference", translated.references[i])]
                lines += [(f"{n} ({values[n][i]:.1f})", translated.lines[n][i]) for n in (baseline, name)]
                heading = f"{name} {label} than {baseline} by {abs(scores[i] - base[i]):.1f}: id {i}"
                found.append(Example(heading, lines))
    text = f"Sentences with the largest differences from {baseline} in sentence-level chrF2 (in brackets)."
    return Section("Examples", text, examples=found)


def _has_log(folder):
    return (folder / "train.log").exists()
