"""BLEU and chrF2 by sacreBLEU itself, each with its signature.

sacreBLEU's Python interface cuts the longer of two texts silently; every function here compares the counts first.
"""

import re
from dataclasses import dataclass

from sacrebleu.metrics import BLEU, CHRF

from ..errors import UserError

_TOKENIZED = re.compile(r"\s[.,](?:\s|$)|&(?:amp|apos|quot|lt|gt|#\d+);|@-@")
_TOKENIZED_SHARE = 0.1  # of the lines; detokenized text has a stray " ." now and then


@dataclass(frozen=True)
class Score:
    """A corpus score: its name, its value from 0 to 100 and sacreBLEU's signature."""

    metric: str
    value: float
    signature: str


def corpus_bleu(hypotheses, references, lowercase=False):
    """BLEU of detokenized sentences (sacreBLEU's 13a tokenization), one reference each.

    Raises UserError where the counts differ or there are no sentences.
    """
    # force: sacreBLEU's own warning about tokenized text stays off, `looks_tokenized` is for that
    return _score("BLEU", BLEU(lowercase=lowercase, force=True), hypotheses, references)


def chrf(hypotheses, references, lowercase=False):
    """chrF2 of detokenized sentences, one reference each. Raises UserError as `corpus_bleu`."""
    return _score("chrF2", CHRF(lowercase=lowercase), hypotheses, references)


def tokenized_bleu(hypotheses, references, lowercase=False):
    """BLEU of texts that are tokenized already, split at spaces: what fairseq prints as BLEU4.

    Comparable only between systems with the same tokenization. Without smoothing, as fairseq: 0 where an n-gram order
    has no match. Raises UserError as `corpus_bleu`.
    """
    metric = BLEU(lowercase=lowercase, force=True, tokenize="none", smooth_method="none")
    return _score("BLEU (tokenized)", metric, hypotheses, references)


def remove_subwords(lines):
    """Lines without the marks of sentencepiece (`▁`) or subword-nmt (`@@ `), as --remove-bpe of fairseq joins them.

    Text without such marks comes back as it is.
    """
    # every sentencepiece line holds the mark; a text with a stray U+2581 in it must keep its spaces
    if 2 * sum("▁" in line for line in lines) > len(lines):
        return [line.replace(" ", "").replace("▁", " ").strip() for line in lines]
    return [(line + " ").replace("@@ ", "").rstrip() if "@@" in line else line for line in lines]


def looks_tokenized(lines):
    """Whether text that should be detokenized is tokenized: spaces before stops, Moses entities such as &apos;."""
    return sum(_TOKENIZED.search(line) is not None for line in lines) > _TOKENIZED_SHARE * len(lines)


def check_counts(hypotheses, references, hypothesis_name="hypotheses", reference_name="references"):
    """Raises UserError where the two differ in length, with both counts and the first line without a partner."""
    if len(hypotheses) != len(references):
        first = min(len(hypotheses), len(references))
        raise UserError(
            f"{hypothesis_name}: {len(hypotheses)} sentences, but {reference_name} has {len(references)}: the first "
            f"without a partner is id {first} (line {first + 1})"
        )
    if not hypotheses:
        raise UserError(f"{hypothesis_name}: no sentences: give a file that is not empty")


def _score(name, metric, hypotheses, references):
    check_counts(hypotheses, references)
    # the sacrebleu command strips line ends and trailing spaces too
    stripped = [[line.rstrip() for line in lines] for lines in (hypotheses, references)]
    value = metric.corpus_score(stripped[0], [stripped[1]]).score
    return Score(name, value, str(metric.get_signature()))
