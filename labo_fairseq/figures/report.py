"""One HTML page about systems on one test set: curves, scores, frequency, confidence, calibration, every sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis import bleu, classification, confidence, frequency, splits, systems, test_set, words
from ..analysis.references import References
from ..analysis.runs import COLUMNS, notes, read_run_files
from ..analysis.score import score_table
from ..analysis.test_set import TestSet
from ..errors import UserError
from ..files import result_folder
from ..measures import significance
from ..progress import progress
from ..records import predictions
from ..records.messages import warn
from ..records.reliability import read_reliability
from ..records.run_files import groups_of
from ..records.tables import TextTable
from ..records.train_log import read_train_log
from . import calibration_sections, image_sections, image_training, mbr_section, sentences
from . import translation as figures
from .page import Section, write_figure, write_page, write_table


@dataclass(frozen=True)
class Translated:
    """What the sections about translations share. `systems` holds the first seed of each system."""

    test_set: TestSet
    groups: dict  #: {name: [System, …]}, one per seed
    metric: bleu.Metric  #: BLEU of detokenized text
    lines: dict  #: {name: texts}
    counts: dict  #: {name: statistics of BLEU}
    splits: list  #: of frequency.Split; empty where the corpus is not known
    tests: tuple  #: of measures.significance.paired
    drawing: dict  #: its samples, trials and seed
    outputs: dict  #: {name: sentences.Output}

    @property
    def systems(self):
        """{name: System} of the first seed of each."""
        return {name: group[0] for name, group in self.groups.items()}

    @property
    def references(self):
        """Lines of the first reference."""
        return self.test_set.references.first


@dataclass(frozen=True)
class Settings:
    """What the report shows, and where it goes."""

    out: str = "report"  #: folder for the page, the figures and the tables
    title: str = "Translation systems compared"
    examples: int = 5  #: sentences won and lost of each system
    size: int | None = None  #: sentences of a frequency split; None for three equal parts
    max_unknown: float = (
        frequency.USUALLY_UNKNOWN
    )  #: share of source tokens outside of the dictionary, above it: a warning
    tests: str = "both"  #: of measures.significance.TESTS
    samples: int = significance.SAMPLES
    trials: int = significance.TRIALS
    seed: int = significance.SEED
    references: References | None = None  #: of the user, in place of a prepared corpus
    tokenize: str | None = None  #: of BLEU, for them
    sources: list | None = None  #: whole text, for them
    language: str | None = None  #: of the target, where the references are the T- lines of a log
    lowercase: bool = False  #: whether to score in lower case where no prepared corpus says so
    mbr: Sequence = ()  #: [(name, what records.mbr.read_mbr gives)]
    segmenter: Callable | None = None  #: corpus → function words → subwords, or None where it has no such


def write_report(runs, settings):
    """Write the page, its figures and its tables; returns the line `path<tab>size` about the page.

    runs: {name: records.run_files.RunFiles}, the first one being the baseline. Raises UserError on damaged or different
    runs.
    """
    translated = _translated(runs, settings)
    out = result_folder(settings.out)
    try:
        return _write(runs, translated, settings)
    except OSError as error:  # what is read has its own errors
        raise UserError(f"--out: {out}: {error.strerror}: give a folder that can be written") from error


def _write(runs, translated, settings):
    sections = []
    steps = (_runs, _curves, _scores, _splits, _confidence, _calibration, _decoding, _mbr, _examples, _sentences)
    for step in progress(steps, "report", "section"):
        section = step(runs, translated, settings)
        if section:
            sections.append(section)
    classifiers = _classifiers(runs)
    sections += [build(classifiers, settings.out) for build in image_sections.SECTIONS if classifiers]
    if classifiers:
        folders = {name: run.folder for name, run in runs.items() if run.folder}
        trainings = image_training.training(groups_of(folders, runs), classifiers, settings.out)
        sections += filter(None, [trainings])
    return write_page(settings.title, _introduction(translated, classifiers), sections, settings.out)


def _introduction(translated, classifiers):
    if not translated:
        return "" if classifiers else "Not translated yet: the runs show their training only."
    text = translated.test_set.description
    if len(translated.groups) > 1:
        text += f" Differences are from the first system, {next(iter(translated.groups))}."
    corpus = translated.test_set.corpus
    if corpus and corpus.synthetic:
        text += " The corpus is synthetic: these scores say nothing about real translation."
    return text


def _translated(runs, settings):
    """The Translated of those runs that have translations; None where none has."""
    done = {name: run for name, run in runs.items() if run.translations}
    if not done:
        return None
    read = {name: systems.read_system(name, str(run.translations)) for name, run in done.items()}
    tested = _test_set(done, read, settings)
    groups = groups_of(read, done)
    references = tested.references
    of_text = (references.first, references.name, False, references.detokenized_as)
    lines = {name: systems.texts(group[0], *of_text) for name, group in groups.items()}
    for name, group in groups.items():
        systems.warn_of_copied_sources(group[0], lines[name], tested.sources)
    metric = references.metric("bleu", tested.lowercase, tested.tokenize)
    counts = {name: metric.count(texts) for name, texts in lines.items()}
    several = max(map(len, groups.values())) > 1
    tests = significance.TESTS[settings.tests] if len(groups) > 1 and not several else ()
    splits_ = _frequency_splits(tested, settings) if tested.corpus else []
    drawing = {"samples": settings.samples, "trials": settings.trials, "seed": settings.seed}
    outputs = _outputs(groups, lines, tested, done, settings)
    return Translated(tested, groups, metric, lines, counts, splits_, tests, drawing, outputs)


def _test_set(runs, read, settings):
    """The TestSet of all runs: of the corpus that they name, else of files. Raises UserError where they differ."""
    corpora = {name: run.corpus for name, run in runs.items() if settings.references is None and run.corpus}
    if not corpora:
        given = (settings.references, settings.tokenize, settings.sources, settings.lowercase, settings.language)
        return test_set.of_files(read, *given)
    (first, corpus), *others = corpora.items()
    tested = test_set.prepared(corpus)
    for name, other in others:
        if other.lines("raw", other.target) != tested.references.first:
            places = (runs[one].folder or runs[one].translations for one in (name, first))
            raise UserError("{}: has another test set than {}: report on them separately".format(*places))
    return tested


def _outputs(groups, lines, tested, runs, settings):
    """{name of a system: sentences.Output} of the first seeds."""
    metric = tested.references.metric("chrf2", tested.lowercase)
    segment = settings.segmenter(tested.corpus) if settings.segmenter and tested.corpus else None
    found = {}
    for name, (system, *_) in progress(groups.items(), "sentences", "system"):
        run = runs[system.name]
        bins = read_reliability(run.calibration_folder) if run.calibration_folder else None
        before = [row for row in bins or [] if row["when"] == "before" and row["count"]]
        usable = before if before and run.calibrates_translations else None
        found[name] = sentences.output(system, lines[name], metric, segment, usable)
    return found


def _classifiers(runs):
    """{name: [classification.Seed, …]} of the image runs whose predictions `labo classify-report` has written."""
    checkpoints = {name: predictions.checkpoint_of(run.folder) for name, run in runs.items() if run.folder}
    seeds = {
        name: classification.seed_of(checkpoint, "test", "valid")
        for name, checkpoint in checkpoints.items()
        if predictions.path_beside(checkpoint, "test").exists()
    }
    groups = groups_of(seeds, runs)
    if groups:
        classification.check_same_images(groups)
    return groups


def _frequency_splits(tested, settings):
    """[Split] of a prepared corpus; empty where there are fewer sentences than parts."""
    corpus, references = tested.corpus, tested.references.first
    source = corpus.lines("bpe", corpus.source)
    file = corpus.file("bpe", corpus.source)
    bleu.check_counts(source, references, file, corpus.file("raw", corpus.target))
    counts = frequency.read_dictionary(corpus.dictionary)
    unknown = frequency.unknown_tokens(source, counts, file, corpus.dictionary)
    if unknown.share > settings.max_unknown:
        warn(f"{unknown}: the frequency splits mean little")
    if settings.size is not None and 2 * settings.size >= len(source):
        raise UserError(
            f"--size: {settings.size}: three such parts need more sentences than {len(source)}: ask for fewer"
        )
    if len(source) < 3:
        return []
    return frequency.split_by_score(frequency.frequency_scores(source, counts), 3, settings.size)


# sections: each takes (runs, translated, settings), writes its figures and tables, and returns a Section or None


def _runs(runs, translated, settings):
    rows = [list(COLUMNS)]
    read = [read_run_files(run, translated and translated.test_set) for run in runs.values()]
    rows += [[show(run) for show in COLUMNS.values()] for run in read]
    return Section("Runs", tables=[write_table(TextTable("training runs", rows, notes(read)), settings.out, "runs")])


def _curves(runs, _translated, settings):
    logs = {name: read_train_log(run.log) for name, run in runs.items() if run.log}
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


def _scores(_runs, translated, settings):
    if not translated:
        return None
    tested, tables = translated.test_set, []
    kinds = [(["bleu", "chrf2"], tested.references, tested.tokenize), (list(bleu.TOKENIZED), tested.tokens, None)]
    for names, references, tokenize in kinds:
        groups = translated.groups
        if names[0] in bleu.TOKENIZED:  # a plain text has been detokenized: it has no tokens to compare
            groups = {name: group for name, group in groups.items() if group[0].sentences is not None}
        if references is None or not groups:
            continue
        testing = (translated.tests if len(groups) > 1 else (), translated.drawing, tokenize)
        table = score_table(groups, names, references, tested.lowercase, *testing)
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


def _splits(_runs, translated, settings):
    if not translated:
        return None
    corpus, metric, names = translated.test_set.corpus, translated.metric, list(translated.groups)
    wanted = [metric.words(line) for line in translated.references]
    outputs = {name: [metric.words(line) for line in lines] for name, lines in translated.lines.items()}
    lengths = (splits.table_of_lengths(metric, translated.counts, outputs, wanted), "words_by_length")
    if not translated.splits:
        return Section("Length", tables=[write_table(lengths[0], settings.out, lengths[1])])
    parts = splits.scores_by_split(metric, translated.counts, translated.splits, translated.tests, translated.drawing)
    training = words.count_words(metric, corpus.lines("raw", corpus.target, "train"))
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
        lengths,
    ]
    text = (
        "Sentences in descending order of the mean training count of their source subwords (Lu et al. 2023, equation "
        "18), in three parts. Bars show 95% bootstrap intervals where they were asked for."
    )
    return Section("Frequency", text, pictures, [write_table(table, settings.out, name) for table, name in tables])


def _confidence(_runs, translated, settings):
    scored = {n: s for n, s in translated.systems.items() if confidence.has_probabilities(s)} if translated else {}
    if not scored:
        return None
    probabilities = {name: confidence.token_probabilities(system) for name, system in scored.items()}
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


def _calibration(runs, translated, settings):
    return calibration_sections.calibration(runs, translated, settings.out)


def _decoding(runs, _translated, settings):
    return calibration_sections.decoding(runs, settings.out)


def _mbr(_runs, _translated, settings):
    return mbr_section.section(settings.mbr, settings.out)


def _examples(_runs, translated, settings):
    if not translated or not settings.examples or len(translated.groups) < 2:
        return None
    tested = translated.test_set
    shared = (translated.references, tested.sources, tested.lowercase)
    examples = sentences.examples(translated.outputs, *shared, settings.examples)
    first = next(iter(translated.groups))
    text = f"Sentences with the largest differences from {first} in sentence-level chrF2 (in brackets)."
    return Section("Examples", text, examples=examples, legend=True)


def _sentences(_runs, translated, settings):
    if not translated:
        return None
    tested = translated.test_set
    sentences.write_sentences(
        translated.outputs, translated.references, tested.sources, Path(settings.out, "sentences.tsv")
    )
    browser = sentences.browser(
        translated.outputs, translated.references, tested.sources, translated.splits, tested.lowercase
    )
    return Section("Sentences", _about_tokens(translated.outputs), browser=browser, legend=True)


def _about_tokens(outputs):
    calibrated = [name for name, one in outputs.items() if one.calibration is not None]
    text = "Every sentence of the test set, each token shaded by its probability; its value shows on hover. "
    if calibrated:
        text += f"Of {', '.join(calibrated)} it is calibrated: the share of tokens of such a probability that were "
        text += "right on the calibration data, by the reliability diagram above. "
    dark = {name: sum(scored.probabilities is None for scored in one.scored) for name, one in outputs.items()}
    lacking = [
        f"{'all' if count == len(outputs[name].scored) else count} of {name}" for name, count in dark.items() if count
    ]
    if lacking:
        text += f"Not shaded, as the probabilities of the tokens are not known: {', '.join(lacking)}."
    return text
