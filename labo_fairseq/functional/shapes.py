"""Tensors of any rank as rows of classes."""

import torch


def class_rows(x: torch.Tensor, target: torch.Tensor, class_dim: int = 1) -> torch.Tensor:
    """(N, C) of a tensor (C,), (N, C, …) or, with class_dim −1, (…, C), in the order of the target's elements.

    Raises ValueError where the dimensions that are not the classes' are not the target's.

    >>> class_rows(torch.zeros(2, 5, 3), torch.zeros(2, 3)).shape
    torch.Size([6, 5])
    """
    dim = 0 if x.dim() == 1 else class_dim
    rows = x.movedim(dim, -1) if x.dim() > max(dim, 0) else x
    if not x.dim() or rows.shape[:-1] != target.shape:
        place = "last" if dim == -1 else "in dimension 1"
        raise ValueError(
            f"input {tuple(x.shape)}, target {tuple(target.shape)}: do not fit with the classes {place}: see class_dim"
        )
    return rows.reshape(-1, rows.size(-1))
