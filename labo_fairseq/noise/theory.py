"""How much smoothing is best under label noise (Chen et al. 2020), without any training.

The theory is of a network that fits its targets: for a training image with the (perhaps wrong) label j it predicts
column j of the smoothing matrix S. Its loss is then counted on the same image with

  alpha  the clean label
  beta   another noisy label, drawn independently
  gamma  the smoothed clean label

Clean classes are balanced, T is as in transition.py, losses are in nats. With uniform smoothing S keeps p on the label
and gives (1−p)/(M−1) to each other class.
"""

import math
from typing import NamedTuple

import torch

from ..errors import UserError

TYPES = ("alpha", "beta", "gamma")
FORMS = ("target", "torch", "fairseq", "joeynmt")
_GRID = 4001


def uniform_smoothing(classes, p):
    """S of uniform smoothing, float64 (M, M)."""
    _check(p, "target mass p", classes)
    matrix = torch.full((classes, classes), (1 - p) / (classes - 1), dtype=torch.float64)
    return matrix.fill_diagonal_(p)


def uniform_loss(kind, p, clean_rate, classes):
    """Expected loss of uniform smoothing under uniform noise: eq. 7-9 for M = 2, eq. 11, 14 and 15.

    p: float64 tensor of any shape, in [0, 1]; clean_rate: a, in [0, 1]. Infinite where a possible label has no mass.
    """
    _check(clean_rate, "clean rate", classes)
    wrong = (1 - p) / (classes - 1)
    if kind == "gamma":
        # what the smoothed clean label gives to the label that the network saw
        right = clean_rate * p + (1 - clean_rate) * wrong
    else:
        right = torch.as_tensor(agreement(kind, clean_rate, classes), dtype=p.dtype)
    return -torch.xlogy(right, p) - torch.xlogy(1 - right, wrong)


def agreement(kind, clean_rate, classes):
    """Probability that the label of the test is the one of the training; it is the best p of alpha and beta type."""
    if kind == "alpha":
        return clean_rate
    return (1 - 2 * clean_rate + clean_rate**2 * classes) / (classes - 1)


def optimal_mass(kind, clean_rate, classes):
    """p* in [0, 1] of uniform smoothing under uniform noise; of equal ones the largest (gamma with M = 2)."""
    _check(clean_rate, "clean rate", classes)
    if kind != "gamma":
        return agreement(kind, clean_rate, classes)
    low, high = (0.5 if classes == 2 else 0.0), 1.0
    while high - low > 1e-12:
        grid = torch.linspace(low, high, _GRID, dtype=torch.float64)
        loss = uniform_loss(kind, grid, clean_rate, classes)
        best = int(loss.argmin())
        step = (high - low) / (_GRID - 1)
        low, high = max(low, float(grid[best]) - step), min(high, float(grid[best]) + step)
    # a valley is flat to rounding over about 1e-8; "no learning" is exactly 1/M
    return 1 / classes if loss[best] > math.log(classes) - 1e-14 else float(grid[best])


def gamma_transition(classes):
    """(a, p): the clean rate above which learning is better than p = 1/M under gamma type, and p* just above it.

    The loss is linear in a, C(p) − a·D(p), so learning pays where a exceeds the least (C(p) − log M)/D(p). With M = 2
    p* leaves ½ continuously at a = 3/4; with more classes it jumps.
    """
    _check(1.0, "clean rate", classes)
    if classes == 2:
        return 0.75, 0.5
    start = 1 / classes
    p = torch.cat([torch.linspace(x, y, 400_001, dtype=torch.float64)[1:-1] for x, y in ((0, start), (start, 1))])
    p = p[(p - start).abs() > 1e-4]  # the quotient is 0/0 at 1/M
    never, always = (uniform_loss("gamma", p, a, classes) for a in (0.0, 1.0))
    rate = (never - math.log(classes)) / (never - always)
    return float(rate.min()), float(p[rate.argmin()])


def matrix_loss(kind, smoothing, transition):
    """Expected loss of any S, (M, M), under any T, (M, M): eq. 10 and 12 over all classes, and their gamma type."""
    if kind == "gamma":
        divergence = -torch.xlogy(smoothing.T.unsqueeze(0), smoothing.T.unsqueeze(1)).sum(-1)  # label seen, clean label
        return (transition * divergence).sum() / len(transition)
    return -torch.xlogy(_joint(kind, transition), smoothing).sum()


def optimal_matrix(kind, transition):
    """S* of alpha or beta type, (M, M): the distribution of the test's label given the training's.

    alpha: S*_ij = T_ji / Σ_k T_jk, the posterior of the clean label. The paper's S* = T is that only where T is
    symmetric. beta: S*_ij = (T Tᵀ)_ij / Σ_k T_jk; eq. 13 has a factor ½ too much and no denominator. A label that
    never occurs has a uniform column.
    """
    joint = _joint(kind, transition)
    seen = joint.sum(0)
    return torch.where(seen > 0, joint / seen.clamp(min=1e-300), 1 / len(joint))


def mean_field(transition):
    """(clean rate tr T / M, {kind: p*}) of uniform smoothing under any T (eq. 17, without its spurious ½).

    For alpha and beta this is exact. So it is for gamma: its loss depends on T through the clean rate alone.
    """
    classes = len(transition)
    rate = float(transition.trace()) / classes
    beta = float(transition.square().sum()) / classes
    return rate, {"alpha": rate, "beta": beta, "gamma": optimal_mass("gamma", rate, classes)}


class Conventions(NamedTuple):
    """One amount of uniform smoothing in the four conventions."""

    target: float  # p on the label (Chen et al.)
    torch: float  # α of (1−α)·onehot + α/K, above 1 where p is below 1/K
    fairseq: float  # ε, each wrong class gets ε/(K−1)
    joeynmt: float  # ε, each wrong class gets ε/(K−2), K counting a padding type


def conventions(value, form, classes):
    """Conventions of an amount that is given in one of FORMS; K is the number of classes, JoeyNMT's K one more."""
    if form not in FORMS:
        raise ValueError(f"{form}: no such form: choose from {', '.join(FORMS)}")
    p = {"target": value, "torch": 1 - value * (classes - 1) / classes}.get(form, 1 - value)
    # α is p's linear function, so that α above 1 (p below 1/K) converts too
    if not -1e-12 <= p <= 1 + 1e-12:
        raise UserError(
            f"smoothing {value:g} in the {form} form: leaves {p:g} on the label: choose an amount that leaves 0 to 1"
        )
    _check(1.0, "clean rate", classes)
    wrong = 1 - p
    return Conventions(p, wrong * classes / (classes - 1), wrong, wrong)


def _joint(kind, transition):
    """P(label of the test = i, label of the training = j), (M, M)."""
    if kind == "alpha":
        return transition.T / len(transition)
    if kind == "beta":
        return transition @ transition.T / len(transition)
    raise ValueError(f"{kind}: has no closed form: choose alpha or beta")


def _check(rate, name, classes):
    if classes < 2:
        raise UserError(f"{classes} classes: label noise needs 2 or more")
    if not 0 <= rate <= 1:
        raise UserError(f"{name}: {rate:g} is out of range: give a number in [0, 1]")
