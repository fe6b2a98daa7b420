"""A matrix over the classes that a flag names."""

from pathlib import Path
from typing import Any

import torch

from ..noise.transition import read_matrix


def class_matrix(path: str | Path, task: Any) -> torch.Tensor:
    """The stochastic matrix (K, K) of a file, K the types of the task's targets. Raises UserError."""
    return read_matrix(path, number_of_types(task))


def number_of_types(task: Any) -> int:
    """K: classes of images, types of the target dictionary."""
    dictionary = task.target_dictionary
    return len(task.classes) if dictionary is None else len(dictionary)
