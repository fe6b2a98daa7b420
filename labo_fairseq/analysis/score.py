"""A table of scores: several systems, several metrics, training seeds or significance tests beside them."""

import functools

from ..errors import UserError
from ..measures import significance
from ..progress import progress
from ..records.tables import TextTable, shown
from . import bleu, systems
from .references import of_lines
from .tokenization import warn_of_words


class Table:
    """Scores of several systems under several metrics.

    `seeds` is {system: number of files}; `scores` is {heading: {"signature", "seeds": [Seeds],
    "tests": [Significance] or None}}, in the order of the systems.
    """

    def __init__(self, named, notes):
        self.seeds = {name: len(group) for name, group in named.items()}
        self.files = {name: [system.file for system in group] for name, group in named.items()}
        self.scores = {}
        self.notes = notes

    def rows(self, width=2):
        """Heading and one row of strings per system; "–" stands for what has no value."""
        columns = self._leading()
        for heading, entry in self.scores.items():
            for label, cells in _columns(entry, width, self.has_seeds):
                columns.append([f"{heading} {label}".strip(), *cells])
        return [list(row) for row in zip(*columns, strict=True)]

    @property
    def has_seeds(self):
        """Whether any system has several training seeds."""
        return max(self.seeds.values()) > 1

    def by_metric(self, width=2):
        """One TextTable per metric, with its signature below."""
        tables = []
        for heading, entry in self.scores.items():
            columns = self._leading()
            columns += [[label or "score", *cells] for label, cells in _columns(entry, width, self.has_seeds)]
            rows = [list(row) for row in zip(*columns, strict=True)]
            tables.append(TextTable(heading, rows, [entry["signature"], *self.notes]))
        return tables

    def as_tsv(self, width=2):
        """The table and below it the signatures."""
        lines = ["\t".join(row) for row in self.rows(width)]
        lines += [f"# {heading}: {entry['signature']}" for heading, entry in self.scores.items()]
        return "\n".join(lines + [f"# {note}" for note in self.notes])

    def _leading(self):
        names = ["system", *self.seeds]
        return [names, ["seeds", *map(str, self.seeds.values())]] if self.has_seeds else [names]


def score_table(named, names, references, lowercase=False, tests=(), settings=None, tokenize=None, others=None):
    """The Table of systems {name: [System, …]} under metrics (names of bleu.METRICS, all tokenized or all not).

    others: {name: function of References and lowercase to a metric as bleu.Metric}, of further names.

    references: a References, or None for the T- lines of each log (tokenized metrics only). tests and settings: as of
    significance.paired; where any system has several seeds, the seeds are tested and `tests` must be empty. tokenize:
    of BLEU, None for 13a. Progress goes to standard error. Raises UserError on bad input.
    """
    several = max(len(group) for group in named.values()) > 1
    if several and tests:
        raise UserError("--significance: compares single translations: leave it out where a system has several seeds")
    if tests and len(named) < 2 and tests != ("bs",):
        raise UserError("--significance: randomization compares two systems: give another --system, or bootstrap")
    tokenized = names[0] in bleu.TOKENIZED
    if references is not None:
        warn_of_words([name for name in names if name in bleu.METRICS], references.first, references.name)
    groups = [[_scored_texts(system, references, tokenized) for system in g] for g in named.values()]
    makers = {name: functools.partial(_sacre_metric, name, tokenize) for name in names} | (others or {})
    table = Table(named, _notes(several, tests, settings))
    for name in progress(names, "scores", "metric"):
        heading, entry = _entry(makers[name], groups, lowercase, tests, settings or {})
        table.scores[heading] = entry
    return table


def _scored_texts(system, references, tokenized):
    """(hypotheses, References) of one translation."""
    if references is None:
        references = of_lines(systems.own_targets(system), f"the T- lines of {system.file}")
    first, name, language = references.first, references.name, references.detokenized_as
    return systems.texts(system, first, name, tokenized, language), references


def _sacre_metric(name, tokenize, references, lowercase):
    return references.metric(name, lowercase, tokenize)


def _entry(make, groups, lowercase, tests, settings):
    metrics, counts = {}, []
    for group in groups:
        counts.append([])
        for hypotheses, references in group:
            key = tuple(map(tuple, references.texts))
            if key not in metrics:
                metrics[key] = make(references, lowercase)
            counts[-1].append(metrics[key].count(hypotheses))
    metric = next(iter(metrics.values()))
    values = [[metric.score(rows).value for rows in group] for group in counts]
    significances = None
    if tests:
        if len(metrics) > 1:
            raise UserError("--significance: the logs have different T- lines: give one --reference for all of them")
        significances = significance.paired(metric, [group[0] for group in counts], tests, **settings)
    return metric.heading, {
        "signature": metric.signature,
        "seeds": significance.across_seeds(values),
        "tests": significances,
    }


def _columns(entry, width, several):
    """[(label, cells)] of one metric; the score itself has no label."""
    seeds, tests = entry["seeds"], entry["tests"]
    columns = [("", [f"{s.mean:.{width}f}" for s in seeds])]
    if several:
        layouts = {"std": ("std", ""), "difference": ("difference", "+"), "p_welch": ("p (Welch)", None)}
        return columns + _shown_columns(seeds, layouts, width)
    layouts = {
        "interval": ("±", ""),
        "difference": ("difference", "+"),
        "difference_interval": ("difference ±", ""),
        "p_bootstrap": ("p (bootstrap)", None),
        "p_randomization": ("p (randomization)", None),
    }
    of_tests = _shown_columns(tests or [], layouts, width)
    return columns + [(label, cells) for label, cells in of_tests if set(cells) - {"–"}]


def _shown_columns(values, layouts, width):
    """[(label, cells)] of the fields in `layouts`, {field: (label, sign)}; a sign of None means a p-value."""
    columns = []
    for field, (label, sign) in layouts.items():
        layout = ".4f" if sign is None else f"{sign}.{width}f"
        columns.append((label, [shown(getattr(value, field), layout) for value in values]))
    return columns


def _notes(several, tests, settings):
    notes = []
    if several:
        notes.append("mean and sample standard deviation over training seeds; p of Welch's two-sided t-test")
    if "bs" in tests:
        notes.append(f"±: 95%; paired bootstrap of {settings['samples']} samples, seed {settings['seed']}")
    if "ar" in tests:
        notes.append(f"approximate randomization of {settings['trials']} trials, seed {settings['seed']}")
    return notes
