"""The search for one temperature, or one factor of all temperatures: over log T, on a grid that is refined."""

import math
from collections.abc import Callable, Sequence

import numpy as np

LOWEST, HIGHEST = 0.1, 10.0
_POINTS, _REFINED = 13, 7  # of the first grid, of each further one


def search(values: Callable[[Sequence[float]], Sequence[float]], precision: float = 5e-4) -> float:
    """The factor in [0.1, 10] of the least value, to a ratio of `precision`.

    values: function from some factors to their values, so that data are gone through once for a whole grid. Each
    further grid lies between the neighbours of the best point; of equal values the smallest factor counts.

    >>> round(search(lambda factors: [(math.log(x) - math.log(2)) ** 2 for x in factors]), 2)
    2.0
    """
    low, high, points = math.log(LOWEST), math.log(HIGHEST), _POINTS
    while True:
        grid = np.linspace(low, high, points)
        candidates = values([math.exp(x) for x in grid])
        best, step = min(range(points), key=candidates.__getitem__), (high - low) / (points - 1)
        middle = float(grid[best])
        if step < precision:
            return math.exp(middle)
        low, high, points = max(middle - step, math.log(LOWEST)), min(middle + step, math.log(HIGHEST)), _REFINED
