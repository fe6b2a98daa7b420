"""Teacher-free regularization: distillation from a teacher that is written by hand."""

from dataclasses import dataclass

import torch

from .contract import RowLoss
from .rows import Coefficients, Rows, others
from .smoothing import UNIFORM


@dataclass(frozen=True)
class VirtualTeacher(RowLoss):
    """(1−α)·(−log p_k) + α·s·KL(u‖softmax(z/τ)), u the softened teacher d (Yuan et al. 2020, section 5).

    d gives the true class `correct` and the others equal shares. u is one value at the true class and another at the
    rest, so with τ = 1 the gradient is that of uniform label smoothing (fairseq's form with ε = α·(1−u_k) for s = 1).

    mass: α in [0, 1]
    teacher_temperature: T, above 0
    correct: in (1/K, 1]
    softening: "probs": u = softmax(d/T), as the released code; "log_probs": u ∝ d^(1/T), softmax(log d / T), which is
        what a temperature does to a model
    student_temperature: τ, above 0
    scale: s

    >>> from labo_fairseq.functional import VirtualTeacher, token_loss
    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> token_loss(z, torch.tensor([0]), VirtualTeacher(1.0, 2.0)).loss  # KL of softmax((0.99, 0.005, 0.005)/2) and p
    tensor([0.0050])
    """

    mass: float
    teacher_temperature: float
    correct: float = 0.99
    softening: str = "probs"
    student_temperature: float = 1.0
    scale: float = 1.0

    prior = UNIFORM

    @property
    def temperature(self) -> float | None:
        return None if self.student_temperature == 1 else self.student_temperature

    def shares(self, types: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What u gives the true class and each other one, both like `types`, a tensor of numbers of classes K."""
        correct, wrong = torch.full_like(types, self.correct), (1 - self.correct) / others(types)
        if self.softening == "log_probs":
            correct, wrong = correct.log(), wrong.log()
        right = 1 / (1 + (types - 1) * torch.exp((wrong - correct) / self.teacher_temperature))
        return right, (1 - right) / others(types)

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats and the coefficients of its gradient."""
        # in float64: the divergence is a small difference of large terms, and these are scalars per row
        types = torch.as_tensor(rows.types, dtype=torch.float64, device=rows.log_sum.device).expand_as(rows.log_sum)
        right, wrong = self.shares(types)
        hard, soft, tau = 1 - self.mass, self.mass * self.scale, self.student_temperature
        mean_logit = wrong * types * rows.prior + (right - wrong) * rows.target
        entropy = torch.special.entr(right) + (types - 1) * torch.special.entr(wrong)
        log_sum_tau = rows.log_sum if tau == 1 else rows.log_sum_tau
        value = hard * rows.nll + soft * (log_sum_tau - mean_logit / tau - entropy)
        d, e = -soft / tau * wrong * types, -hard - soft / tau * (right - wrong)
        value, d, e = (x.to(rows.log_sum) for x in (value, d, e))
        if tau == 1:
            return value, Coefficients(a=hard + soft, d=d, e=e)
        return value, Coefficients(a=hard, b=soft / tau, d=d, e=e)
