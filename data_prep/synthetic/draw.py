"""Random choices that are the same on every machine.

Only random.Random.random() is used, whose sequence Python guarantees for a seed in every version.
"""

import bisect
import functools
import itertools
import random


class Draw:
    """Random choices from one seed."""

    def __init__(self, seed):
        self._random = random.Random(seed).random

    def chance(self, probability):
        """True with this probability."""
        return self._random() < probability

    def uniform(self, items):
        """One of the items, all alike."""
        return items[int(self._random() * len(items))]

    def weighted(self, weights):
        """A key of a dict {key: weight}."""
        left = self._random() * sum(weights.values())
        for key, weight in weights.items():
            left -= weight
            if left < 0:
                return key
        return key  # rounding left a rest

    def zipf(self, items, shift=2.0):
        """An item with probability proportional to 1 / (rank + shift), the first has rank 1."""
        sums = _zipf_sums(len(items), shift)
        return items[min(bisect.bisect(sums, self._random() * sums[-1]), len(items) - 1)]

    def between(self, low, high):
        """A whole number, both ends included."""
        return low + int(self._random() * (high - low + 1))


@functools.cache
def _zipf_sums(count, shift):
    return list(itertools.accumulate(1 / (rank + shift) for rank in range(1, count + 1)))
