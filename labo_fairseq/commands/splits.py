"""Scores by the training frequency of the source: Table 4 of LABO, and word F1 by the frequency of the word.

  labo splits --dict bin/dict.de.txt --source bpe/test.de --reference raw/test.en \
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

import json
from dataclasses import asdict

from ..analysis import bleu, systems, words
from ..analysis.splits import scores_by_split, table_of_scores, table_of_splits, tables_of_words, write_splits
from ..errors import UserError
from ..measures import significance
from ..records.tables import print_tables
from .arguments import (
    add_reference_arguments,
    add_significance_arguments,
    add_split_arguments,
    check_significance_arguments,
    check_split_arguments,
    references_of,
    splits_of,
)


def add_arguments(parser):
    """Declare the arguments of `labo splits`."""
    add_reference_arguments(parser, required=True)
    parser.add_argument(
        "--system", metavar="NAME=FILE", action="append", default=[], help="translations to score; can be repeated"
    )
    add_split_arguments(parser, required=True)
    parser.add_argument("--train", metavar="FILE", help="target side of the training text, for the tables of words")
    parser.add_argument(
        "--write-splits",
        metavar="DIR",
        help="also write DIR/{most,medium,least}.{source,reference}; further references as .reference2, …",
    )
    parser.add_argument("--tokenized", action="store_true", help="tokenized BLEU, against a tokenized --reference")
    parser.add_argument("--lowercase", action="store_true", help="lower-case both sides first")
    add_significance_arguments(parser, default="bootstrap")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of the tables")


def run(args):
    """Print the tables; returns 0. Raises UserError on bad input."""
    check_significance_arguments(args)
    check_split_arguments(args)
    references, tokenize = references_of(args, args.tokenized)
    source = systems.read_lines(args.source, "the source text in subwords")
    bleu.check_counts(source, references.first, args.source, references.name)
    splits = splits_of(*_scored_side(args, source, references), args)
    if args.write_splits:
        write_splits(args.write_splits, splits, source, references.texts)
    named = {name: group[0] for name, group in systems.read_systems(args.system).items()}
    first = (references.first, references.name, args.tokenized, references.detokenized_as)
    lines = {name: systems.texts(system, *first) for name, system in named.items()}
    metric = references.metric("tokenized" if args.tokenized else "bleu", args.lowercase, tokenize)
    counts = {name: metric.count(texts) for name, texts in lines.items()}
    tests = significance.TESTS[args.significance] if len(named) > 1 else ()
    settings = {"samples": args.samples, "trials": args.trials, "seed": args.seed}
    parts = scores_by_split(metric, counts, splits, tests, settings)
    word_tables = []
    if args.train and named:
        training = words.count_words(metric, bleu.remove_subwords(systems.read_lines(args.train, "training text")))
        word_tables = tables_of_words(metric, counts, lines, references.first, training)
        if references.more:
            word_tables[0].notes.append(f"words are compared with the first reference, {references.name}")
    if args.json:
        print(_as_json(args, splits, parts, list(named), metric, word_tables))
        return 0
    tables = [table_of_splits(splits, len(source), args.by, args.score)]
    if named:
        tables.append(table_of_scores(parts, list(named), metric, settings))
    print_tables([*tables, *word_tables])
    return 0


def _scored_side(args, source, references):
    """(subword sentences, their file) of the side that --by names."""
    if args.by == "source":
        return source, args.source
    if args.target is None:
        raise UserError("--target: missing: --by target needs the reference text in subwords")
    target = systems.read_lines(args.target, "the reference text in subwords")
    bleu.check_counts(target, references.first, args.target, references.name)
    return target, args.target


def _as_json(args, splits, parts, names, metric, word_tables):
    content = {
        "score": args.score,
        "by": args.by,
        "splits": [asdict(split) for split in splits],
        "metric": metric.heading,
        "signature": metric.signature,
        "systems": names,
        "scores": [
            {
                "split": part.name,
                "scores": dict(zip(names, part.scores, strict=True)),
                "significance": dict(zip(names, map(asdict, part.tests), strict=True)) if part.tests else None,
            }
            for part in parts
        ],
        "words": [{"title": t.title, "columns": t.rows[0], "rows": t.rows[1:]} for t in word_tables],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
