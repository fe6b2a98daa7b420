"""The search for one temperature, or one factor of all temperatures: over log T, on a grid that is refined."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = 1e-3, 1e3
_POINTS, _REFINED = 6, 7  # of the first grid for each power of ten, of each further one
_BEGIN, _END = -_POINTS, 3 * _POINTS  # the first grid reaches from 0.1 to 10, and where need be to LOWEST and HIGHEST
_NO_BEST = {
    "low": f"the fit improves down to T = {LOWEST:g}, where the search ends, as where every prediction is right",
    "high": f"the fit improves up to T = {HIGHEST:g}, where the search ends, as where predictions tell nothing about "
    "the targets",
    "flat": "every temperature fits equally well, as with equal logits",
}


class Optimum(NamedTuple):
    """factor: of the least value, in [0.001, 1000]; problem: why no factor is best, in words; None where one is."""

    factor: float
    problem: str | None = None


def search(values: Callable[[Sequence[float]], Sequence[float]], precision: float = 5e-4) -> Optimum:
    """The factor in [0.001, 1000] of the least value, to a ratio of `precision`.

    values: function from some factors to their values, so that data are gone through once for a whole grid. The first
    grid is that of [0.1, 10]; it grows by a power of ten while its best point is an end of it. Each further grid lies
    between the neighbours of the best point; of equal values the smallest factor counts. Where no factor is best, the
    factor is the bound of the search, or 1 where all values are equal, and the problem is set.

    >>> round(search(lambda factors: [(math.log(x) - math.log(20)) ** 2 for x in factors]).factor, 2)
    20.0
    >>> search(lambda factors: list(factors))
    Optimum(factor=0.001, problem='the fit improves down to T = 0.001, where the search ends, as where every \
prediction is right')
    """
    step = math.log(10) / _POINTS
    grid = _first_grid(lambda points: values([math.exp(k * step) for k in points]))
    if min(grid.values()) == max(grid.values()):
        return Optimum(1.0, _NO_BEST["flat"])
    middle = _least(grid) * step
    while step >= precision:
        low, high = max(middle - step, math.log(LOWEST)), min(middle + step, math.log(HIGHEST))
        points = np.linspace(low, high, _REFINED).tolist()
        middle = _least(dict(zip(points, values([math.exp(x) for x in points]), strict=True)))
        step = (high - low) / (_REFINED - 1)
    if middle - math.log(LOWEST) < precision:
        return Optimum(LOWEST, _NO_BEST["low"])
    if math.log(HIGHEST) - middle < precision:
        return Optimum(HIGHEST, _NO_BEST["high"])
    return Optimum(math.exp(middle))


def _first_grid(values):
    """{point: value} of the points -6 to 6, and of more where the least value is at an end."""
    points = range(_BEGIN, -_BEGIN + 1)
    grid = dict(zip(points, values(points), strict=True))
    while (best := _least(grid)) in (min(grid), max(grid)) and abs(best) < _END:
        points = range(best - _POINTS, best) if best < 0 else range(best + 1, best + _POINTS + 1)
        grid.update(zip(points, values(points), strict=True))
    return grid


def _least(grid):
    """The point of the least value; of equal values the smallest point."""
    return min(sorted(grid), key=grid.__getitem__)
