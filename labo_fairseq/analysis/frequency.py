"""Sentences by the training frequency of their tokens: the score of Lu et al. (2023), equation 18, and its splits.

The splits of their Table 4 (after Raunak et al. 2020) are three parts of the test set in descending order of the score.
Here only the numbers of the sentences are sorted, so ties cannot separate a source from its reference: equal scores
stay in the order of the corpus. (The released splits of Raunak et al. sort sources and references each by themselves,
which exchanges the references of sentences with equal scores.)
"""

import itertools
import math
from dataclasses import dataclass

from ..errors import UserError
from ..records.messages import warn
from ..records.text import read_text, split_lines

NAMES = ("most", "medium", "least")
_DIGITS = 18  # of a count: more are no count of tokens, and from 4,300 on Python refuses them
# shares of tokens: more than this is worth a word, and more than that is another corpus, or words instead of subwords
USUALLY_UNKNOWN, MAX_UNKNOWN = 0.01, 0.1


def _mean(counts):
    return sum(counts) / len(counts)


def _log10(counts):
    return math.fsum(math.log10(max(count, 1)) for count in counts) / len(counts)


# mean: equation 18; log10: the released splits of Raunak et al. 2020; min: the rarest token alone
SCORES = {"mean": _mean, "log10": _log10, "min": min}


@dataclass(frozen=True)
class Split:
    """Sentences of similar frequency: their ids in descending order of the score, and the range of the score."""

    name: str
    ids: tuple[int, ...]
    highest: float
    lowest: float


def read_dictionary(file):
    """{token: training count} of a dictionary that fairseq-preprocess wrote (dict.XX.txt). Raises UserError."""
    counts = {}
    for number, line in enumerate(split_lines(read_text(file)), 1):
        line = line.removesuffix(" #fairseq:overwrite")
        token, _, count = line.rpartition(" ")
        if not token or not count.isdecimal() or len(count) > _DIGITS:
            raise UserError(f"{file}:{number}: {line[:40]!r}: expected `token count`: give fairseq's dict.XX.txt")
        if token in counts:
            raise UserError(
                f"{file}:{number}: {token!r} comes twice: give a dictionary as fairseq-preprocess writes it"
            )
        counts[token] = int(count)
    if not counts:
        raise UserError(f"{file}: no tokens: give fairseq's dict.XX.txt")
    return counts


@dataclass(frozen=True)
class Unknown:
    """Tokens of a text that a dictionary has not; as text one sentence about them, which names the first."""

    share: float  #: of all tokens, in [0, 1]
    message: str

    def __str__(self):
        return self.message


def unknown_tokens(lines, counts, file, dictionary):
    """The Unknown of lines in subwords; `file` and `dictionary` are their names."""
    tokens = [(number, token) for number, line in enumerate(lines, 1) for token in line.split()]
    unknown = [(number, token) for number, token in tokens if token not in counts]
    if not unknown:
        return Unknown(0.0, f"{file}: every token is in {dictionary}")
    share, (number, token) = len(unknown) / len(tokens), unknown[0]
    return Unknown(
        share,
        f"{file}:{number}: {token!r} is not in {dictionary}, in all {len(unknown)} of {len(tokens)} tokens are not "
        f"({share:.1%})",
    )


def check_unknown(lines, counts, file, dictionary, most=None):
    """Warns where more tokens of a text than usual are not in the dictionary.

    A small corpus has some; the wrong dictionary, or words in place of subwords, leave many. Raises UserError where
    their share is above `most`, or above MAX_UNKNOWN where that is None.
    """
    unknown = unknown_tokens(lines, counts, file, dictionary)
    if unknown.share > (MAX_UNKNOWN if most is None else most):
        raise UserError(
            f"{unknown}: give the dictionary of this corpus and the text in its subwords (as in bpe/test.XX), or raise "
            "--max-unknown"
        )
    if unknown.share > (USUALLY_UNKNOWN if most is None else most):
        warn(f"{unknown}: they count as never seen")


def frequency_scores(lines, counts, score="mean"):
    """One number per sentence, from the counts of its tokens (split at spaces, without the end of the sentence).

    Tokens that are not in the dictionary count 0 ("log10": as 1, its lowest value); a sentence without tokens scores 0.
    """
    function = SCORES[score]
    tokens = ([counts.get(token, 0) for token in line.split()] for line in lines)
    return [function(sentence) if sentence else 0.0 for sentence in tokens]


def split_by_score(scores, parts=3, size=None):
    """[Split] of descending score, which share no sentence.

    Without `size` they are equal parts (the first ones one larger where it does not come out even) and hold every
    sentence; with it they have `size` sentences each, the last maybe fewer, and the lowest scores may belong to none,
    as in the paper (3 x 2400 of 7283). Raises UserError where there are too few sentences.
    """
    order = sorted(range(len(scores)), key=lambda i: -scores[i])  # stable
    if size is None:
        least, larger = divmod(len(order), parts)
        ends = [least * part + min(part, larger) for part in range(parts + 1)]
    else:
        ends = [min(size * part, len(order)) for part in range(parts + 1)]
    if ends[-2] >= len(order):
        raise UserError(f"--parts: {parts}: {len(order)} sentences are too few: ask for fewer or smaller parts")
    names = NAMES if parts == len(NAMES) else [f"part{part}" for part in range(1, parts + 1)]
    pieces = [order[start:end] for start, end in itertools.pairwise(ends)]
    return [Split(name, tuple(ids), scores[ids[0]], scores[ids[-1]]) for name, ids in zip(names, pieces, strict=True)]
