"""What two systems do differently: n-grams, single sentences, lengths, copies and repetitions (as compare-mt does).

  labo compare --reference raw/test.en --source raw/test.de \\
      --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt

"n-grams" lists those that one system gets right more often than the other, by (m1 + 1) / (m1 + m2 + 2) where m1 and m2
are the matches with the references (compare-mt's score: 0.5 where both are equal). "sentences" lists the largest
differences in sentence-level chrF2. An n-gram is "repeated" if it stands earlier in the same sentence, and "copied" if
it stands in the source sentence; the references are given beside the systems, because some of both is right. Words are
those of BLEU's own tokenization.

Prints TSV tables, each under a line that begins with "#".
"""

from collections import Counter

import numpy as np

from ..records.tables import TextTable, shown

ORDERS = (1, 2, 3, 4)
# output minus reference, in words: upper ends of the buckets, the last is open
LENGTH_DIFFERENCES = ((-3, "3 or more shorter"), (-1, "1-2 shorter"), (0, "equal"), (2, "1-2 longer"))
LONGER = "3 or more longer"


def ngrams(words, order):
    """The n-grams of a sentence, as a list of tuples."""
    return list(zip(*(words[start:] for start in range(order)), strict=False))


def repeated_share(sentences, order):
    """Share of the n-grams that stand earlier in the same sentence; None where there are no n-grams."""
    counts = [Counter(ngrams(words, order)) for words in sentences]
    total = sum(map(Counter.total, counts))
    return 1 - sum(map(len, counts)) / total if total else None


def copied_share(sentences, sources, order):
    """Share of the n-grams that stand in the source sentence, each as often as it stands there; None as above."""
    matched = total = 0
    for words, source in zip(sentences, sources, strict=True):
        counts = Counter(ngrams(words, order))
        total += counts.total()
        matched += (counts & Counter(ngrams(source, order))).total()
    return matched / total if total else None


def matched_ngrams(outputs, wanted):
    """Counter of the n-grams (orders 1 to 4) that a system shares with the references, clipped in each sentence."""
    matches = Counter()
    for words, reference in zip(outputs, wanted, strict=True):
        for order in ORDERS:
            matches.update(Counter(ngrams(words, order)) & Counter(ngrams(reference, order)))
    return matches


def ngram_differences(first, second, top):
    """[(n-gram, matches of first, of second, score)]: what the first system gets right more often, best first.

    first, second: of `matched_ngrams`. Equal scores: more matches first, then in alphabetical order.
    """
    scored = []
    for ngram in first:
        ours, theirs = first[ngram], second[ngram]
        if ours > theirs:
            scored.append((ngram, ours, theirs, (ours + 1) / (ours + theirs + 2)))
    scored.sort(key=lambda row: (-row[3], -row[1], row[0]))
    return scored[:top]


def wins_and_losses(scores, baseline, top):
    """(ids won, ids lost): the sentences with the largest differences from the baseline, at most `top` each."""
    gains = np.array(scores) - np.array(baseline)
    order = np.argsort(-gains, kind="stable")
    won = [int(i) for i in order[:top] if gains[i] > 0]
    lost = [int(i) for i in order[::-1][:top] if gains[i] < 0]
    return won, lost


def summary(metric, lines, outputs, wanted, sources=None):
    """TextTable of BLEU, lengths, repeated and copied n-grams.

    metric: a bleu.Metric; lines: {system: translations}; outputs: {system: words of each translation}; wanted: words of
    each reference; sources: words of each source sentence, or None.
    """
    heading = ["system", metric.heading, "words", "length ratio", *(f"repeated {n}-grams %" for n in ORDERS[1:])]
    if sources:
        heading += [f"copied {n}-grams %" for n in ORDERS]
    total = sum(map(len, wanted))
    rows = [heading]
    for name, sentences in {**outputs, "reference": wanted}.items():
        score = metric.score(metric.count(lines[name])).value if name in lines else None
        words = sum(map(len, sentences))
        row = [name, shown(score, ".2f"), str(words), f"{words / total:.3f}" if total else "–"]
        row += [_percent(repeated_share(sentences, order)) for order in ORDERS[1:]]
        if sources:
            row += [_percent(copied_share(sentences, sources, order)) for order in ORDERS]
        rows.append(row)
    return TextTable("systems", rows, [f"{metric.heading}: {metric.signature}"])


def lengths(outputs, wanted):
    """TextTable of how many translations are shorter or longer than the reference; arguments as of `summary`."""
    rows = [["words, beside the reference", *outputs]]
    counted = {}
    for name, sentences in outputs.items():
        differences = [len(words) - len(reference) for words, reference in zip(sentences, wanted, strict=True)]
        counted[name] = Counter(map(_length_label, differences))
    for label in [*(label for _, label in LENGTH_DIFFERENCES), LONGER]:
        rows.append([label, *(str(counts[label]) for counts in counted.values())])
    return TextTable("sentences by length of the translation", rows)


def _length_label(difference):
    return next((label for end, label in LENGTH_DIFFERENCES if difference <= end), LONGER)


def ngram_tables(outputs, wanted, top):
    """[TextTable]: n-grams that either of two systems gets right more often; arguments as of `summary`."""
    (first, ours), (second, theirs) = ((name, matched_ngrams(words, wanted)) for name, words in outputs.items())
    tables = []
    for name, mine, other, their in ((second, theirs, first, ours), (first, ours, second, theirs)):
        rows = [["n-gram", f"matches of {name}", f"matches of {other}", "score"]]
        for ngram, matches, others, score in ngram_differences(mine, their, top):
            rows.append([" ".join(ngram), str(matches), str(others), f"{score:.3f}"])
        tables.append(TextTable(f"n-grams that {name} gets right more often", rows))
    return tables


def sentence_tables(lines, references, top, lowercase=False):
    """[TextTable]: sentences with the largest differences in chrF2.

    lines: {system: translations}, of two systems; references: a References, the first of which is shown.
    """
    metric = references.metric("chrf2", lowercase)
    (first, baseline), (second, scores) = ((name, metric.sentence_scores(texts)) for name, texts in lines.items())
    tables = []
    for label, ids in zip(("better", "worse"), wins_and_losses(scores, baseline, top), strict=True):
        rows = [["id", f"chrF2 of {first}", f"chrF2 of {second}", "reference", first, second]]
        for i in ids:
            texts = [references.first[i], lines[first][i], lines[second][i]]
            rows.append([str(i), f"{baseline[i]:.2f}", f"{scores[i]:.2f}", *texts])
        tables.append(TextTable(f"sentences where {second} is {label}", rows, [f"chrF2: {metric.signature}"]))
    return tables


def _percent(share):
    return "–" if share is None else f"{100 * share:.2f}"
