"""Every loss once: the tests of functional/ and criterions/ run on each row of CASES.

A row names a loss object, the criterion and flags that give it, and a naive reference: the published equation written
down literally, on probabilities, in plain torch, with nothing of the package in it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from labo_fairseq.functional import (
    AntiFocal,
    ConfidencePenalty,
    CrossEntropy,
    Focal,
    ForwardCorrection,
    GeneralizedEntropy,
    LabelSmoothing,
    Labo,
    LogitSmoothing,
    SoftTargets,
    VirtualTeacher,
    WithZLoss,
    ZLossAround,
)


@dataclass(frozen=True)
class Case:
    """name; make(V) -> loss object; reference(logits (N, K), target (N,)) -> (N,); criterion and flags, if any."""

    name: str
    make: Callable
    reference: Callable
    criterion: str | None = None
    flags: dict = field(default_factory=dict)
    detached: bool = False  # the published gradient treats a part of the loss as a constant

    def __str__(self):
        return self.name


def smoothed_cross_entropy(logits, target, smoothing, alpha):
    """−Σ_j P̂(j) log p(j) with P̂ = (1−α)·onehot + α·P (Lu et al. 2023, eq. 6-7); alpha a float or (N, 1)."""
    p = torch.softmax(logits, -1)
    p_hat = (1 - alpha) * F.one_hot(target, logits.size(-1)).to(p) + alpha * smoothing
    return -(p_hat * p.log()).sum(-1)


def cross_entropy(logits, target):
    return smoothed_cross_entropy(logits, target, 0.0, 0.0)


def torch_smoothing(alpha):
    def reference(logits, target):
        uniform = torch.full_like(logits, 1 / logits.size(-1))
        return smoothed_cross_entropy(logits, target, uniform, alpha)

    return reference


def fairseq_smoothing(epsilon):
    """Target 1−ε, every other type ε/(K−1) (fairseq since its pull request 3182)."""

    def reference(logits, target):
        wrong = epsilon / (logits.size(-1) - 1)
        row = torch.full_like(logits, wrong).scatter(1, target.unsqueeze(1), 1 - epsilon)
        return -(row * torch.softmax(logits, -1).log()).sum(-1)

    return reference


def labo(tau, alpha=None, rho=0.5):
    """Eq. 14 with P* of eq. 12, β = α·τ, and α of eq. 16 where it is None. P* and α are constants to the gradient."""

    def reference(logits, target):
        types = logits.size(-1)
        p = torch.softmax(logits, -1)
        if alpha is None:
            h_uniform = torch.log(torch.tensor(float(types), dtype=logits.dtype))
            h_model = -(p * p.log()).sum(-1, keepdim=True)
            mass = ((h_uniform - rho * h_model) / h_uniform).detach()
        else:
            mass = torch.full_like(p[:, :1], alpha)
        beta = mass * tau
        p_star = p.pow(1 / tau)
        p_star = (p_star / p_star.sum(-1, keepdim=True)).detach()
        confidence = (beta * p_star * (types * p_star).log()).sum(-1)
        return smoothed_cross_entropy(logits, target, p_star, mass) + confidence

    return reference


def entropy(p):
    return -torch.xlogy(p, p).sum(-1)


def kl(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def confidence_penalty(beta):
    """Eq. 2 of Lu et al. 2023."""
    return lambda logits, target: cross_entropy(logits, target) - beta * entropy(torch.softmax(logits, -1))


def modulated(factor, detach=False):
    """A function of p_k times cross entropy: focal and anti-focal loss."""

    def reference(logits, target):
        p = torch.softmax(logits, -1).gather(1, target.unsqueeze(1)).squeeze(1)
        weight = factor(p.detach() if detach else p)
        return weight * -p.log()

    return reference


def generalized_entropy(alpha, beta):
    """J_α as a Jensen divergence of G(x) = Σ x log x (Meister et al. 2020), with its two limits."""

    def reference(logits, target):
        p = torch.softmax(logits, -1)
        u = torch.full_like(p, 1 / p.size(-1))
        if alpha == 0:
            divergence = kl(p, u)
        elif alpha == 1:
            divergence = kl(u, p)
        else:
            mixture = entropy((1 - alpha) * u + alpha * p)
            divergence = (mixture - (1 - alpha) * entropy(u) - alpha * entropy(p)) / (alpha * (1 - alpha))
        return cross_entropy(logits, target) + beta * divergence

    return reference


def uniform_teacher(alpha, tau, scale, hard=None):
    """Knowledge distillation from a teacher that knows nothing; tests/functional/test_distillation.py has others."""

    def reference(logits, target):
        q = torch.softmax(logits / tau, -1)
        soft = kl(torch.full_like(q, 1 / q.size(-1)), q)
        return (1 - alpha if hard is None else hard) * cross_entropy(logits, target) + alpha * scale * soft

    return reference


def hand_made_teacher(alpha, temperature, softening, correct=0.99, tau=1.0, scale=1.0):
    """Teacher-free regularization: probs as in the released code, log_probs by the power 1/T (Yuan et al. 2020)."""

    def reference(logits, target):
        others = torch.full_like(logits, (1 - correct) / (logits.size(-1) - 1))
        d = others.scatter(1, target.unsqueeze(1), correct)
        u = torch.exp(d / temperature) if softening == "probs" else d ** (1 / temperature)
        soft = kl(u / u.sum(-1, keepdim=True), torch.softmax(logits / tau, -1))
        return (1 - alpha) * cross_entropy(logits, target) + alpha * scale * soft

    return reference


def forward_correction(transition):
    """Chen et al. 2020, section 4.1: the model's output f becomes T f, against a one-hot label.

    transition: function of a row f that returns T f
    """

    def reference(logits, target):
        corrected = transition(torch.softmax(logits, -1))
        return -corrected.gather(1, target.unsqueeze(1)).squeeze(1).log()

    return reference


def times(matrix):
    """Function of rows f that returns the rows T f; matrix: function of the number of types that returns T."""
    return lambda rows: rows @ matrix(rows.size(-1)).to(rows).T


def uniform_noise(rate):
    """T f of T with 1−r on the diagonal and r/(M−1) elsewhere, which for a large vocabulary is too large to be made."""

    def transition(rows):
        others = rows.sum(-1, keepdim=True) - rows
        return (1 - rate) * rows + rate / (rows.size(-1) - 1) * others

    return transition


def uniform_smoothing(mass):
    """S f of S = (1−α) I + α/M (Chen et al. 2020, eq. 2)."""
    return lambda rows: (1 - mass) * rows + mass * rows.mean(-1, keepdim=True)


def logit_smoothing(smoothing):
    """Eq. 19 of Chen et al. 2020, its right side: the softmax of S h. smoothing: function of rows h: S h."""
    return lambda logits, target: cross_entropy(smoothing(logits), target)


def z_loss(base, weight):
    return lambda logits, target: base(logits, target) + weight * logits.logsumexp(-1) ** 2


CASES = [
    Case("cross_entropy", lambda v: CrossEntropy(), cross_entropy),
    Case(
        "label_smoothing_torch",
        lambda v: LabelSmoothing(0.1),
        torch_smoothing(0.1),
        "label_smoothing",
        {"label_smoothing": 0.1},
    ),
    Case(
        "label_smoothing_fairseq",
        lambda v: LabelSmoothing(0.2, "fairseq"),
        fairseq_smoothing(0.2),
        "label_smoothing",
        {"label_smoothing": 0.2, "smoothing_form": "fairseq"},
    ),
    Case(
        "labo_fixed",
        lambda v: Labo(1.5, mass=0.3),
        labo(1.5, 0.3),
        "labo",
        {"smoothing_mass": "fixed", "label_smoothing": 0.3, "smoothing_temperature": 1.5},
    ),
    Case("labo_adaptive", lambda v: Labo(1.25), labo(1.25), "labo", {}, detached=True),
    Case(
        "labo_adaptive_cold",
        lambda v: Labo(0.8, rho=1.0),
        labo(0.8, rho=1.0),
        "labo",
        {"rho": 1.0, "smoothing_temperature": 0.8},
        detached=True,
    ),
    Case(
        "confidence_penalty",
        lambda v: ConfidencePenalty(0.4),
        confidence_penalty(0.4),
        "confidence_penalty",
        {"confidence_penalty": 0.4},
    ),
    Case(
        "focal",
        lambda v: Focal(2.0),
        modulated(lambda p: (1 - p) ** 2),
        "focal_loss",
        {"focal_gamma": 2.0},
    ),
    Case("focal_root", lambda v: Focal(0.5), modulated(lambda p: (1 - p) ** 0.5), "focal_loss", {"focal_gamma": 0.5}),
    Case(
        "focal_detached",
        lambda v: Focal(1.0, detach=True),
        modulated(lambda p: 1 - p, detach=True),
        "focal_loss",
        {"focal_gamma": 1.0, "detach_modulator": True},
        detached=True,
    ),
    Case(
        "anti_focal",
        lambda v: AntiFocal(1.0, 0.5),
        modulated(lambda p: 1 + 0.5 * p),
        "anti_focal_loss",
        {"focal_gamma": 1.0, "focal_alpha": 0.5},
    ),
    Case(
        "anti_focal_detached",
        lambda v: AntiFocal(1.5, 1.0, detach=True),
        modulated(lambda p: (1 + p) ** 1.5, detach=True),
        "anti_focal_loss",
        {"focal_gamma": 1.5, "focal_alpha": 1.0, "detach_modulator": True},
        detached=True,
    ),
    *(
        Case(
            f"generalized_entropy_{alpha}",
            lambda v, alpha=alpha: GeneralizedEntropy(alpha, 0.7),
            generalized_entropy(alpha, 0.7),
            "generalized_entropy",
            {"entropy_alpha": alpha, "entropy_weight": 0.7},
        )
        for alpha in (0.0, 0.5, 1.0)
    ),
    Case(
        "soft_targets", lambda v: SoftTargets(0.4, student_temperature=2.0, scale=4.0), uniform_teacher(0.4, 2.0, 4.0)
    ),
    Case(
        "soft_targets_beside_the_label",
        lambda v: SoftTargets(0.4, student_temperature=2.0, scale=4.0, hard_weight=1.0),
        uniform_teacher(0.4, 2.0, 4.0, hard=1.0),
    ),
    Case(
        "tf_reg",
        lambda v: VirtualTeacher(0.3, 2.0),
        hand_made_teacher(0.3, 2.0, "probs"),
        "tf_reg",
        {"distill_weight": 0.3, "teacher_temperature": 2.0},
    ),
    Case(
        "tf_reg_log_probs",
        lambda v: VirtualTeacher(0.4, 20.0, 0.9, "log_probs", 2.0, 4.0),
        hand_made_teacher(0.4, 20.0, "log_probs", 0.9, 2.0, 4.0),
        "tf_reg",
        {
            "distill_weight": 0.4,
            "teacher_confidence": 0.9,
            "teacher_softening": "log_probs",
            "student_temperature": 2.0,
            "distill_multiplier": 4.0,
        },
    ),
    Case(
        "forward_correction",
        lambda v: ForwardCorrection(0.3),
        forward_correction(uniform_noise(0.3)),
        "forward_correction",
        {"noise_rate": 0.3},
    ),
    Case("forward_correction_wrong", lambda v: ForwardCorrection(0.9), forward_correction(uniform_noise(0.9))),
    Case(
        "logit_smoothing",
        lambda v: LogitSmoothing(0.4),
        logit_smoothing(uniform_smoothing(0.4)),
        "logit_smoothing",
        {"label_smoothing": 0.4},
    ),
    Case(
        "z_loss_around",
        lambda v: ZLossAround(GeneralizedEntropy(0.5, 0.7), 1e-2),
        z_loss(generalized_entropy(0.5, 0.7), 1e-2),
        "generalized_entropy",
        {"entropy_alpha": 0.5, "entropy_weight": 0.7, "z_loss": 1e-2},
    ),
    Case(
        "z_loss",
        lambda v: WithZLoss(LabelSmoothing(0.1), 1e-2),
        z_loss(torch_smoothing(0.1), 1e-2),
        "label_smoothing",
        {"label_smoothing": 0.1, "z_loss": 1e-2},
    ),
]


def parametrize(names="case", only=lambda case: True):
    """Run a test once for each case."""
    import pytest

    return pytest.mark.parametrize(names, [case for case in CASES if only(case)], ids=str)
