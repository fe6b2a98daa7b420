"""The losses as modules for every PyTorch program, with the manners of torch.nn.CrossEntropyLoss.

Every module here is called in one of two forms:

    loss(logits, target)                          # of logits that exist
    loss(hidden, target, weight=W, bias=b)        # projection and loss together; the logits never exist

logits: (C,), (N, C) or (N, C, d1, …), target (), (N,) or (N, d1, …), as in torch. `class_dim` says where the classes
    are: 1, torch's place, or -1 for (…, C), as Hugging Face has them. Log-probabilities are logits too. A type whose
    logit is −inf takes no part.
hidden: (…, D), features last whatever `class_dim` is; target (…); weight (V, D); bias (V,) or None: a linear layer's
target: indices of classes; a distribution over the classes is not one (see Distillation)

The manners, keywords of every module:

reduction: "mean" over the targets that count (NaN where there is none), "sum", or "none": as the target. The fused form
    keeps no gradient for each token apart, so that "none" forms the logits where a gradient is wanted.
ignore_index: targets of this value have loss 0 and gradient 0; None for no such value
class_dim: 1 or -1, see above

Half precision and autocast: the work is done in float32, and so is the result; float64 stays. A loss is in nats and can
be differentiated once. Under torch.compile it runs as written, outside of the graph. The fused form makes its gradients
in the forward pass: call it under torch.no_grad() where none is wanted. Wrong shapes and settings raise
ValueError (errors.UserError where this module finds them).

The mathematics is in functional/, which the criterions of fairseq use as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from . import functional
from .errors import UserError, within
from .functional import (
    UNIFORM,
    RowLoss,
    class_rows,
    given_logits,
    projected_logits,
    projection_loss,
    token_loss,
    with_z_loss,
)
from .functional.ranges import (
    ANTI_FOCAL_ALPHA,
    ANTI_FOCAL_GAMMA,
    FOCAL_GAMMA,
    LARGEST_WEIGHT,
    NEAR_A_LIMIT,
    TEMPERATURES,
    is_near_a_limit,
)

__all__ = [
    "AntiFocal",
    "ConfidencePenalty",
    "CrossEntropy",
    "Distillation",
    "Focal",
    "GeneralizedEntropy",
    "LabelSmoothing",
    "Labo",
    "RDrop",
    "RegularizedLoss",
    "ZLoss",
]

_REDUCTIONS = ("mean", "sum", "none")


class RegularizedLoss(nn.Module):
    """Any loss of functional/ as a module, and the base of the modules below.

    row_loss: a functional.RowLoss, such as functional.ForwardCorrection(0.2)
    reduction, ignore_index, class_dim: see the module's description

    >>> from labo_fairseq.functional import ForwardCorrection
    >>> loss = RegularizedLoss(ForwardCorrection(0.5))
    >>> loss(torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0]))  # −log(0.5·0.8 + 0.5·0.2)
    tensor(0.6931)
    """

    def __init__(
        self, row_loss: RowLoss, *, reduction: str = "mean", ignore_index: int | None = -100, class_dim: int = 1
    ):
        super().__init__()
        if class_dim not in (1, -1):
            raise UserError(f"class_dim: {class_dim}: give 1, torch's place of the classes, or -1, the last one")
        self.reduction, self.ignore_index, self.class_dim = _known(reduction), ignore_index, class_dim
        self._row_loss = row_loss

    def row_loss(self, as_rows: Callable, **context: Any) -> RowLoss:
        """The loss object for one call.

        as_rows: function that makes (N, C) of a tensor in the shape of the call's input
        context: the call's further arguments; those that a module does not know raise TypeError
        """
        if context:
            raise TypeError(f"{type(self).__name__}: unexpected argument {', '.join(context)}")
        return self._row_loss

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        *,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        reduction: str | None = None,
        **context: Any,
    ) -> torch.Tensor:
        """The loss: a scalar, or like the target for reduction "none".

        input: logits, or the hidden states where the projection's weight is given
        reduction: takes the place of the module's own for this call
        context: what a module needs besides: step (Labo), teacher (Distillation), second (RDrop)
        """
        compute = self._compute
        if torch.compiler.is_dynamo_compiling():
            # how many rows count depends on the data, which no graph can hold; decorating it would import dynamo
            compute = torch.compiler.disable(compute)
        return compute(input, target, weight, bias, _known(reduction or self.reduction), context)

    def extra_repr(self) -> str:
        """What print(loss) shows between the parentheses."""
        return f"{self._row_loss}, reduction={self.reduction!r}, class_dim={self.class_dim}"

    def _compute(self, input, target, weight, bias, reduction, context):
        if target.is_floating_point():
            raise UserError(f"target: {target.dtype} is no index: give indices of classes; Distillation takes shares")
        as_rows = partial(class_rows, target=target, class_dim=self.class_dim if weight is None else -1)
        loss = self.row_loss(as_rows, **context)
        rows, flat = self._paired(as_rows, as_rows(input), context), target.reshape(-1).long()
        passes = loss.rows_per_token
        if weight is None:
            value = token_loss(rows, flat.repeat_interleave(passes), loss, self.ignore_index).loss
        else:
            value = self._fused(rows, flat.repeat_interleave(passes), loss, weight, bias, reduction)
        if reduction == "none":
            # the value of a pair stands in its first row; both rows take the gradient that comes in
            return value.view(-1, passes).sum(1).reshape(target.shape)
        return value.sum() if reduction == "sum" else _mean(value.sum(), self._count(flat))

    def _fused(self, rows, target, loss, weight, bias, reduction):
        """The sum of the losses; each one, (N,), for reduction "none"."""
        if type(weight) not in (torch.Tensor, nn.Parameter):
            raise UserError(f"weight: a {type(weight).__name__} is not one whole matrix: give the logits instead")
        if reduction != "none":
            return projection_loss(rows, weight, target, loss, bias, self.ignore_index).total
        if torch.is_grad_enabled():
            return token_loss(F.linear(rows, weight, bias), target, loss, self.ignore_index).loss
        return projection_loss(rows, weight, target, loss, bias, self.ignore_index).loss

    def _paired(self, as_rows, rows, context):
        """The rows of the call; RDrop puts those of the second pass between them."""
        return rows

    def _count(self, target):
        return target.numel() if self.ignore_index is None else target.ne(self.ignore_index).sum()


class CrossEntropy(RegularizedLoss):
    """−log p_k: torch's cross entropy, here for its fused form and as a base.

    >>> CrossEntropy()(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # −log ½
    tensor(0.6931)
    """

    def __init__(self, **manners: Any):
        super().__init__(functional.CrossEntropy(), **manners)


class LabelSmoothing(RegularizedLoss):
    """Cross entropy against (1−α)·onehot(k) + α·u (functional.LabelSmoothing).

    label_smoothing: the mass, in [0, 1]
    form: "torch": α, as CrossEntropyLoss(label_smoothing=α); "fairseq": ε, each other type of the prior gets ε/(K−1)
    prior: "uniform", or u as a tensor (C,) that sums to 1, such as the frequencies of the types (unigram) or equal
        shares of those that occur (masked); it is saved and moves with the module. The form "fairseq" needs equal
        shares.

    >>> LabelSmoothing(0.3)(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # against (0.8, 0.1, 0.1)
    tensor(0.8318)
    """

    prior: torch.Tensor | None

    def __init__(
        self, label_smoothing: float = 0.1, form: str = "torch", prior: str | torch.Tensor = UNIFORM, **manners: Any
    ):
        within("label_smoothing", label_smoothing, 0, 1)
        if form not in ("torch", "fairseq"):
            raise UserError(f'form: {form!r} is unknown: give "torch" or "fairseq"')
        support = _checked_prior(prior, form) if torch.is_tensor(prior) else None
        smoothing = functional.LabelSmoothing(label_smoothing, form, UNIFORM, support)
        super().__init__(smoothing, **manners)
        self._smoothing = smoothing
        if not torch.is_tensor(prior) and prior != UNIFORM:
            raise UserError(f'prior: {prior!r} is unknown: give "uniform" or a distribution, a tensor (C,)')
        self.register_buffer("prior", prior if torch.is_tensor(prior) else None)

    def row_loss(self, as_rows: Callable, **context: Any) -> RowLoss:
        """See RegularizedLoss."""
        super().row_loss(as_rows, **context)
        if self.prior is None:
            return self._row_loss
        return replace(self._smoothing, prior=self.prior)


class Labo(RegularizedLoss):
    """LABO (Lu et al. 2023, Algorithm 1): smoothing towards P* = softmax(z/τ), after a warm-up (functional.Labo).

    temperature: τ, in [0.001, 1000]
    mass: α in [0, 1]; None for the paper's adaptive 1 − ρ·H(p)/log K
    rho: ρ in [0, 1]
    warmup_steps: so many updates use uniform smoothing first (the paper: 5000); at most a tenth of the training
    warmup_smoothing: α of that smoothing, in [0, 1]

    The number of updates that are done comes from one of three: the argument `step` of the call; `set_step` before it;
    or the module's own counter, which `follow(optimizer)` keeps. In training, one of them has to be used where there is
    a warm-up. The number is in the module's state_dict. Without a number, evaluation shows LABO's own objective.

    >>> loss = Labo(warmup_steps=100)
    >>> loss(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]), step=99)  # uniform smoothing of 0.1
    tensor(0.7394)
    >>> loss(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]), step=100)  # α = 1 − 0.5·H(p)/log 3
    tensor(0.9129)
    """

    def __init__(
        self,
        temperature: float = 1.25,
        mass: float | None = None,
        rho: float = 0.5,
        warmup_steps: int = 0,
        warmup_smoothing: float = 0.1,
        **manners: Any,
    ):
        within("temperature", temperature, *TEMPERATURES)
        if mass is not None:
            within("mass", mass, 0, 1)
        within("rho", rho, 0, 1)
        within("warmup_steps", warmup_steps, 0)
        within("warmup_smoothing", warmup_smoothing, 0, 1)
        super().__init__(functional.Labo(temperature, mass, rho), **manners)
        self.warmup_steps = warmup_steps
        self._uniform = functional.LabelSmoothing(warmup_smoothing)
        self._step, self._told = 0, False

    def set_step(self, step: int) -> None:
        """Say how many updates are done; a trainer that counts them calls this before each one."""
        self._step, self._told = int(step), True

    def follow(self, optimizer: torch.optim.Optimizer) -> Any:
        """Count the steps of an optimizer from now on; returns the handle whose remove() ends that.

        After a resume: load the module's state_dict, then follow the new optimizer.
        """
        self._told = True
        return optimizer.register_step_post_hook(lambda *_: self.set_step(self._step + 1))

    def row_loss(self, as_rows: Callable, step: int | None = None, **context: Any) -> RowLoss:
        """See RegularizedLoss; step: the number of updates that are done."""
        super().row_loss(as_rows, **context)
        if step is None and self._told:
            step = self._step
        if step is None and self.training and self.warmup_steps:
            raise UserError(
                f"step: nothing tells where in the warm-up of {self.warmup_steps} updates this is: give step=, "
                "or call set_step(number) before each update, or follow(optimizer) once"
            )
        return self._uniform if step is not None and step < self.warmup_steps else self._row_loss

    def get_extra_state(self) -> torch.Tensor:
        """The number of updates, for the state_dict."""
        return torch.tensor(self._step)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Take the number of updates from a state_dict."""
        self._step = int(state)

    def extra_repr(self) -> str:
        """What print(loss) shows between the parentheses."""
        return f"{super().extra_repr()}, warmup_steps={self.warmup_steps}"


class ConfidencePenalty(RegularizedLoss):
    """−log p_k − β·H(p) (functional.ConfidencePenalty).

    beta: β, in [0, 1000]

    >>> ConfidencePenalty(1.0)(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # log 2 − H(p)
    tensor(-0.3466)
    """

    def __init__(self, beta: float = 0.1, **manners: Any):
        within("beta", beta, 0, LARGEST_WEIGHT)
        super().__init__(functional.ConfidencePenalty(beta), **manners)


class Focal(RegularizedLoss):
    """−(1−p_k)^γ·log p_k (functional.Focal).

    gamma: γ, in [0, 100]
    detach: treat the factor as a constant in the gradient

    >>> Focal(2.0)(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # (1 − ½)²·log 2
    tensor(0.1733)
    """

    def __init__(self, gamma: float = 1.0, detach: bool = False, **manners: Any):
        within("gamma", gamma, *FOCAL_GAMMA)
        super().__init__(functional.Focal(gamma, detach), **manners)


class AntiFocal(RegularizedLoss):
    """−(1+α·p_k)^γ·log p_k (functional.AntiFocal).

    gamma, alpha: γ in [0, 10] and α in [0, 100]
    detach: treat the factor as a constant in the gradient, as the authors' code does

    >>> AntiFocal(1.0, 0.5)(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # (1 + ½·½)·log 2
    tensor(0.8664)
    """

    def __init__(self, gamma: float = 1.0, alpha: float = 0.5, detach: bool = False, **manners: Any):
        within("gamma", gamma, *ANTI_FOCAL_GAMMA)
        within("alpha", alpha, *ANTI_FOCAL_ALPHA)
        super().__init__(functional.AntiFocal(gamma, alpha, detach), **manners)


class GeneralizedEntropy(RegularizedLoss):
    """−log p_k + β·J_α(u‖p), from the confidence penalty (α = 0) to label smoothing (1); functional.GeneralizedEntropy.

    alpha: α in [0, 1], at a limit or at least 0.001 away from it
    beta: β, in [0, 1000]

    >>> GeneralizedEntropy(1.0, 1.0)(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]))  # log 2 + KL(u‖p)
    tensor(0.7498)
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.7, **manners: Any):
        within("alpha", alpha, 0, 1)
        if is_near_a_limit(alpha):
            raise UserError(
                f"alpha: {alpha} is so near to a limit that float32 cannot tell them apart: "
                f"give 0, 1 or a number in [{NEAR_A_LIMIT}, {1 - NEAR_A_LIMIT}]"
            )
        within("beta", beta, 0, LARGEST_WEIGHT)
        super().__init__(functional.GeneralizedEntropy(alpha, beta), **manners)


class Distillation(RegularizedLoss):
    """(1−α)·(−log p_k) + α·s·KL(softmax(t/T) ‖ softmax(z/τ)) for a teacher's logits t (Hinton et al. 2015).

    alpha: α in [0, 1], weight of the teacher; 1 for a teacher alone, as where the target is a distribution
    temperature: T, in [0.001, 1000]
    student_temperature: τ, in [0.001, 1000]; None for T
    scale: "t2": s = T²; "none": s = 1
    match: "probs" as above; "logits": half the mean squared distance of the logits (functional.LogitMatching), at T = 1

    The call's argument `teacher` holds the logits t, in the shape of the student's, or (hidden, weight) or
    (hidden, weight, bias) of the teacher, whose logits then never exist. No gradient goes to the teacher.

    >>> loss, teacher = Distillation(1.0), torch.tensor([[0.8, 0.1, 0.1]]).log()
    >>> loss(torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([0]), teacher=teacher)
    tensor(0.1927)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        temperature: float = 1.0,
        student_temperature: float | None = None,
        scale: str = "t2",
        match: str = "probs",
        **manners: Any,
    ):
        within("alpha", alpha, 0, 1)
        within("temperature", temperature, *TEMPERATURES)
        student = temperature if student_temperature is None else student_temperature
        within("student_temperature", student, *TEMPERATURES)
        if scale not in ("t2", "none") or match not in ("probs", "logits"):
            raise UserError(f'scale, match: {scale!r}, {match!r}: give "t2" or "none", and "probs" or "logits"')
        if match == "logits" and (temperature != 1 or student != 1):
            raise UserError('match: "logits" compares logits at no temperature: leave the temperatures out')
        # without its teacher, who arrives with the call
        plan = functional.SoftTargets(alpha, UNIFORM, student, temperature**2 if scale == "t2" else 1.0)
        super().__init__(plan, **manners)
        self._plan, self.temperature, self.match = plan, temperature, match

    def row_loss(self, as_rows: Callable, teacher: Any = None, **context: Any) -> RowLoss:
        """See RegularizedLoss; teacher: see the class."""
        super().row_loss(as_rows, **context)
        if teacher is None:
            raise UserError("teacher: missing: give teacher=logits, or teacher=(hidden, weight, bias)")
        if torch.is_tensor(teacher):
            logits = given_logits(as_rows(teacher).detach())
        else:
            hidden, weight, bias = (*teacher, None)[:3]
            logits = projected_logits(
                hidden.detach().reshape(-1, hidden.size(-1)), weight.detach(), None if bias is None else bias.detach()
            )
        plan = self._plan
        if self.match == "logits":
            return functional.LogitMatching(plan.mass, logits)
        return functional.Distillation(plan.mass, logits, self.temperature, plan.student_temperature, plan.scale)

    def extra_repr(self) -> str:
        """What print(loss) shows between the parentheses."""
        return f"{super().extra_repr()}, teacher_temperature={self.temperature}, match={self.match!r}"


class _Around(RegularizedLoss):
    """Base of the modules around another one, whose manners they take."""

    def __init__(self, base: RegularizedLoss):
        super().__init__(
            base._row_loss, reduction=base.reduction, ignore_index=base.ignore_index, class_dim=base.class_dim
        )
        self.base = base

    def row_loss(self, as_rows: Callable, **context: Any) -> RowLoss:
        """See RegularizedLoss."""
        return self.base.row_loss(as_rows, **context)


class ZLoss(_Around):
    """Another loss plus λ·LSE², which keeps the logits near log-probabilities (Chowdhery et al. 2022).

    base: any module of this file but RDrop, which goes around this one; its manners hold
    weight: λ, in [0, 1000]

    >>> loss = ZLoss(CrossEntropy(), 1.0)
    >>> loss(torch.tensor([[0.5, 0.25, 0.25]]).log() + 2, torch.tensor([0]))  # log 2 + 2²
    tensor(4.6931)
    """

    def __init__(self, base: RegularizedLoss, weight: float = 1e-4):
        within("weight", weight, 0, LARGEST_WEIGHT)
        if isinstance(base, RDrop):
            raise UserError("base: R-Drop goes around everything else: write RDrop(ZLoss(…))")
        super().__init__(base)
        self.weight = weight

    def row_loss(self, as_rows: Callable, **context: Any) -> RowLoss:
        """See RegularizedLoss."""
        return with_z_loss(super().row_loss(as_rows, **context), self.weight)

    def extra_repr(self) -> str:
        """What print(loss) shows between the parentheses."""
        return f"weight={self.weight}"


class RDrop(_Around):
    """The base loss of two dropout passes, summed, plus w/2·[KL(p₁‖p₂) + KL(p₂‖p₁)] (Liang et al. 2021).

    base: any module of this file; its manners hold, and "mean" is over the targets of one pass
    weight: w, in [0, 1000]

    The call's argument `second` is the second pass in the shape of the first. In evaluation (`loss.eval()`) the loss is
    the base's alone, of the first pass.

    >>> z = torch.tensor([[0.5, 0.25, 0.25]]).log()
    >>> loss = RDrop(CrossEntropy(), 1.0)
    >>> loss(z, torch.tensor([0]), second=torch.tensor([[0.25, 0.5, 0.25]]).log())  # log 2 + log 4 + the symmetric KL
    tensor(2.2527)
    """

    def __init__(self, base: RegularizedLoss, weight: float = 5.0):
        within("weight", weight, 0, LARGEST_WEIGHT)
        if isinstance(base, RDrop):
            raise UserError("base: is R-Drop already: give the loss inside it")
        super().__init__(base)
        self.weight = weight

    def row_loss(self, as_rows: Callable, second: torch.Tensor | None = None, **context: Any) -> RowLoss:
        """See RegularizedLoss."""
        base = super().row_loss(as_rows, **context)
        if not self.training:
            return base
        if second is None:
            raise UserError("second: missing: give second=, the model's second pass, or call eval() for evaluation")
        return functional.RDrop(base, self.weight)

    def extra_repr(self) -> str:
        """What print(loss) shows between the parentheses."""
        return f"weight={self.weight}"

    def _paired(self, as_rows, rows, context):
        if not self.training:
            return rows
        return torch.stack([rows, as_rows(context["second"])], 1).flatten(0, 1)


def _known(reduction):
    if reduction not in _REDUCTIONS:
        raise UserError(f"reduction: {reduction!r} is unknown: give one of {', '.join(_REDUCTIONS)}")
    return reduction


def _mean(total, count):
    """total / count; NaN with a gradient of 0 where nothing counts, as in torch."""
    if isinstance(count, int):
        return total / count if count else total + math.nan
    return total / count.clamp(min=1) + torch.where(count == 0, math.nan, 0.0)


def _checked_prior(prior, form):
    """The number of types with a share; raises UserError where the prior is no distribution or not one for the form."""
    if prior.dim() != 1 or not bool((prior >= 0).all()) or abs(float(prior.double().sum()) - 1) > 1e-4:
        raise UserError(f"prior: {tuple(prior.shape)}: give a distribution over the classes, (C,), whose sum is 1")
    shares = prior[prior > 0]
    if form == "fairseq" and not bool(torch.isclose(shares, shares[0], rtol=1e-4).all()):
        raise UserError('form: "fairseq" is defined for equal shares only: use form="torch" with this prior')
    return len(shares)
