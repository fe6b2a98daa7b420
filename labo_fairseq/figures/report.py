"""One HTML page about training runs on one corpus: curves, scores, frequency splits, confidence, examples."""

from dataclasses import dataclass
from pathlib import Path

from ..analysis import bleu, classification, compare, confidence, frequency, splits, systems, words
from ..analysis.references import of_corpus
from ..analysis.runs import COLUMNS, notes, read_run
from ..analysis.score import score_table
from ..errors import UserError
from ..files import result_folder, write_aside
from ..measures import significance
from ..progress import progress
from ..records import predictions, run_folder
from ..records.reliability import read_reliability
from ..records.run_folder import seeds_together
from ..records.tables import TextTable
from ..records.train_log import read_train_log
from . import image_sections, image_training
from . import translation as figures
from .page import Example, Section, page, write_figure, write_table
from .reliability import reliability


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
    tests: tuple  #: of measures.significance.paired
    drawing: dict  #: its samples, trials and seed

    @property
    def systems(self):
        """{name: System} of the first seed of each."""
        return {name: group[0] for name, group in self.groups.items()}


@dataclass(frozen=True)
class Settings:
    """What the report shows, and where it goes."""

    out: str = "report"  #: folder for the page, the figures and the tables
    title: str = "Translation systems compared"
    examples: int = 5  #: sentences won and lost of each system
    size: int | None = None  #: sentences of a frequency split; None for three equal parts
    tests: str = "both"  #: of measures.significance.TESTS
    samples: int = significance.SAMPLES
    trials: int = significance.TRIALS
    seed: int = significance.SEED


def write_report(folders, settings):
    """Write the page, its figures and its tables; returns the path of the page.

    folders: {name: run folder}, the first one being the baseline (records.run_folder.named_folders). Raises UserError
    on damaged or different runs.
    """
    translated = _translated(folders, settings)
    out = result_folder(settings.out)
    try:
        _write(folders, translated, settings)
    except OSError as error:  # what is read has its own errors
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error
    return out / "report.html"


def _write(folders, translated, settings):
    sections = []
    steps = (_runs, _curves, _scores, _splits, _confidence, _reliability, _examples)
    for step in progress(steps, "report", "section"):
        section = step(folders, translated, settings)
        if section:
            sections.append(section)
    classifiers = _classifiers(folders)
    sections += [build(classifiers, settings.out) for build in image_sections.SECTIONS if classifiers]
    if classifiers:
        groups = seeds_together(folders, folders)
        sections += filter(None, [image_training.training(groups, classifiers, settings.out)])
    text = "" if classifiers else "Not translated yet: the runs show their training only."
    if translated:
        corpus = translated.corpus
        text = f"{corpus.source} → {corpus.target}, {len(translated.references)} test sentences. "
        text += f"Differences are from the first system, {next(iter(translated.groups))}."
        if corpus.synthetic:
            text += " The corpus is synthetic: these scores say nothing about real translation."
    with write_aside(Path(settings.out, "report.html")) as stream:
        stream.write(page(settings.title, text, sections))


def _translated(folders, settings):
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
    test_set, tokenize = of_corpus(corpus)
    lines = {name: systems.texts(group[0], references, test_set.name) for name, group in groups.items()}
    metric = test_set.metric("bleu", corpus.lowercase, tokenize)
    counts = {name: metric.count(texts) for name, texts in lines.items()}
    several = max(map(len, groups.values())) > 1
    tests = significance.TESTS[settings.tests] if len(groups) > 1 and not several else ()
    splits_ = _frequency_splits(corpus, references, settings.size)
    drawing = {"samples": settings.samples, "trials": settings.trials, "seed": settings.seed}
    return Translated(corpus, groups, references, metric, lines, counts, splits_, tests, drawing)


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


# sections: each takes (folders, translated, settings), writes its figures and tables, and returns a Section or None


def _runs(folders, _translated, settings):
    runs = [read_run(folder) for folder in folders.values()]
    rows = [list(COLUMNS)]
    for name, run in zip(folders, runs, strict=True):
        run.name = name
        rows.append([show(run) for show in COLUMNS.values()])
    return Section("Runs", tables=[write_table(TextTable("training runs", rows, notes(runs)), settings.out, "runs")])


def _curves(folders, _translated, settings):
    logs = {name: read_train_log(folder / "train.log") for name, folder in folders.items() if _has_log(folder)}
    if not any(log.train or log.valid for log in logs.values()):
        return None
    text = (
        "The plain negative log-likelihood, in bits, without any smoothing: comparable across criterions. On the "
        "training set it is measured with dropout."
    )
    figure = write_figure(
        figures.training_curves(logs), settings.out, "training", "training curves of " + ", ".join(logs)
    )
    return Section("Training", text, [figure])


def _scores(_folders, translated, settings):
    if not translated:
        return None
    corpus = translated.corpus
    tables = []
    for names, kind in ((["bleu", "chrf2"], "raw"), (list(bleu.TOKENIZED), "tok")):
        references, tokenize = of_corpus(corpus, kind)
        testing = (translated.tests, translated.drawing, tokenize)
        table = score_table(translated.groups, names, references, corpus.lowercase, *testing)
        tables += [
            write_table(part, settings.out, f"scores_{name}")
            for part, name in zip(table.by_metric(), names, strict=True)
        ]
    text = ""
    if translated.tests:
        text = (
            "p-values are for the difference from the first system on this test set. They say nothing of what another "
            "training seed would give."
        )
    return Section("Scores", text, tables=tables)


def _splits(_folders, translated, settings):
    if not translated:
        return None
    corpus, metric, names = translated.corpus, translated.metric, list(translated.groups)
    parts = splits.scores_by_split(metric, translated.counts, translated.splits, translated.tests, translated.drawing)
    training = words.count_words(metric, corpus.lines("raw", corpus.target, "train"))
    wanted = [metric.words(line) for line in translated.references]
    outputs = {name: [metric.words(line) for line in lines] for name, lines in translated.lines.items()}
    matches = {name: words.by_frequency(texts, wanted, training) for name, texts in outputs.items()}
    pictures = [
        write_figure(
            figures.split_scores(parts, names, metric.heading), settings.out, "splits", "BLEU per frequency split"
        ),
        write_figure(figures.word_f1(matches), settings.out, "words", "word F1 by training frequency"),
    ]
    tables = [
        (splits.table_of_splits(translated.splits, len(translated.references)), "splits"),
        (splits.table_of_scores(parts, names, metric, translated.drawing), "splits_bleu"),
        (splits.table_of_words(matches), "words_by_frequency"),
        (splits.table_of_lengths(metric, translated.counts, outputs, wanted), "words_by_length"),
    ]
    text = (
        "Sentences in descending order of the mean training count of their source subwords (Lu et al. 2023, equation "
        "18), in three parts. Bars show 95% bootstrap intervals where they were asked for."
    )
    return Section("Frequency", text, pictures, [write_table(table, settings.out, name) for table, name in tables])


def _confidence(_folders, translated, settings):
    if not translated:
        return None
    probabilities = {name: confidence.token_probabilities(s) for name, s in translated.systems.items()}
    histograms = confidence.histograms(probabilities, translated.splits)
    figure = write_figure(
        figures.confidence_histograms(histograms),
        settings.out,
        "confidence",
        "histograms of the probabilities of the chosen tokens",
    )
    shown = [write_table(confidence.table_of_summary(histograms), settings.out, "confidence")]
    overlaps = zip(confidence.tables_of_overlap(histograms), ("splits", "systems"), strict=False)
    shown += [write_table(table, settings.out, f"confidence_overlap_{between}") for table, between in overlaps]
    write_table(confidence.table_of_histograms(histograms), settings.out, "confidence_histograms")
    text = "Probabilities of the tokens that beam search chose, as Figure 2 of Lu et al. (2023)."
    return Section("Confidence", text, [figure], shown)


def _reliability(folders, _translated, settings):
    pictures = []
    for i, (name, folder) in enumerate(folders.items(), 1):
        bins = read_reliability(folder)
        if bins:
            pictures.append(
                write_figure(reliability(bins, name), settings.out, f"reliability_{i}", f"reliability of {name}")
            )
    if not pictures:
        return None
    text = "How often tokens of a given confidence are right; below, how many tokens there are. Vertical bars: 95%."
    return Section("Reliability", text, pictures)


def _examples(_folders, translated, settings):
    if not translated or not settings.examples or len(translated.groups) < 2:
        return None
    metric = bleu.Metric("chrf2", translated.references, translated.corpus.lowercase)
    values = {name: metric.sentence_scores(lines) for name, lines in translated.lines.items()}
    (baseline, base), *others = values.items()
    sources = translated.corpus.lines("raw", translated.corpus.source)
    examples = []
    for name, scores in others:
        gained = compare.wins_and_losses(scores, base, settings.examples)
        for label, ids in zip(("better", "worse"), gained, strict=True):
            for i in ids:
                lines = [("source", sources[i]), ("reference", translated.references[i])]
                lines += [(f"{n} ({values[n][i]:.1f})", translated.lines[n][i]) for n in (baseline, name)]
                heading = f"{name} {label} than {baseline} by {abs(scores[i] - base[i]):.1f}: id {i}"
                examples.append(Example(heading, lines))
    text = f"Sentences with the largest differences from {baseline} in sentence-level chrF2 (in brackets)."
    return Section("Examples", text, examples=examples)


def _has_log(folder):
    return (folder / "train.log").exists()
