"""Learns BPE (Sennrich et al. 2016): the very merges of subword-nmt's learn_bpe, in less time and memory.

subword-nmt keeps a Python tuple for every word and a dictionary of words for every pair of symbols, and looks at every
frequent pair before each merge. Here the words lie in one array of symbols with links to the neighbours, the
occurrences of a pair are found among those of its rarer symbol, and the next pair comes from a heap.

The merges are equal, not only similar, so what follows from subword-nmt's bookkeeping is followed too:

- of pairs that are equally frequent the last in the alphabet is merged;
- pairs below a threshold are put aside; a pair that gains afterwards loses what it had before (`_Counts`);
- the string of a symbol can arise from two merges (in+g and i+ng). A word that has the symbol already gets the pairs
  around it counted once more, so that subword-nmt believes that the word has them more often than it does. `_Words`
  keeps the surplus, by which it chooses and counts the words of later merges.
"""

import collections
import heapq
import itertools
import sys

import numpy as np
from subword_nmt.learn_bpe import prune_stats

_END = "</w>"  # ends the last symbol of a word
_NEWLINE = ord("\n")
_SPAN = 1 << 32  # a pair of symbols a, b is the number a·_SPAN + b
_MIN_FREQUENCY = 2
_BLOCK = 1 << 20  # characters whose pairs are counted at once
_NOWHERE = np.empty(0, np.int32)


def merges(lines, size):
    """Yield up to `size` merges (first symbol, second symbol), in the order in which they are to be applied.

    lines: tokens separated by single spaces, without other white space.
    """
    words = _Words(_count(lines))
    counts = _Counts(words.pairs(), words.symbols)
    for number in range(size):
        pair = counts.most_frequent(number)
        if pair is None:
            return
        yield tuple(words.symbols.strings[symbol] for symbol in divmod(pair, _SPAN))
        counts.merge(number, pair, words.merge(pair))


def _count(lines):
    words = collections.Counter()
    for line in lines:
        words.update(line.strip("\r\n ").split(" "))
    del words[""]
    return words


class _Symbols:
    """Numbers for strings."""

    def __init__(self):
        self.strings, self.backwards, self._numbers = [], [], {}

    def known(self, string):
        """Whether the string has a number."""
        return string in self._numbers

    def number(self, string):
        """The number of a string, a new one if it has none."""
        if string not in self._numbers:
            self._numbers[string] = len(self.strings)
            self.strings.append(string)
            # sorts as the strings in backward order: the highest code point at the end, for that of which it is a part
            self.backwards.append("".join(chr(0x10FFFF - ord(char)) for char in string) + chr(0x10FFFF))
        return self._numbers[string]


class _Counts:
    """How often each pair occurs in the text, as subword-nmt sees it: its `stats`, `big_stats` and `threshold`."""

    def __init__(self, counts, symbols):
        self._symbols = symbols
        self._now, self._all = counts, collections.defaultdict(int, counts)
        self._threshold = max(counts.values(), default=0) / 10
        self._fill()

    def _fill(self):
        self._heap = [self._entry(pair) for pair, count in self._now.items() if count >= self._threshold]
        heapq.heapify(self._heap)

    def _entry(self, pair):
        first, second = divmod(pair, _SPAN)
        return -self._now[pair], self._symbols.backwards[first], self._symbols.backwards[second], pair

    def most_frequent(self, number):
        """The pair for the merge with this number, from 0; None if no pair occurs twice."""
        while self._heap and self._now.get(self._heap[0][-1]) != -self._heap[0][0]:
            heapq.heappop(self._heap)  # the count has changed since
        if not self._heap:
            self._look_at_all(number)
        if not self._heap or -self._heap[0][0] < _MIN_FREQUENCY:
            return None
        return self._heap[0][-1]

    def _look_at_all(self, number):
        prune_stats(self._now, self._all, self._threshold)
        self._all = collections.defaultdict(int, {pair: count for pair, count in self._all.items() if count})
        self._threshold = max(self._all.values(), default=0) * number / (number + 10000.0)
        self._now = {pair: count for pair, count in self._all.items() if count >= self._threshold}
        for pair in [pair for pair, count in self._all.items() if count < 0]:
            self._all[pair] *= 2  # as subword-nmt's prune_stats, which adds a negative count to itself
        self._fill()

    def merge(self, number, pair, changes):
        """Take note of a merge and what it changed, {pair: difference}."""
        self._now[pair] = 0
        for other, difference in changes:
            self._now[other] = count = self._now.get(other, 0) + difference
            if count >= self._threshold and other != pair:
                heapq.heappush(self._heap, self._entry(other))
        self._now[pair] = 0
        if number % 100 == 0:
            prune_stats(self._now, self._all, self._threshold)


class _Words:
    """All different words as linked symbols.

    Position p of the arrays is a character of the words one after the other; a merged symbol stays at the position of
    its first character, and the symbol at the other position becomes -1. `left` and `right` are the positions of the
    neighbours, -1 at the ends of a word.
    """

    def __init__(self, counted):
        self.symbols = _Symbols()
        self._frequency = np.fromiter(counted.values(), np.int64, len(counted))
        characters, lengths = _characters(counted)
        counted.clear()
        self._start = np.cumsum(lengths) - lengths
        last = self._start + lengths - 1
        self._symbol = self._numbered(characters, last)
        self._word = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        here = np.arange(len(self._symbol), dtype=np.int32)
        self._left, self._right = here - 1, here + 1
        self._left[self._start] = self._right[last] = -1
        self._sizes = np.bincount(self._symbol).tolist()  # how many places are known for each symbol
        self._places = [None] * len(self._sizes)  # where each symbol is, or was: arrays; None before anyone asked
        self._surplus = {}  # {pair: {word: how much more often subword-nmt believes that it has it}}

    def _numbered(self, characters, last):
        """The symbols of characters, which are overwritten; those at the positions `last` end a word."""
        characters *= 2
        characters[last] += 1
        used = np.zeros(2 * (sys.maxunicode + 1), bool)
        used[characters] = True
        for kind in np.flatnonzero(used).tolist():
            self.symbols.number(chr(kind // 2) + _END * (kind % 2))
        return (np.cumsum(used, dtype=np.int32) - 1)[characters]

    def pairs(self):
        """{pair: how often it occurs in the text}."""
        counts = collections.defaultdict(int)
        for start in range(0, len(self._symbol), _BLOCK):
            places = start + np.flatnonzero(self._right[start : start + _BLOCK] >= 0)
            for pair, count in _summed([self._pairs_at(places)], [self._weights(places)]):
                counts[pair] += count
        return dict(counts)

    def _pairs_at(self, places):
        """The pair of the symbol at each place and the next."""
        return self._symbol[places] * np.int64(_SPAN) + self._symbol[self._right[places]]

    def _weights(self, places):
        return self._frequency[self._word[places]]

    def merge(self, pair):
        """Make one symbol of every occurrence of a pair. Yields (pair, difference of its count) for those around."""
        string = "".join(self.symbols.strings[symbol] for symbol in divmod(pair, _SPAN))
        known = self.symbols.known(string)
        new = self.symbols.number(string)
        if not known:
            self._places.append([])
            self._sizes.append(0)
        places = self._find(pair)
        surplus = self._surplus.pop(pair, {})
        singly = self._to_merge_singly(places, pair, new) | surplus.keys()
        if singly:
            changes = [self._merge_in_word(word, pair, new, surplus.get(word, 0)) for word in singly]
            places = places[~np.isin(self._word[places], list(singly))]
        else:
            changes = []
        keys, differences = self._merge_at(places, pair, new)
        for change in changes:
            keys.append(np.fromiter(change.keys(), np.int64, len(change)))
            differences.append(np.fromiter(change.values(), np.int64, len(change)))
        return _summed(keys, differences)

    def _find(self, pair):
        """The positions of all occurrences."""
        first, second = divmod(pair, _SPAN)
        rarer = min((first, second), key=self._sizes.__getitem__)
        places = self._places_of(rarer)
        if rarer != first:
            places = self._left[places]
            places = places[places >= 0]
        return places[self._begins(places, pair)]

    def _places_of(self, symbol):
        if self._places[symbol] is None:
            self._places[symbol] = [np.flatnonzero(self._symbol == symbol).astype(np.int32)]
        places = np.concatenate([_NOWHERE, *self._places[symbol]])
        places = places[self._symbol[places] == symbol]
        self._places[symbol], self._sizes[symbol] = [places], len(places)
        return places

    def _now_at(self, places, symbol):
        if self._places[symbol] is not None:
            self._places[symbol].append(places)
            self._sizes[symbol] += len(places)

    def _begins(self, places, pair):
        """Whether the pair begins at each place (at -1 it does not)."""
        return (places >= 0) & (self._right[places] >= 0) & (self._pairs_at(places) == pair)

    def _to_merge_singly(self, places, pair, new):
        """The words where occurrences may overlap, or that have the merged symbol already."""
        first, second = divmod(pair, _SPAN)
        words = self._word[places]
        if first != second:
            words = np.intersect1d(words, self._word[self._places_of(new)])
        return set(words.tolist())

    def _merge_at(self, places, pair, new):
        """Merge the occurrences at some places, which do not overlap; returns lists of arrays: pairs, differences."""
        first, second = divmod(pair, _SPAN)
        gone, weights = self._right[places], self._weights(places)
        after = self._right[gone]
        inner = self._left[places] >= 0
        last = (after >= 0) & ~self._begins(after, pair)  # B A in A B A B: the second occurrence counts it
        before_symbols = self._symbol[self._left[places[inner]]]
        after_symbols = self._symbol[after[last]].astype(np.int64)
        self._symbol[places], self._symbol[gone] = new, -1
        self._right[places] = after
        self._left[after[after >= 0]] = places[after >= 0]
        self._now_at(places, new)
        keys = [
            before_symbols * np.int64(_SPAN) + first,
            second * _SPAN + after_symbols,
            self._symbol[self._left[places[inner]]] * np.int64(_SPAN) + new,
            new * _SPAN + after_symbols,
        ]
        return keys, [-weights[inner], -weights[last], weights[inner], weights[last]]

    def _merge_in_word(self, word, pair, new, surplus):
        """Merge in one word as subword-nmt does; returns {pair: difference}."""
        places = self._places_in(word)
        old = self._symbol[places].tolist()
        before = _neighbours(old)
        if before[pair] + surplus < 1:
            self._believe(pair, word, -before[pair])
            return {}
        merged = self._join(places, old, pair, new)
        changes = collections.Counter()
        _leave(changes, old, *divmod(pair, _SPAN))
        _enter(changes, merged, new)
        after = _neighbours(merged)
        for key in changes.keys() | before.keys() | after.keys():
            forgotten = 0 if key == pair else before[key]  # of the merged pair subword-nmt makes a new index
            self._believe(key, word, changes[key] - (after[key] - forgotten))
        frequency = int(self._frequency[word])
        return {key: frequency * change for key, change in changes.items()}

    def _places_in(self, word):
        places, place = [], int(self._start[word])
        while place >= 0:
            places.append(place)
            place = int(self._right[place])
        return places

    def _join(self, places, old, pair, new):
        """Merge a word's symbols from the left to the right; returns the new symbols."""
        merged, at = [], 0
        while at < len(old):
            if at + 1 < len(old) and old[at] * _SPAN + old[at + 1] == pair:
                here, gone = places[at], places[at + 1]
                after = int(self._right[gone])
                self._symbol[here], self._symbol[gone], self._right[here] = new, -1, after
                if after >= 0:
                    self._left[after] = here
                self._now_at(np.array([here], np.int32), new)
                merged.append(new)
                at += 2
            else:
                merged.append(old[at])
                at += 1
        return merged

    def _believe(self, pair, word, difference):
        if difference:
            words = self._surplus.setdefault(pair, {})
            words[word] = words.get(word, 0) + difference


def _characters(words):
    """(code points of the words one after the other, lengths of the words)."""
    text = np.frombuffer("\n".join([*words, ""]).encode("utf-32-le"), np.uint32)
    ends = np.flatnonzero(text == _NEWLINE)
    return text[text != _NEWLINE], np.diff(ends, prepend=-1) - 1


def _neighbours(symbols):
    return collections.Counter(one * _SPAN + other for one, other in itertools.pairwise(symbols))


def _leave(changes, old, first, second):
    """The pairs that disappear with the occurrences of a pair, in the way of subword-nmt's first loop."""
    at = 0
    while at < len(old) - 1:
        if (old[at], old[at + 1]) != (first, second):
            at += 1
            continue
        if at:
            changes[old[at - 1] * _SPAN + first] -= 1
        if at + 2 < len(old) and old[at + 2 : at + 4] != [first, second]:
            changes[second * _SPAN + old[at + 2]] -= 1
        at += 2


def _enter(changes, merged, new):
    """The pairs around the new symbol, wherever it is, in the way of subword-nmt's second loop."""
    for at, symbol in enumerate(merged):
        if symbol == new and at:
            changes[merged[at - 1] * _SPAN + new] += 1
        if symbol == new and at + 1 < len(merged) and merged[at + 1] != new:
            changes[new * _SPAN + merged[at + 1]] += 1


def _summed(keys, differences):
    """Iterate over (pair, sum of its differences), also where that is 0."""
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(inverse, np.concatenate(differences), len(pairs)).astype(np.int64)
    return zip(pairs.tolist(), sums.tolist(), strict=True)
