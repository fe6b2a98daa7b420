"""Cross entropy, label smoothing and LABO: targets that are a mixture of the true label and a smoothing distribution.

Each loss is a small object with its hyper-parameters; `terms(rows)` is its line of algebra (see rows.py).
"""

from dataclasses import dataclass
from typing import Any

import torch

from .contract import RowLoss
from .rows import Coefficients, Rows, others

UNIFORM = "uniform"


@dataclass(frozen=True)
class CrossEntropy(RowLoss):
    """−log p_k.

    >>> from labo_fairseq.functional import CrossEntropy, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), CrossEntropy()).loss  # −log ½
    tensor([0.6931])
    """

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        return rows.nll, Coefficients(a=1.0)


@dataclass(frozen=True)
class LabelSmoothing(RowLoss):
    """Cross entropy against (1−α)·onehot(k) + α·u (Lu et al. 2023, eq. 6-7; Müller et al. 2019, section 1.1).

    mass: the hyper-parameter, in [0, 1]
    form: "torch": mass is α, the target keeps 1−α+α·u_k (torch, Müller 2019); "fairseq": mass is ε, the target keeps
        1−ε and each other type gets ε/(K−1). The two are the same loss at α = ε·K/(K−1), K the types of the prior.
        Where the target is the only type, both are cross entropy, which is 0
    prior: "uniform", or the distribution u as a tensor (V,) that sums to 1
    support: number of types with mass in a tensor prior; only the fairseq form needs it

    >>> from labo_fairseq.functional import LabelSmoothing, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), LabelSmoothing(0.3)).loss  # cross entropy against (0.8, 0.1, 0.1)
    tensor([0.8318])
    """

    mass: float | torch.Tensor
    form: str = "torch"
    prior: str | torch.Tensor = UNIFORM
    support: int | None = None

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        alpha: Any = self.mass
        if self.form == "fairseq":
            types = rows.types if self.support is None else self.support
            alpha = self.mass * types / others(types)
        value = rows.log_sum - (1 - alpha) * rows.target - alpha * rows.prior
        return value, Coefficients(a=1.0, d=-alpha, e=-(1 - alpha))


@dataclass(frozen=True)
class Labo(RowLoss):
    """LABO (Lu et al. 2023, eq. 14 with the inner problem solved, eq. 12 and 15).

    With P* = softmax(z/τ) put into eq. 14, the objective is the free energy
    LSE − (1−α)·z_k − α·τ·LSEτ + α·τ·log K, and its gradient is that of cross entropy against (1−α)·onehot + α·P*
    whether P* is detached or not (the envelope theorem; eq. 17 calls it a zero hypergradient).

    temperature: τ = β/α, above 0; 1 gives (1−α)·NLL + α·log K, infinity uniform smoothing
    mass: fixed α in [0, 1], a float or a tensor (n,); None for the adaptive α = 1 − ρ·H(p)/log K of eq. 16, in
        [1−ρ, 1], which is detached: a gradient through α is a different method, which the paper does not describe
    rho: ρ in [0, 1], used where mass is None

    >>> from labo_fairseq.functional import Labo, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), Labo(1.25)).loss  # α = 1 − 0.5·H(p)/log 3
    tensor([0.9129])
    """

    temperature: float = 1.25
    mass: float | torch.Tensor | None = None
    rho: float = 0.5

    @property
    def needs_mean(self) -> bool:
        return self.mass is None

    def adaptive_mass(self, rows: Rows) -> torch.Tensor:
        """α of eq. 16 for each row, (n,)."""
        # the clamp only removes rounding: H lies in [0, log K]; a single type left has neither entropy nor smoothing
        share = (rows.entropy / rows.log_types).nan_to_num(nan=0.0).clamp(0.0, 1.0)
        return 1 - self.rho * share

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        alpha: Any = self.adaptive_mass(rows) if self.mass is None else self.mass
        free_energy = self.temperature * (rows.log_sum_tau - rows.log_types)
        value = rows.log_sum - (1 - alpha) * rows.target - alpha * free_energy
        return value, Coefficients(a=1.0, b=-alpha, e=-(1 - alpha))
