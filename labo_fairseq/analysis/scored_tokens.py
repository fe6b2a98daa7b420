"""The tokens of a translation with their probabilities, as pieces of the text that a reader sees.

The P- line has a probability for each subword, but the H- line shows words where generation ran with --remove-bpe. The
subwords are then those of the corpus's own segmentation of the words, wherever that has as many subwords as the P- line
has probabilities; a model seldom splits a word otherwise (1 % of the sentences of Multi30k). Where it did, no token of
the sentence gets a probability, because nobody knows which.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..records.generate_log import ENTITIES, Hypothesis

# words, each sign by itself; a character of a script without spaces is a word of its own
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+|[^\w\s]")
_CONTINUES = "@@"
_BEGINS = "▁"


@dataclass(frozen=True)
class Scored:
    """A translation in pieces.

    pieces: the tokens, each with the space before it; together they are the text
    probabilities: one per piece, and one for the end of the sentence; None where they are not known
    """

    pieces: tuple[str, ...]
    probabilities: tuple[float, ...] | None

    @property
    def text(self) -> str:
        """The text of all pieces."""
        return "".join(self.pieces)


def scored(hypothesis: Hypothesis, text: str, segment: Callable[[str], str] | None = None) -> Scored:
    """The Scored of a hypothesis of a log.

    text: the translation as it is shown, detokenized; segment: words → subwords, both joined by spaces
    """
    tokens = _tokens(hypothesis, segment)
    if tokens is None:
        return plain(text)
    pieces = _pieces_of(text, tokens) or _joined(tokens)
    return Scored(pieces, tuple(min(1.0, 2.0**score) for score in hypothesis.positional_scores or ()))


def plain(text: str) -> Scored:
    """The Scored of a text without probabilities: its words."""
    return Scored(tuple(re.findall(r"\s*\S+", text)), None)


def _tokens(hypothesis, segment):
    """The tokens that the P- line scores; None where they are not known."""
    if hypothesis.positional_scores is None:
        return None
    number = len(hypothesis.positional_scores) - 1
    tokens = list(hypothesis.tokens)
    if len(tokens) != number and segment is not None:
        tokens = segment(" ".join(tokens)).split()
    return tokens if len(tokens) == number else None


def _pieces_of(text, tokens):
    """The text cut at its tokens; None where it does not hold their characters in their order."""
    pieces, start = [], 0
    for token in tokens:
        characters, end = _characters(token), start
        while end < len(text) and text[end].isspace():
            end += 1
        if not text.startswith(characters, end):
            return None
        end += len(characters)
        pieces.append(text[start:end])
        start = end
    return tuple(pieces) if not text[start:].strip() else None


def _characters(token):
    """What a token adds to detokenized text."""
    token = token.removesuffix(_CONTINUES) if len(token) > len(_CONTINUES) else token
    token = token.removeprefix(_BEGINS)
    if token == "@-@":
        return "-"
    for entity, character in ENTITIES.items():
        token = token.replace(entity, character)
    return token


def _joined(tokens):
    """Pieces of tokens as they are, with spaces where a word begins."""
    pieces, glued = [], True
    sentencepiece = any(token.startswith(_BEGINS) for token in tokens)
    for token in tokens:
        space = token.startswith(_BEGINS) if sentencepiece else not glued
        pieces.append(" " * (space and bool(pieces)) + _characters(token))
        glued = token.endswith(_CONTINUES)
    return tuple(pieces)


def words(text: str, lowercase: bool = True) -> list[str]:
    """Words and signs of a text, to compare."""
    return _WORDS.findall(text.lower() if lowercase else text)


def differing(pieces: Sequence[str], reference: str, lowercase: bool = True) -> list[bool]:
    """For each piece, whether a word that it belongs to is not among those that the reference has in the same order."""
    text = "".join(pieces)
    found = [(match.start(), match.end()) for match in _WORDS.finditer(text)]
    mine = [text[start:end].lower() if lowercase else text[start:end] for start, end in found]
    kept = [False] * len(text)
    for start, _, size in difflib.SequenceMatcher(None, mine, words(reference, lowercase), False).get_matching_blocks():
        for low, high in found[start : start + size]:
            kept[low:high] = [True] * (high - low)
    marks, place = [], 0
    for piece in pieces:
        end = place + len(piece)
        marks.append(any(not kept[i] and not text[i].isspace() for i in range(place, end)))
        place = end
    return marks


def disagreement(texts: Sequence[str], lowercase: bool = True) -> float:
    """1 − the mean F1 of the words of two of the texts, over all pairs: 0 where all say the same, 1 where nothing is.

    >>> disagreement(["a b", "a c"])
    0.5
    """
    counts = [Counter(words(text, lowercase)) for text in texts]
    sizes = [one.total() for one in counts]
    shares = []
    for i, first in enumerate(counts):
        for j in range(i):
            total = sizes[i] + sizes[j]
            shares.append(2 * (first & counts[j]).total() / total if total else 1.0)
    return 1 - sum(shares) / len(shares) if shares else 0.0
