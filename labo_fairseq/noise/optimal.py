"""The best amount of smoothing under label noise in all conventions, as rows of a table."""

import torch

from . import theory


def amounts(kind, clean_rate, classes, p=None):
    """A row of the table: the best uniform smoothing (or p) under uniform noise, in all conventions."""
    p = theory.optimal_mass(kind, clean_rate, classes) if p is None else p
    forms = theory.conventions(p, "target", classes)
    loss = theory.uniform_loss(kind, torch.tensor(p, dtype=torch.float64), clean_rate, classes)
    named = {"p": p, "torch": forms.torch, "fairseq": forms.fairseq, "joeynmt": forms.joeynmt}
    return {"type": kind, "smoothing": "uniform", "clean_rate": clean_rate, "classes": classes} | named | {
        "loss": float(loss) + 0.0  # no -0.0
    }  # fmt: skip


def uniform_rows(kinds, transition):
    """`amounts` of each type under a matrix of noise T, (M, M): the best p is that of its mean (eq. 17)."""
    rate, best = theory.mean_field(transition)
    classes = len(transition)
    rows = [amounts(kind, rate, classes, best[kind]) for kind in kinds]
    for row in rows:
        smoothing = theory.uniform_smoothing(classes, row["p"])
        row["loss"] = float(theory.matrix_loss(row["type"], smoothing, transition))
    return rows


def matrices(kinds, transition):
    """{type: S*, (M, M)} under a matrix of noise T; gamma has no closed form and is left out."""
    return {kind: theory.optimal_matrix(kind, transition) for kind in kinds if kind != "gamma"}


def matrix_row(kind, matrix, transition):
    """A row of the table about a smoothing matrix S, (M, M), under a matrix of noise T, (M, M)."""
    classes = len(transition)
    row = {"type": kind, "smoothing": "matrix", "clean_rate": float(transition.trace()) / classes, "classes": classes}
    p = float(matrix.diagonal().mean())
    empty = dict.fromkeys(("torch", "fairseq", "joeynmt"))
    return row | {"p": p} | empty | {"loss": float(theory.matrix_loss(kind, matrix, transition))}


def uniform_losses(kinds, rates, masses, classes):
    """{type: losses (P, A), nats} of uniform smoothing, for target masses (P,) and clean rates (A,), numpy arrays."""
    grid = torch.from_numpy(masses)
    return {
        kind: torch.stack([theory.uniform_loss(kind, grid, rate, classes) for rate in rates.tolist()], 1).numpy()
        for kind in kinds
    }
