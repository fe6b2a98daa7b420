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
    BetaSmoothing,
    ClassTable,
    ConfidencePenalty,
    CrossEntropy,
    Distillation,
    Focal,
    ForwardCorrection,
    GeneralizedEntropy,
    LabelSmoothing,
    Labo,
    LogitSmoothing,
    MatrixSmoothing,
    MixedLabels,
    SoftTargets,
    VirtualTeacher,
    WithZLoss,
    ZLossAround,
    given_logits,
)


@dataclass(frozen=True)
class Case:
    """name; make(V) -> loss object; reference(logits (N, K), target (N,)) -> (N,); criterion and flags, if any.

    of: the criterion whose loss this is, where flags alone cannot give it: it needs images, a teacher or an average
    by_type: it knows something of every type, so that no type can be taken out, and V is no larger than a matrix allows
    detached: the published gradient treats a part of the loss as a constant
    """

    name: str
    make: Callable
    reference: Callable
    criterion: str | None = None
    flags: dict = field(default_factory=dict)
    detached: bool = False
    of: str | None = None
    by_type: bool = False

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


# What a method knows of each token is the same for all tokens here, so that every invariant of a batch can be tried on
# it; what differs from token to token is in the tests of the method itself.
MANY = 4096  # tokens


def teacher_row(types):
    """Logits of a teacher who thinks the same of every token, (V,)."""
    return 2 * torch.sin(torch.arange(types, dtype=torch.float64))


def distilled(mass, temperature, hard=None):
    """(1−α)·NLL + α·T²·KL(softmax(t/T) ‖ softmax(z/T)) (Hinton et al. 2015; Lu et al. 2023, eq. 3)."""

    def reference(logits, target):
        u = torch.softmax(teacher_row(logits.size(-1)).to(logits) / temperature, -1)
        soft = kl(u.expand_as(logits), torch.softmax(logits / temperature, -1))
        return (1 - mass if hard is None else hard) * cross_entropy(logits, target) + mass * temperature**2 * soft

    return reference


def same_teacher(types):
    return given_logits(teacher_row(types).expand(MANY, types))


def mixed(share, other, mass=0.0):
    """H(q', p), q' = (1−α)·(λ·onehot(k) + (1−λ)·onehot(j)) + α/K (Guo 2020, eq. 8 and 15)."""

    def reference(logits, target):
        p = torch.softmax(logits, -1)
        own, others = (F.one_hot(k, p.size(-1)).to(p) for k in (target, torch.full_like(target, other)))
        labels = share * own + (1 - share) * others
        return -(((1 - mass) * labels + mass / p.size(-1)) * p.log()).sum(-1)

    return reference


def partner(other):
    return torch.full((MANY,), other)


def square(types):
    """A matrix of positive numbers whose columns sum to 1, (K, K)."""
    i = torch.arange(types, dtype=torch.float64)
    return torch.softmax(torch.cos(i.unsqueeze(1) + 2 * i), 0)


def smoothed_by_matrix(logits, target):
    """Cross entropy against column k of S (Chen et al. 2020, eq. 2)."""
    return -(square(logits.size(-1)).to(logits).T[target] * torch.softmax(logits, -1).log()).sum(-1)


def class_table(weight):
    """NLL + α·KL(p_res ‖ q_res), both without the true class (Ding et al. 2021, Algorithm 1)."""

    def reference(logits, target):
        size = logits.size(-1)
        others = torch.stack([torch.tensor([j for j in range(size) if j != int(k)]) for k in target])
        p = torch.softmax(logits.gather(1, others), -1)
        q = torch.softmax(square(size).to(logits)[target].gather(1, others), -1)
        return cross_entropy(logits, target) + weight * kl(p, q)

    return reference


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
        "knowledge_distillation",
        lambda v: Distillation(0.5, same_teacher(v), 2.0, 2.0, 4.0),
        distilled(0.5, 2.0),
        of="knowledge_distillation",
        by_type=True,
    ),
    Case(
        "cs_kd",
        lambda v: Distillation(0.2, same_teacher(v), 4.0, 4.0, 16.0, hard_weight=1.0),
        distilled(0.2, 4.0, hard=1.0),
        of="cs_kd",
        by_type=True,
    ),
    Case(
        "beta_smoothing",
        lambda v: BetaSmoothing(0.6, torch.full((MANY,), 0.75, dtype=torch.float64)),
        fairseq_smoothing(0.6 * 0.25),
        of="beta_smoothing",
    ),
    Case("kr_ls", lambda v: ClassTable(0.3, square(v)), class_table(0.3), of="kr_ls", by_type=True),
    Case(
        "matrix_smoothing",
        lambda v: MatrixSmoothing(square(v)),
        smoothed_by_matrix,
        of="matrix_smoothing",
        by_type=True,
    ),
    Case("mixup", lambda v: MixedLabels(partner(1), 0.7), mixed(0.7, 1), of="mixup"),
    Case(
        "pairwise_label_smoothing",
        lambda v: MixedLabels(partner(1), 0.5, 0.4),
        mixed(0.5, 1, 0.4),
        of="pairwise_label_smoothing",
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
