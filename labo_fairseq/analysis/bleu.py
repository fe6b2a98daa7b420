"""Metrics of sacreBLEU, each with its signature, from statistics that are counted once per sentence.

The statistics add up: a corpus score, that of a split and those of bootstrap samples all come from the same counts, so
no text is tokenized twice. sacreBLEU's Python interface cuts the longer of two texts silently; everything here compares
the counts first.
"""

import re
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from ..errors import UserError

_TOKENIZED = re.compile(r"\s[.,](?:\s|$)|&(?:amp|apos|quot|lt|gt|#\d+);|@-@")
_TOKENIZED_SHARE = 0.1  # of the lines; detokenized text has a stray " ." now and then
# ASCII: the Perl line of fairseq's scripts/compound_split_bleu.sh sees bytes, where no byte of UTF-8 is a space
_COMPOUND = re.compile(r"(\S)-(\S)", re.ASCII)


@dataclass(frozen=True)
class Score:
    """A corpus score: its name, its value (from 0 to 100; TER may exceed it) and sacreBLEU's signature."""

    metric: str
    value: float
    signature: str


def _tokenized(lowercase, references):
    # without smoothing, as fairseq: 0 where an n-gram order has no match
    return BLEU(lowercase=lowercase, force=True, tokenize="none", smooth_method="none", references=references)


def _compound(lowercase, references):
    metric = _tokenized(lowercase, None)
    metric.tokenizer, metric.tokenizer_signature = split_compounds, "compound-split"
    metric._ref_cache = metric._cache_references(references)
    return metric


# name of the option: (heading, sacreBLEU's metric for a case and references). force: sacreBLEU's own warning about
# tokenized text stays off, `looks_tokenized` is for that. TER ignores case by default, as the sacrebleu command.
METRICS = {
    "bleu": ("BLEU", lambda lc, references: BLEU(lowercase=lc, force=True, references=references)),
    "chrf2": ("chrF2", lambda lc, references: CHRF(lowercase=lc, references=references)),
    "chrf++": ("chrF2++", lambda lc, references: CHRF(lowercase=lc, word_order=2, references=references)),
    "ter": ("TER", lambda lc, references: TER(references=references)),
    "tokenized": ("BLEU (tokenized)", _tokenized),
    "compound": ("BLEU (tokenized, compounds split)", _compound),
}
DETOKENIZED = ("bleu", "chrf2", "chrf++", "ter")
TOKENIZED = ("tokenized", "compound")


class Metric:
    """A metric with its references, one for each sentence. `heading` and `signature` name it in tables.

    "tokenized" and "compound" take texts that are split into tokens at spaces already: what fairseq prints as BLEU4,
    and the same after splitting compounds at hyphens (Vaswani et al. 2017). They compare systems of one tokenization
    only.
    """

    def __init__(self, name, references, lowercase=False):
        if not references:
            raise UserError("references: no sentences: give a file that is not empty")
        self.heading, make = METRICS[name]
        self.references = len(references)
        # the sacrebleu command strips line ends and trailing spaces too
        self.sacrebleu = make(lowercase, [[line.rstrip() for line in references]])

    def count(self, hypotheses):
        """Statistics per sentence, a float64 array (sentences, statistics): sums over sentences are exact.

        Raises UserError where there are more or fewer hypotheses than references.
        """
        if len(hypotheses) != self.references:
            check_counts(hypotheses, range(self.references))
        # the one step that sacreBLEU does for corpus_score, but offers under a private name only
        rows = self.sacrebleu._extract_corpus_statistics([line.rstrip() for line in hypotheses], None)
        return np.array(rows, dtype=np.float64)

    def score(self, counts):
        """The Score of the sentences whose counts these are."""
        value = self.sacrebleu._compute_score_from_stats(counts.sum(axis=0)).score
        return Score(self.heading, float(value), self.signature)

    def sentence_scores(self, hypotheses):
        """The value of each sentence by itself. Meant for chrF and TER: BLEU of one sentence is mostly 0."""
        return [self.score(row[None]).value for row in self.count(hypotheses)]

    def words(self, line):
        """The words of a line as BLEU counts them: split by the metric's tokenizer, in its case."""
        return self.sacrebleu._preprocess_segment(line).split()

    @property
    def signature(self):
        """sacreBLEU's signature, say nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0."""
        return str(self.sacrebleu.get_signature())


def split_compounds(line):
    """`well-known` as `well ##AT##-##AT## known`, as fairseq's compound_split_bleu.sh (Vaswani et al. 2017)."""
    return _COMPOUND.sub(r"\1 ##AT##-##AT## \2", line)


def corpus_bleu(hypotheses, references, lowercase=False):
    """BLEU of detokenized sentences (sacreBLEU's 13a tokenization), one reference each.

    Raises UserError where the counts differ or there are no sentences.
    """
    return _score("bleu", hypotheses, references, lowercase)


def chrf(hypotheses, references, lowercase=False):
    """chrF2 of detokenized sentences, one reference each. Raises UserError as `corpus_bleu`."""
    return _score("chrf2", hypotheses, references, lowercase)


def tokenized_bleu(hypotheses, references, lowercase=False):
    """BLEU of texts that are tokenized already, split at spaces: what fairseq prints as BLEU4.

    Comparable only between systems with the same tokenization. Without smoothing, as fairseq: 0 where an n-gram order
    has no match. Raises UserError as `corpus_bleu`.
    """
    return _score("tokenized", hypotheses, references, lowercase)


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


def _score(name, hypotheses, references, lowercase):
    check_counts(hypotheses, references)
    metric = Metric(name, references, lowercase)
    return metric.score(metric.count(hypotheses))
