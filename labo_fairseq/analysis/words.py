"""How well words are translated: F1 by the training frequency of the word, and scores by the length of the sentence.

A word is matched as often as it stands in both the translation and the reference of a sentence, wherever it stands, as
in compare-mt (Neubig et al. 2019). Frequencies come from the training text, not from the test set.
"""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..progress import progress

# lower ends of the buckets; 0 is a word that training never saw
FREQUENCIES = (0, 1, 2, 3, 4, 5, 10, 100, 1000)
LENGTHS = (0, 10, 20, 30, 40, 50, 60)


@dataclass
class Matches:
    """Words of one bucket: in the references, in the translations, and in both."""

    reference: int = 0
    output: int = 0
    matched: int = 0

    @property
    def f1(self):
        """Harmonic mean of precision and recall, in [0, 1]; None where there are no words."""
        words = self.reference + self.output
        return 2 * self.matched / words if words else None


def count_words(metric, lines):
    """Counter of the words of a text, as the metric (a bleu.Metric) splits it. Shows its progress."""
    counts = Counter()
    for line in progress(lines, "training words", "line"):
        counts.update(metric.words(line))
    return counts


def by_frequency(hypotheses, references, training):
    """[Matches] of one system, one per bucket of FREQUENCIES.

    hypotheses, references: lists of words per sentence; training: {word: count}.
    """
    return _bucketed(hypotheses, references, len(FREQUENCIES), lambda _, word: bucket(FREQUENCIES, training[word]))


def by_length(hypotheses, references):
    """[Matches] of one system, one per bucket of LENGTHS (words of the reference)."""
    lengths = [bucket(LENGTHS, len(words)) for words in references]
    return _bucketed(hypotheses, references, len(LENGTHS), lambda sentence, _: lengths[sentence])


def sentences_by_length(references):
    """One array of ids per bucket of LENGTHS."""
    lengths = np.array([bucket(LENGTHS, len(words)) for words in references])
    return [np.flatnonzero(lengths == i) for i in range(len(LENGTHS))]


def bucket(edges, value):
    """Number of the last edge that is not above the value."""
    return bisect_right(edges, value) - 1


def bucket_name(edges, i):
    """`4`, `5-9` or `1000+`."""
    if i == len(edges) - 1:
        return f"{edges[i]}+"
    last = edges[i + 1] - 1
    return str(edges[i]) if last == edges[i] else f"{edges[i]}-{last}"


def _bucketed(hypotheses, references, buckets, bucket_of):
    of_bucket = [Matches() for _ in range(buckets)]
    for sentence, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        output, wanted = Counter(hypothesis), Counter(reference)
        for word in output.keys() | wanted.keys():
            matches = of_bucket[bucket_of(sentence, word)]
            matches.reference += wanted[word]
            matches.output += output[word]
            matches.matched += min(output[word], wanted[word])
    return of_bucket
