"""Removes training pairs by length and ratio: of Moses' tokens exactly as Moses' clean-corpus-n.perl does."""

import re

# Perl's \s on decoded text; Python's has the separators \x1c-\x1f besides
_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_LONGEST_WORD = 1000  # characters; the script's own default
EMPTY = {(True, False): "source empty", (False, True): "target empty", (True, True): "both empty"}
TOO_SHORT, TOO_LONG, RATIO, LONG_WORD = "too short", "too long", "ratio", f"word over {_LONGEST_WORD} characters"


class MosesCleaner:
    """Judges the pairs of one corpus, in order (the first pair decides whether | separates factors).

    Lengths are in words; both limits are inclusive; None is no limit. `| ` in text without factors is deleted and white
    space is made single spaces, in what is kept too.
    """

    def __init__(self, shortest, longest=None, ratio=None):
        self._shortest, self._longest, self._ratio = shortest, longest, ratio
        self._factored = None

    def __call__(self, source, target):
        """((source, target) as the script writes them, None), or (None, the reason for which it removes them)."""
        if self._factored is None:
            self._factored = "|" in source or "|" in target
        pair = tuple(map(self._normalize, (source, target)))
        reason = EMPTY.get(tuple(text == "" for text in pair)) or self._fault(pair)
        return (None, reason) if reason else (pair, None)

    def _normalize(self, text):
        text = text if self._factored else text.replace("|", "")
        return _SPACE.sub(" ", text).removeprefix(" ").removesuffix(" ")

    def _fault(self, pair):
        shorter, longer = sorted(text.count(" ") + 1 for text in pair)
        if self._longest is not None and longer > self._longest:
            return TOO_LONG
        if shorter < self._shortest:
            return TOO_SHORT
        if self._ratio is not None and longer / shorter > self._ratio:
            return RATIO
        words = (word for text in pair for word in re.split(r"[ |]", text))
        return LONG_WORD if any(len(word) > _LONGEST_WORD for word in words) else None


class LengthCleaner:
    """Judges pairs by their number of pieces or words only, as fairseq's scripts/spm_encode.py does."""

    def __init__(self, shortest, longest=None, ratio=None):
        self._limits = shortest, longest, ratio

    def __call__(self, source, target):
        """((source, target), None) unchanged, or (None, reason)."""
        shortest, longest, ratio = self._limits
        empty = EMPTY.get((not source, not target))
        if empty:
            return None, empty
        shorter, longer = sorted(len(text.split(" ")) for text in (source, target))
        if longest is not None and longer > longest:
            return None, TOO_LONG
        if shorter < shortest:
            return None, TOO_SHORT
        if ratio is not None and longer / shorter > ratio:
            return None, RATIO
        return (source, target), None
