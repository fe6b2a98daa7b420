"""Groups of types by their frequency in training, for the grouped calibrator and for measures by group."""

import itertools
from dataclasses import dataclass

import torch

from ..errors import UserError

BOUNDS = (10, 100, 1000)


@dataclass(frozen=True)
class TypeGroups:
    """A partition of the vocabulary: EOS by itself (the last group), the others by their count in the training set.

    names: (G,), such as "count 10-99"
    of_type: (V,) int64, the group of each type
    eos: index of EOS
    """

    names: list
    of_type: torch.Tensor
    eos: int


def type_groups(counts: torch.Tensor, eos: int, target: torch.Tensor, bounds: list[int] | None = None) -> TypeGroups:
    """Groups with counts below bounds[0], from bounds[0] to below bounds[1], …, at least bounds[-1], and EOS.

    counts: (V,), occurrences of each type among the training targets
    target: (N,), the tokens to fit on. A group none of whose types is among them has no data: with the default bounds
        it is joined with its neighbour, with bounds that were asked for it raises UserError.
    """
    chosen = bounds is not None
    bounds = list(BOUNDS) if bounds is None else sorted(bounds)
    seen = torch.bincount(target, minlength=len(counts)).double()
    seen[eos] = 0
    while True:
        of_type = torch.bucketize(counts.double(), torch.tensor(bounds, dtype=torch.float64), right=True)
        tokens = torch.zeros(len(bounds) + 1, dtype=torch.float64).index_add_(0, of_type, seen)
        empty = (tokens == 0).nonzero().flatten().tolist()
        if not empty or not bounds:
            break
        if chosen:
            raise UserError(
                f"--frequency-bounds: no token of the set has a type with {_names(bounds)[empty[0]]}: give other bounds"
            )
        del bounds[min(empty[0], len(bounds) - 1)]
    of_type[eos] = len(bounds) + 1
    return TypeGroups([*_names(bounds), "eos"], of_type, eos)


def _names(bounds):
    edges = [0, *bounds]
    inner = [f"count {low:g}-{high - 1:g}" for low, high in itertools.pairwise(edges)]
    return [*inner, f"count {edges[-1]:g} or more"]
