"""Knowledge distillation: a loss against what a teacher predicts for the same token.

A teacher is a function from indices of tokens, (n,), to its logits, (n, V); it is asked chunk by chunk, so that its
N×V logits need not exist, as those of the student. Log-probabilities are logits too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from .contract import PassLoss, RowLoss
from .dense import working_dtype
from .products import Products
from .rows import Coefficients, RowPass, Rows, buffer, log_sum, shift_rows
from .smoothing import UNIFORM


@dataclass(frozen=True)
class SoftTargets(RowLoss):
    """(1−α)·(−log p_k) + α·s·KL(u‖softmax(z/τ)) for distributions u (Hinton et al. 2015; Lu et al. 2023, eq. 3).

    mass: α in [0, 1]
    prior: u, "uniform" or one distribution per row, (n, V)
    student_temperature: τ, above 0
    scale: s
    hard_weight: weight of −log p_k in place of 1−α

    >>> from labo_fairseq.functional import SoftTargets, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), SoftTargets(0.5)).loss  # ½·log 2 + ½·KL(u‖p)
    tensor([0.3749])
    """

    mass: float
    prior: str | torch.Tensor = UNIFORM
    student_temperature: float = 1.0
    scale: float = 1.0
    hard_weight: float | None = None

    @property
    def temperature(self) -> float | None:
        return None if self.student_temperature == 1 else self.student_temperature

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        hard = 1 - self.mass if self.hard_weight is None else self.hard_weight
        soft, tau = self.mass * self.scale, self.student_temperature
        entropy = rows.log_types if isinstance(self.prior, str) else torch.special.entr(self.prior).sum(-1)
        log_sum_tau = rows.log_sum if tau == 1 else rows.log_sum_tau
        value = hard * rows.nll + soft * (log_sum_tau - rows.prior / tau - entropy)
        if tau == 1:
            return value, Coefficients(a=hard + soft, d=-soft, e=-hard)
        return value, Coefficients(a=hard, b=soft / tau, d=-soft / tau, e=-hard)


@dataclass(frozen=True)
class Distillation(RowLoss):
    """SoftTargets whose u is softmax(t/T) of a teacher's logits t, over the types that the student has.

    mass, student_temperature, scale, hard_weight: as in SoftTargets
    teacher: function from indices of tokens to the teacher's logits, (n, V)
    teacher_temperature: T, above 0

    >>> from labo_fairseq.functional import Distillation, given_logits, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = Distillation(1.0, given_logits(torch.tensor([[0.8, 0.1, 0.1]]).log()))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # KL of the teacher's (0.8, 0.1, 0.1) and p
    tensor([0.1927])
    """

    mass: float
    teacher: Callable
    teacher_temperature: float = 1.0
    student_temperature: float = 1.0
    scale: float = 1.0
    hard_weight: float | None = None

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss."""
        logits = _present(self.teacher(rows), masked, float("-inf"))
        u = torch.softmax(logits / self.teacher_temperature, -1)
        return SoftTargets(self.mass, u, self.student_temperature, self.scale, self.hard_weight)


@dataclass(frozen=True)
class LogitMatching(PassLoss):
    """(1−α)·(−log p_k) + α/2·mean((z − z̄ − t + t̄)²), the mean over the K types that the student has.

    It is the limit of SoftTargets with s = T² and τ = T → ∞ (Hinton et al. 2015, section 2.1). The means z̄ and t̄ are
    taken out because no probability depends on them.

    mass: α in [0, 1]
    teacher: function from indices of tokens to the teacher's logits t, (n, V), finite

    >>> from labo_fairseq.functional import LogitMatching, given_logits, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = LogitMatching(1.0, given_logits(torch.tensor([[0.8, 0.1, 0.1]]).log()))
    >>> token_loss(z, torch.tensor([0]), loss).loss  # ½·mean((z − z̄ − t + t̄)²)
    tensor([0.2135])
    """

    mass: float
    teacher: Callable
    logits: Any = None  #: of the rows at hand, a tensor (n, V)

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """See contract.RowLoss."""
        return replace(self, logits=self.teacher(rows))

    def row_pass(
        self,
        z: torch.Tensor,
        target: torch.Tensor,
        gradient: bool,
        prior_logit: torch.Tensor | None,
        masked: torch.Tensor | None,
        scratch: list[torch.Tensor] | None,
    ) -> RowPass:
        """See rows.row_pass."""
        types, _, target_logit = shift_rows(z, target, masked)
        p = torch.softmax(z, 1, out=buffer(z, scratch, 0))
        total = log_sum(p)
        nll = total - target_logit
        types = types.unsqueeze(1) if torch.is_tensor(types) else types
        distance = _present(z.sub_(self.logits), masked, 0.0)
        distance = _present(distance.sub_(distance.sum(1, keepdim=True) / types), masked, 0.0)
        hard = 1 - self.mass
        value = hard * nll + self.mass / 2 * (distance.square() / types).sum(1)
        if gradient:
            torch.add(distance * (self.mass / types), p, alpha=hard, out=z)
            z.scatter_add_(1, target.unsqueeze(1), z.new_full((1, 1), -hard).expand(len(z), 1))
        return RowPass(value, nll, None, total)


def projected_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Callable:
    """A teacher from its features (N, D) and output projection (V, D), (V,): the products are made chunk by chunk."""
    return Products(hidden, weight, bias, (False, False, False)).wide_logits


def given_logits(logits: torch.Tensor) -> Callable:
    """A teacher from logits (N, V) that exist already."""
    return lambda rows: logits[rows].to(working_dtype(logits.dtype))


def stored_logits(probabilities: torch.Tensor, types: torch.Tensor, size: int) -> Callable:
    """A teacher from the probabilities of its k most probable types; the others share the rest equally.

    probabilities: (N, k+1), those of the k types and, last, that of all others together; types: (N, k), indices;
    size: V, at least k. The logits are log-probabilities, and −inf where nothing is left for the others. A temperature
    acts on the whole distribution, as on that of a model.
    """

    def logits(rows):
        known, rest = probabilities[rows].log().split([types.size(1), 1], 1)
        share = rest - math.log(max(size - types.size(1), 1))
        return share.expand(len(rows), size).scatter(1, types[rows], known)

    return logits


def mean_teacher(members: list[Callable]) -> Callable:
    """An ensemble as one teacher: its probabilities are the mean of the members', its logits the logarithm of that."""
    if len(members) == 1:
        return members[0]

    def logits(rows):
        log_probs = torch.stack([torch.log_softmax(member(rows), -1) for member in members])
        return log_probs.logsumexp(0) - math.log(len(members))

    return logits


def _present(x, masked, value):
    return x if masked is None else x.masked_fill(masked, value)
