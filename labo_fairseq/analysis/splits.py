"""Scores by the training frequency of the source: Table 4 of LABO, and word F1 by the frequency of the word.

  labo splits --dict bin/dict.de.txt --source bpe/test.de --reference raw/test.en \\
      --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt --train raw/train.en
  labo splits --dict bin/dict.de.txt --source bpe/valid.de --reference raw/valid.en --size 2400 --write-splits DIR

Each sentence of the test set gets the mean training count of its source subwords (equation 18), from fairseq's
dictionary; the sentences in descending order of it are split into three equal parts, or into parts of --size. BLEU is
given for each, with the difference from the first system and half of its 95% bootstrap interval. A generate log shows
no subwords of the source where generation removed them, so --source is a file of its own.

With --train, the target side of the training text, there are two more tables: F1 of words by their training count (the
row 0 holds the words that training never saw), and scores by the length of the reference. Words are those of BLEU's own
tokenization.

Prints TSV tables, each under a line that begins with "#".
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_aside
from ..measures import significance
from ..progress import progress
from ..records.tables import TextTable, shown
from . import words


@dataclass(frozen=True)
class Part:
    """Scores of the systems on some sentences; `tests` is a list of Significance, or None."""

    name: str
    ids: tuple[int, ...]
    scores: list
    tests: list | None


def scores_by_split(metric, counts, splits, tests=(), settings=None):
    """[Part]: all sentences, then each split.

    metric: a bleu.Metric; counts: {system: (sentences, statistics)}, the first is the baseline; tests and settings: as
    of significance.paired. The statistics of a partition add up to those of all sentences.
    """
    if not counts:
        return []
    total = len(next(iter(counts.values())))
    pieces = [("all", tuple(range(total))), *((split.name, split.ids) for split in splits)]
    parts = []
    for name, ids in progress(pieces, "splits", "split"):
        rows = [counted[np.array(ids)] for counted in counts.values()]
        significances = significance.paired(metric, rows, tests, **(settings or {})) if tests else None
        parts.append(Part(name, ids, [metric.score(part).value for part in rows], significances))
    return parts


def table_of_splits(splits, sentences, by="source", score="mean"):
    """Sizes and ranges of the score."""
    rows = [["split", "sentences", "highest score", "lowest score"]]
    rows += [[s.name, str(len(s.ids)), f"{s.highest:.2f}", f"{s.lowest:.2f}"] for s in splits]
    left = sentences - sum(len(split.ids) for split in splits)
    notes = [f"{left} of {sentences} sentences, those of the lowest scores, belong to no split"] if left else []
    return TextTable(f"splits by training frequency of the {by} ({score} count of its tokens)", rows, notes)


def table_of_scores(parts, names, metric, settings):
    """The layout of Table 4 of LABO: a row per system, a column per split, then the differences."""
    rows = [["system", *(part.name for part in parts)]]
    rows += [[name, *(f"{part.scores[i]:.2f}" for part in parts)] for i, name in enumerate(names)]
    layouts = [("", "difference", "+.2f"), (" ±", "difference_interval", ".2f")]
    layouts += [(" p (bootstrap)", "p_bootstrap", ".4f"), (" p (randomization)", "p_randomization", ".4f")]
    for i, name in enumerate(names[1:], 1):
        if parts[0].tests is None:
            rows.append([f"{name} − {names[0]}", *(f"{p.scores[i] - p.scores[0]:+.2f}" for p in parts)])
            continue
        for label, field, layout in layouts:
            values = [getattr(part.tests[i], field) for part in parts]
            if values[0] is not None:
                rows.append([f"{name} − {names[0]}{label}", *(shown(value, layout) for value in values)])
    notes = [f"{metric.heading}: {metric.signature}"]
    if parts[0].tests and parts[0].tests[0].interval is not None:
        notes.append(f"±: 95%; paired bootstrap of {settings['samples']} samples, seed {settings['seed']}")
    return TextTable(f"{metric.heading} by split", rows, notes)


def tables_of_words(metric, counts, lines, references, training):
    """[TextTable]: F1 by training count of the word; scores by length of the reference.

    counts: {system: statistics}; lines: {system: texts}; training: {word: count}.
    """
    wanted = [metric.words(line) for line in references]
    outputs = {name: [metric.words(line) for line in texts] for name, texts in lines.items()}
    matches = {name: words.by_frequency(texts, wanted, training) for name, texts in outputs.items()}
    return [table_of_words(matches), table_of_lengths(metric, counts, outputs, wanted)]


def table_of_words(matches_of):
    """F1 by training count of the word. matches_of: {system: [words.Matches]}."""
    rows = [["training count", "reference words", *(f"{n} {what}" for n in matches_of for what in ("words", "F1"))]]
    for i in range(len(words.FREQUENCIES)):
        row = [words.bucket_name(words.FREQUENCIES, i), str(next(iter(matches_of.values()))[i].reference)]
        for matches in matches_of.values():
            row += [str(matches[i].output), _percent(matches[i].f1)]
        rows.append(row)
    note = "a word is matched wherever it stands in the sentence; words: as BLEU's tokenization splits them"
    return TextTable("word F1 (%) by training count of the word; 0: never seen in training", rows, [note])


def table_of_lengths(metric, counts, outputs, wanted):
    """BLEU and word F1 by length of the reference. outputs: {system: words of each sentence}; wanted: references."""
    matches_of = {name: words.by_length(texts, wanted) for name, texts in outputs.items()}
    rows = [["words of reference", "sentences", *(f"{n} {what}" for n in matches_of for what in ("BLEU", "F1"))]]
    for i, ids in enumerate(words.sentences_by_length(wanted)):
        if not len(ids):
            continue
        row = [words.bucket_name(words.LENGTHS, i), str(len(ids))]
        for name, matches in matches_of.items():
            row += [f"{metric.score(counts[name][ids]).value:.2f}", _percent(matches[i].f1)]
        rows.append(row)
    return TextTable("scores by length of the reference", rows, [f"{metric.heading}: {metric.signature}"])


def write_splits(folder, splits, source, references):
    """DIR/SPLIT.source and DIR/SPLIT.reference, line by line the same sentence; existing files are replaced.

    references: of each its lines; the second is DIR/SPLIT.reference2, and so on.
    """
    texts = {"source": source}
    texts |= {f"reference{number if number > 1 else ''}": lines for number, lines in enumerate(references, 1)}
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in splits:
            for kind, lines in texts.items():
                with write_aside(folder / f"{split.name}.{kind}") as stream:
                    stream.writelines(lines[i] + "\n" for i in split.ids)
    except OSError as error:
        raise UserError(f"--write-splits: {folder}: {error.strerror}: give a folder that can be written") from error


def _percent(share):
    return "–" if share is None else f"{100 * share:.1f}"
