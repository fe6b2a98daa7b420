"""Transition matrices of label noise: T_ij = P(noisy label i | clean label j), so every column sums to 1.

Smoothing matrices S have the same layout: column j is the target of an image labelled j (Chen et al. 2020, eq. 2).
"""

import torch

from ..errors import UserError

_TOLERANCE = 1e-4  # of a column's sum: files hold rounded numbers
NOISES = "symmetric:RATE, pair:RATE or transition:FILE"


def symmetric(classes, rate):
    """Uniform noise: a label becomes each other one with probability rate/(M−1); float64 (M, M)."""
    _check_size(classes, "symmetric noise")
    wrong = torch.full((classes, classes), rate / (classes - 1), dtype=torch.float64)
    return wrong.fill_diagonal_(1 - rate)


def pair(classes, rate):
    """A label becomes the next one, the last one the first, with probability `rate` (Han et al. 2018)."""
    _check_size(classes, "pair noise")
    identity = torch.eye(classes, dtype=torch.float64)
    return (1 - rate) * identity + rate * identity.roll(1, 0)


def noise_matrix(spec, classes, flag="--label-noise"):
    """T of a text `symmetric:RATE`, `pair:RATE` or `transition:FILE`. Raises UserError."""
    kind, colon, value = spec.partition(":")
    if not colon or kind not in ("symmetric", "pair", "transition"):
        raise UserError(f"{flag}: {spec}: no such noise: give {NOISES}")
    if kind == "transition":
        return read_matrix(value, classes)
    try:
        rate = float(value)
    except ValueError:
        raise UserError(f"{flag}: {spec}: {value!r} is no number: give {NOISES}") from None
    if not 0 <= rate <= 1:
        raise UserError(f"{flag}: {spec}: {rate:g} is out of range: give a rate in [0, 1]")
    return (symmetric if kind == "symmetric" else pair)(classes, rate)


def read_matrix(path, classes=None):
    """A stochastic matrix from a text file, float64 (M, M): a row a line, numbers between blanks, # for comments.

    classes: M, where it is known. Raises UserError.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = [(number, line.partition("#")[0].split()) for number, line in enumerate(stream, 1)]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a file of numbers, a row of the matrix a line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8: give a text file of numbers") from None
    rows = [_numbers(path, number, words) for number, words in lines if words]
    size = len(rows) if classes is None else classes
    if len(rows) != size or any(len(row) != size for row in rows):
        widths = "/".join(map(str, sorted({len(row) for row in rows}))) or "0"
        wanted = "as many rows as columns" if classes is None else f"{size} × {size}, a row and a column for each class"
        raise UserError(f"{path}: {len(rows)} rows of {widths} numbers: must be {wanted}")
    return checked(torch.tensor(rows, dtype=torch.float64), path)


def checked(matrix, where):
    """The matrix with its columns' sums exactly 1. Raises UserError, naming the column and how much is wrong."""
    _check_size(len(matrix), where)
    bad = ((matrix < 0) | (matrix > 1) | matrix.isnan()).nonzero()
    if len(bad):
        i, j = bad[0].tolist()
        raise UserError(f"{where}: row {i + 1}, column {j + 1}: {matrix[i, j]:g} is no probability: must be in [0, 1]")
    sums = matrix.sum(0)
    excess = (sums - 1).abs()
    if excess.max() > _TOLERANCE:
        j = int(excess.argmax())
        turned = " (its rows do: transpose it)" if (matrix.sum(1) - 1).abs().max() <= _TOLERANCE else ""
        raise UserError(
            f"{where}: column {j + 1} sums to {sums[j]:.6g}, {excess[j]:.2g} {'above' if sums[j] > 1 else 'below'} 1: "
            f"row i, column j is the probability of i given j, so each column must sum to 1{turned}"
        )
    return matrix / sums


def _numbers(path, number, words):
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{path}:{number}: {error}: a line holds the numbers of a row") from None


def _check_size(classes, where):
    if classes < 2:
        raise UserError(f"{where}: {classes} classes: needs 2 or more")
