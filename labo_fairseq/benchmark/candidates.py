"""What `labo benchmark loss` compares: functions of a problem that do one forward and backward pass."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss

from ..functional import (
    AntiFocal,
    ConfidencePenalty,
    CrossEntropy,
    Focal,
    GeneralizedEntropy,
    LabelSmoothing,
    Labo,
    RDrop,
    projection_loss,
    token_loss,
)

BASELINE = "fairseq label_smoothed_cross_entropy"
FLOAT32 = " in float32"
SMOOTHING = 0.1


@dataclass
class Problem:
    """Hidden states (N, D), the projection's weight (V, D), targets (N,)."""

    hidden: torch.Tensor
    weight: torch.Tensor
    target: torch.Tensor

    @classmethod
    def random(cls, rows, width, vocabulary, device="cpu", dtype=torch.float32, seed=0):
        """Normal hidden states, weights of variance 1/D: logits of variance 1, as at the start of training."""
        generator = torch.Generator().manual_seed(seed)
        hidden = torch.randn(rows, width, generator=generator)
        weight = torch.randn(vocabulary, width, generator=generator) / width**0.5
        target = torch.randint(vocabulary, (rows,), generator=generator)
        leaves = [x.to(device=device, dtype=dtype).requires_grad_() for x in (hidden, weight)]
        return cls(*leaves, target.to(device))

    def logits(self):
        """(N, V), made by autograd."""
        return self.hidden @ self.weight.t()

    def in_float32(self):
        """The same problem in float32."""
        leaves = [x.detach().float().requires_grad_() for x in (self.hidden, self.weight)]
        return type(self)(*leaves, self.target)

    def clear(self):
        """Drop the gradients, as fairseq does before each update."""
        self.hidden.grad = self.weight.grad = None


def losses(problem):
    """The losses of the package by name; R-Drop takes the problem's rows as pairs."""
    # counts as in Zipf's law
    unigram = 1 / torch.arange(1.0, problem.weight.size(0) + 1, device=problem.weight.device)
    return {
        "labo adaptive": Labo(),
        "labo fixed": Labo(mass=0.1),
        "cross entropy": CrossEntropy(),
        "label smoothing": LabelSmoothing(SMOOTHING),
        "label smoothing unigram": LabelSmoothing(SMOOTHING, prior=unigram / unigram.sum()),
        "confidence penalty": ConfidencePenalty(0.1),
        "focal": Focal(1.0),
        "anti-focal": AntiFocal(1.0, 0.5),
        "generalized entropy": GeneralizedEntropy(0.5, 0.7),
        "r-drop labo adaptive": RDrop(Labo(), 5.0),
    }


def candidates(problem, kernel="torch"):
    """name -> function without arguments, one forward and backward pass each; kernel: row pass of the fused path."""
    table = {BASELINE: lambda: _fairseq(problem), "floor: three products": _floor(problem)}
    if problem.hidden.dtype != torch.float32:
        table[BASELINE + FLOAT32] = _in_float32(problem, _fairseq)
        table["fused labo adaptive" + FLOAT32] = _in_float32(problem, lambda p: fused(p, Labo(), kernel))
    for name, loss in losses(problem).items():
        table[f"fused {name}"] = lambda loss=loss: fused(problem, loss, kernel)
    for name, loss in losses(problem).items():
        table[f"dense {name}"] = lambda loss=loss: dense(problem, loss)
    table["labo as the paper writes it"] = lambda: _literal_labo(problem)
    table["F.cross_entropy label_smoothing"] = lambda: F.cross_entropy(
        problem.logits(), problem.target, reduction="sum", label_smoothing=SMOOTHING
    ).backward()
    if hasattr(F, "linear_cross_entropy"):
        table["F.linear_cross_entropy without smoothing"] = lambda: F.linear_cross_entropy(
            problem.hidden, problem.weight, problem.target, reduction="sum"
        ).backward()
    liger = _liger(problem)
    if liger:
        table["Liger-Kernel fused linear cross entropy"] = liger
    return table


def fused(problem, loss, kernel="torch"):
    """One pass of the fused path."""
    projection_loss(problem.hidden, problem.weight, _paired(problem, loss), loss, kernel=kernel).total.backward()


def dense(problem, loss):
    """One pass of the dense path, the projection included."""
    token_loss(problem.logits(), _paired(problem, loss), loss).loss.sum().backward()


def _paired(problem, loss):
    """Both rows of a pair (R-Drop) have one target."""
    if loss.rows_per_token == 1:
        return problem.target
    return problem.target[: len(problem.target) // 2].repeat_interleave(2)


def _fairseq(problem):
    """fairseq's own function, as its criterion calls it."""
    lprobs = F.log_softmax(problem.logits(), dim=-1, dtype=torch.float32)
    label_smoothed_nll_loss(lprobs, problem.target, SMOOTHING)[0].backward()


def _in_float32(problem, function):
    wide = problem.in_float32()

    def run():
        wide.clear()
        function(wide)

    return run


def _literal_labo(problem, tau=1.25, rho=0.5):
    """Eq. 12, 14 and 16 of Lu et al. 2023 on probabilities, P* and α detached, as one writes them down first."""
    log_p = F.log_softmax(problem.logits(), dim=-1)
    types = log_p.size(-1)
    log_types = torch.log(torch.tensor(float(types), device=log_p.device))
    with torch.no_grad():
        p = log_p.exp()
        alpha = 1 - rho * -(p * log_p).sum(-1, keepdim=True) / log_types
        p_star = torch.softmax(log_p / tau, -1)
        p_hat = alpha * p_star
        p_hat.scatter_add_(1, problem.target.unsqueeze(1), 1 - alpha)
        constant = (alpha * tau * p_star * (types * p_star).log()).sum()
    (constant - (p_hat * log_p).sum()).backward()


def _floor(problem, chunk=256):
    """The three matrix products of projection and backward pass, in chunks of rows, with nothing between them."""
    hidden, weight = problem.hidden.detach(), problem.weight.detach()
    wide = torch.float32 if hidden.dtype == torch.float32 else hidden.dtype

    def products():
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        buffer = torch.empty(min(chunk, len(hidden)), len(weight), dtype=wide, device=hidden.device)
        for start in range(0, len(hidden), chunk):
            h = hidden[start : start + chunk]
            z = torch.mm(h, weight.t(), out=buffer[: len(h)])
            torch.mm(z, weight, out=grad_hidden[start : start + chunk])
            grad_weight.addmm_(z.t(), h)

    return products


def _liger(problem):
    if problem.hidden.device.type != "cuda":
        return None  # its kernels are Triton's
    try:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy
    except ImportError:
        return None
    return lambda: liger_fused_linear_cross_entropy(
        problem.hidden, problem.weight, problem.target, reduction="sum", label_smoothing=SMOOTHING
    ).backward()
