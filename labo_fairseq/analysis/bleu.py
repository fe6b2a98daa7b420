"""Metrics of sacreBLEU, each with its signature, from statistics that are counted once per sentence.

The statistics add up: a corpus score, that of a split and those of bootstrap samples all come from the same counts, so
no text is tokenized twice. sacreBLEU's Python interface cuts the longer of two texts silently; everything here compares
the counts first.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from ..compat.install import install_command
from ..errors import UserError
from ..measures.sacre import TOKENIZERS, SentenceStatistics

_TOKENIZED = re.compile(r"\s[.,](?:\s|$)|&(?:amp|apos|quot|lt|gt|#\d+);|@-@")
_TOKENIZED_SHARE = 0.1  # of the lines; detokenized text has a stray " ." now and then
# ASCII: the Perl line of fairseq's scripts/compound_split_bleu.sh sees bytes, where no byte of UTF-8 is a space
_COMPOUND = re.compile(r"(\S)-(\S)", re.ASCII)
# subword-nmt marks the end of a piece, so that a mark follows some character
_JOINT = re.compile(r"(?<=\S)@@(?: |$)")
_JOINTS_SHARE = 0.01  # of the lines; a text in subwords has more, plain text with a literal `@@ ` fewer

ANOTHER = ", or choose another tokenizer"  #: how the message about a missing tokenizer ends


@dataclass(frozen=True)
class Score:
    """A corpus score: its name, its value (from 0 to 100; TER may exceed it) and sacreBLEU's signature."""

    metric: str
    value: float
    signature: str


def _bleu(lowercase, references, tokenize):
    return BLEU(lowercase=lowercase, force=True, tokenize=tokenize, references=references)


def _tokenized(lowercase, references, _tokenize):
    # without smoothing, as fairseq: 0 where an n-gram order has no match
    return BLEU(lowercase=lowercase, force=True, tokenize="none", smooth_method="none", references=references)


def _compound(lowercase, references, _tokenize):
    metric = _tokenized(lowercase, [[split_compounds(line) for line in lines] for lines in references], None)
    metric.tokenizer_signature = "compound-split"
    return metric


# name of the option: (heading, sacreBLEU's metric for a case, references, tokenizer). force: sacreBLEU's own warning
# about tokenized text stays off, `looks_tokenized` is for that. TER ignores case by default, as the sacrebleu command.
METRICS = {
    "bleu": ("BLEU", _bleu),
    "chrf2": ("chrF2", lambda lc, references, _: CHRF(lowercase=lc, references=references)),
    "chrf++": ("chrF2++", lambda lc, references, _: CHRF(lowercase=lc, word_order=2, references=references)),
    "ter": ("TER", lambda lc, references, _: TER(references=references)),
    "tokenized": ("BLEU (tokenized)", _tokenized),
    "compound": ("BLEU (tokenized, compounds split)", _compound),
}
DETOKENIZED = ("bleu", "chrf2", "chrf++", "ter")
TOKENIZED = ("tokenized", "compound")


class Metric(SentenceStatistics):
    """A metric with its references. `heading` and `signature` name it in tables.

    references: one text, a line for each sentence; more: further texts of the same length, where there are several
    references. tokenize: of "bleu" alone, one of TOKENIZERS. Raises UserError where there are no sentences, texts
    differ in length, or the tokenizer needs what is not there.

    "tokenized" and "compound" take texts that are split into tokens at spaces already: what fairseq prints as BLEU4,
    and the same after splitting compounds at hyphens (Vaswani et al. 2017). They compare systems of one tokenization
    only.
    """

    def __init__(self, name, references, lowercase=False, tokenize=None, more=()):
        if not references:
            raise UserError("references: no sentences: give a file that is not empty")
        for others in more:
            check_counts(others, references, "one reference", "another")
        tokenize = tokenize or BLEU.TOKENIZER_DEFAULT
        if name == "bleu":
            check_tokenizer(tokenize)
        self.heading, make = METRICS[name]
        self.references = len(references)
        self._prepared = split_compounds if name == "compound" else str
        # the sacrebleu command strips line ends and trailing spaces too
        stripped = [[line.rstrip() for line in lines] for lines in (references, *more)]
        super().__init__(make(lowercase, stripped, tokenize))

    def count(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Statistics per sentence, a float64 array (sentences, statistics): sums over sentences are exact.

        Raises UserError where there are more or fewer hypotheses than references.
        """
        if len(hypotheses) != self.references:
            check_counts(hypotheses, range(self.references))
        return super().count([self._prepared(line.rstrip()) for line in hypotheses])

    def words(self, line: str) -> list[str]:
        """The words of a line as the metric splits it, in its case."""
        return super().words(self._prepared(line))

    def score(self, counts):
        """The Score of the sentences whose counts these are."""
        return Score(self.heading, self.value(counts.sum(axis=0)), self.signature)

    def sentence_scores(self, hypotheses):
        """The value of each sentence by itself. Meant for chrF and TER: BLEU of one sentence is mostly 0."""
        return [self.value(row) for row in self.count(hypotheses)]


def check_tokenizer(name):
    """Raises UserError where one of sacreBLEU's tokenizers is unknown, or needs a package or a download that fails."""
    if name not in TOKENIZERS:
        raise UserError(f"--tokenize: {name}: unknown: choose from {', '.join(TOKENIZERS)}")
    logger = logging.getLogger("sacrebleu")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)  # it warns that "spm" is a name of flores101; the signature says so
        BLEU(tokenize=name, force=True)
    except Exception as error:  # whatever a package or the network raises
        raise UserError(f"--tokenize {name}: {_remedy(name, error)}{ANOTHER}") from error
    except SystemExit as error:  # sacreBLEU's answer to a certificate that is refused
        raise UserError(f"--tokenize {name}: {_remedy(name, 'SSL')}{ANOTHER}") from error
    finally:
        logger.setLevel(level)


def _remedy(name, error):
    if name.endswith("-mecab"):
        return f"its package is not installed: {install_command(f'sacrebleu[{name[:2]}]')}"
    from sacrebleu.utils import SACREBLEU_DIR

    reason = " ".join(str(error).split()) or type(error).__name__
    return f"sacreBLEU cannot download its model to {SACREBLEU_DIR}/models ({reason}): try again with a connection"


def split_compounds(line):
    """`well-known` as `well ##AT##-##AT## known`, as fairseq's compound_split_bleu.sh (Vaswani et al. 2017)."""
    return _COMPOUND.sub(r"\1 ##AT##-##AT## \2", line)


def corpus_bleu(hypotheses, references, lowercase=False, tokenize=None):
    """BLEU of detokenized sentences, one reference each; tokenize: one of sacreBLEU's TOKENIZERS, None for 13a.

    Raises UserError where the counts differ or there are no sentences.
    """
    return _score("bleu", hypotheses, references, lowercase, tokenize)


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

    Text without such marks comes back as it is, and so does text where they are rare enough to be meant literally.
    """
    kind = subwords_of(lines)
    if kind == "▁":
        return [line.replace(" ", "").replace("▁", " ").strip() for line in lines]
    return [_JOINT.sub("", line) for line in lines] if kind else list(lines)


def subwords_of(lines):
    """The mark of the subwords that a text is in: "▁" of sentencepiece, "@@" of subword-nmt, or None."""
    filled = sum(bool(line.strip()) for line in lines)
    # every line of pieces holds the mark; a text with a stray U+2581 in it must keep its spaces
    if 2 * sum("▁" in line for line in lines) > filled:
        return "▁"
    joints = sum(_JOINT.search(line) is not None for line in lines)
    return "@@" if joints and joints >= _JOINTS_SHARE * filled else None


def looks_tokenized(lines):
    """Whether text that should be detokenized is tokenized: spaces before stops, Moses entities such as &apos;."""
    filled = sum(bool(line.strip()) for line in lines)
    return sum(_TOKENIZED.search(line) is not None for line in lines) > _TOKENIZED_SHARE * filled


def check_counts(hypotheses, references, hypothesis_name="hypotheses", reference_name="references"):
    """Raises UserError where the two differ in length, with both counts and the first line without a partner."""
    if len(hypotheses) != len(references):
        for name, lines in ((hypothesis_name, hypotheses), (reference_name, references)):
            if not lines:
                wanted = max(len(hypotheses), len(references))
                raise UserError(
                    f"{name}: is empty, where {wanted} sentences belong: did the command that writes it fail?"
                )
        first = min(len(hypotheses), len(references))
        raise UserError(
            f"{hypothesis_name}: {len(hypotheses)} sentences, but {reference_name} has {len(references)}: the first "
            f"without a partner is id {first} (line {first + 1})"
        )
    if not hypotheses:
        raise UserError(f"{hypothesis_name}: no sentences: give a file that is not empty")


def _score(name, hypotheses, references, lowercase, tokenize=None):
    check_counts(hypotheses, references)
    metric = Metric(name, references, lowercase, tokenize)
    return metric.score(metric.count(hypotheses))
