"""The target distributions that regularized losses stand for, by themselves: what a model is drawn to at one position.

The losses never form them (rows.py); the gradient of each is softmax(z) minus its target distribution.
"""

import math

import torch


def one_hot(logits: torch.Tensor, target: int) -> torch.Tensor:
    """The true label k alone, (V,) like the logits (V,)."""
    return torch.zeros_like(logits).index_fill(0, torch.tensor(target, device=logits.device), 1.0)


def smoothed(logits: torch.Tensor, target: int, mass: float, distribution: torch.Tensor) -> torch.Tensor:
    """(1−α)·onehot(k) + α·u, (V,), for α in [0, 1] and a distribution u, (V,)."""
    return (1 - mass) * one_hot(logits, target) + mass * distribution


def uniform(logits: torch.Tensor) -> torch.Tensor:
    """1/K for each of the K types whose logit is not −inf, (V,)."""
    present = ~logits.isneginf()
    return present.to(logits.dtype) / present.sum()


def labo_distribution(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """P* = softmax(z/τ) of Lu et al. (2023), eq. 15, (V,); τ above 0."""
    return torch.softmax(logits / temperature, 0)


def labo_mass(logits: torch.Tensor, rho: float) -> float:
    """α = 1 − ρ·H(p)/log K of Lu et al. (2023), eq. 16, a float in [1−ρ, 1]; ρ in [0, 1]."""
    entropy = torch.special.entr(torch.softmax(logits, 0)).sum()
    return float(1 - rho * entropy / math.log(int((~logits.isneginf()).sum())))
