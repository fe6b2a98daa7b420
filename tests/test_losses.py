"""The modules of losses.py: the published equations, the manners of torch's CrossEntropyLoss, the fused form."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from _cases import (
    CASES,
    confidence_penalty,
    cross_entropy,
    distilled,
    fairseq_smoothing,
    generalized_entropy,
    kl,
    labo,
    modulated,
    parametrize,
    smoothed_cross_entropy,
    teacher_row,
    torch_smoothing,
    z_loss,
)

from labo_fairseq import losses
from labo_fairseq.errors import UserError
from labo_fairseq.losses import (
    AntiFocal,
    ConfidencePenalty,
    CrossEntropy,
    Distillation,
    Focal,
    GeneralizedEntropy,
    LabelSmoothing,
    Labo,
    RDrop,
    RegularizedLoss,
    ZLoss,
)

EXACT = {"atol": 1e-12, "rtol": 1e-12}
TYPES = 9
IGNORED = -100


def zipf(types):
    u = 1 / torch.arange(1, types + 1, dtype=torch.float64)
    return u / u.sum()


def unigram_smoothing(alpha):
    return lambda logits, target: smoothed_cross_entropy(logits, target, zipf(logits.size(-1)).to(logits), alpha)


def all_but_two(types):
    inside = torch.ones(types, dtype=torch.float64)
    inside[[0, 3]] = 0
    return inside / inside.sum()


def masked_smoothing(epsilon):
    """Chen et al. 2022: the target 1−ε, each other of the K' types that occur ε/(K'−1); targets occur."""

    def reference(logits, target):
        inside = (all_but_two(logits.size(-1)) > 0).double()
        row = (inside * epsilon / (inside.sum() - 1)).expand_as(logits).scatter(1, target.unsqueeze(1), 1 - epsilon)
        return -(row * torch.softmax(logits, -1).log()).sum(-1)

    return reference


# module, the published equation of a token (N, C), (N,) -> (N,), further arguments of the call
MODULES = {
    "RegularizedLoss": (RegularizedLoss(losses.functional.Focal(2.0)), modulated(lambda p: (1 - p) ** 2)),
    "CrossEntropy": (CrossEntropy(), cross_entropy),
    "LabelSmoothing": (LabelSmoothing(0.2), torch_smoothing(0.2)),
    "LabelSmoothing, fairseq": (LabelSmoothing(0.2, "fairseq"), fairseq_smoothing(0.2)),
    "LabelSmoothing, unigram": (LabelSmoothing(0.2, prior=zipf(TYPES)), unigram_smoothing(0.2)),
    "LabelSmoothing, masked": (LabelSmoothing(0.2, "fairseq", all_but_two(TYPES)), masked_smoothing(0.2)),
    "Labo": (Labo(), labo(1.25)),
    "Labo, fixed": (Labo(1.5, mass=0.3), labo(1.5, 0.3)),
    "Labo, rho": (Labo(0.8, rho=0.9), labo(0.8, rho=0.9)),
    "ConfidencePenalty": (ConfidencePenalty(0.4), confidence_penalty(0.4)),
    "Focal": (Focal(2.0), modulated(lambda p: (1 - p) ** 2)),
    "Focal, detached": (Focal(1.0, detach=True), modulated(lambda p: 1 - p, detach=True)),
    "AntiFocal": (AntiFocal(1.0, 0.5), modulated(lambda p: 1 + 0.5 * p)),
    "GeneralizedEntropy": (GeneralizedEntropy(0.5, 0.7), generalized_entropy(0.5, 0.7)),
    "Distillation": (Distillation(0.4, 2.0), distilled(0.4, 2.0), {"teacher": teacher_row(TYPES)}),
    "ZLoss": (ZLoss(Labo(1.5, mass=0.3), 0.01), z_loss(labo(1.5, 0.3), 0.01)),
    "ZLoss, own pass": (ZLoss(GeneralizedEntropy(0.5, 0.7), 0.01), z_loss(generalized_entropy(0.5, 0.7), 0.01)),
    "RDrop": (RDrop(Labo(1.5, mass=0.3), 2.0).eval(), labo(1.5, 0.3)),
}


def rows(count=7, types=TYPES, dtype=torch.float64, seed=0):
    """Logits and targets; two of the targets are to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, types, generator=generator, dtype=torch.float64)
    target = torch.tensor([1, 2, 4, 5, 6, 7, 8])[torch.randint(7, (count,), generator=generator)]
    target[[2, 5]] = IGNORED
    return logits.to(dtype).requires_grad_(), target


def call_arguments(extra, count):
    """The teacher thinks the same of every token."""
    return {name: value.expand(count, -1) for name, value in extra.items()}


def gradients(value, *leaves):
    return value.detach(), *torch.autograd.grad(value, leaves)


@parametrize()
def test_every_loss_of_the_package_equals_its_equation(case):
    logits, target = rows(types=11)
    kept = target != IGNORED
    got = gradients(RegularizedLoss(case.make(11))(logits, target), logits)
    torch.testing.assert_close(got, gradients(case.reference(logits[kept], target[kept]).mean(), logits), **EXACT)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_module_equals_its_equation(name, reduction):
    module, reference, *extra = MODULES[name]
    module = copy.deepcopy(module)
    module.reduction = reduction
    logits, target = rows()
    kept = (target != IGNORED).nonzero().squeeze(1)
    expected = torch.zeros(7, dtype=torch.float64).index_copy(0, kept, reference(logits[kept], target[kept]))
    reduce = {"mean": lambda x: x.sum() / len(kept), "sum": torch.sum, "none": lambda x: x}[reduction]
    got = module(logits, target, **call_arguments(dict(*extra), 7))
    assert got.shape == reduce(expected).shape
    factor = torch.linspace(1, 2, got.numel(), dtype=torch.float64).view(got.shape)
    expected = reduce(expected)
    torch.testing.assert_close(
        gradients((got * factor).sum(), logits), gradients((expected * factor).sum(), logits), **EXACT
    )


def test_no_module_is_left_out():
    assert {name.partition(",")[0] for name in MODULES} == set(losses.__all__)


def projection(types=TYPES, count=7, width=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((count, width), (types, width), (types,))
    ]
    return [x.to(dtype).requires_grad_() for x in tensors]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_fused_form_equals_the_dense_one(name, reduction, with_bias):
    module, _, *extra = MODULES[name]
    module = copy.deepcopy(module)
    module.reduction = reduction
    hidden, weight, bias = projection()
    leaves = [hidden, weight, bias][: 3 if with_bias else 2]
    bias = bias if with_bias else None
    target, arguments = rows()[1], call_arguments(dict(*extra), 7)
    fused = module(hidden, target, weight=weight, bias=bias, **arguments)
    dense = module(F.linear(hidden, weight, bias), target, **arguments)
    factor = torch.linspace(1, 2, fused.numel(), dtype=torch.float64).view(fused.shape)
    torch.testing.assert_close(
        gradients((fused * factor).sum(), *leaves), gradients((dense * factor).sum(), *leaves), **EXACT
    )
    with torch.no_grad():
        torch.testing.assert_close(module(hidden, target, weight=weight, bias=bias, **arguments), dense, **EXACT)


@parametrize()
def test_every_loss_of_the_package_has_a_fused_form(case):
    hidden, weight, bias = projection(11)
    target = rows(types=11)[1]
    module = RegularizedLoss(case.make(11))
    torch.testing.assert_close(
        gradients(module(hidden, target, weight=weight, bias=bias), hidden, weight, bias),
        gradients(module(F.linear(hidden, weight, bias), target), hidden, weight, bias),
        **EXACT,
    )


# ---- the manners of torch.nn.CrossEntropyLoss

SHAPES = {"one row": (5,), "rows": (6, 5), "sequence": (3, 5, 4), "image": (2, 5, 3, 4), "empty": (0, 5)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_equal_to_torchs_module(shape, reduction, smoothing, ignore_index):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(5, (*shape[:1], *shape[2:]) if len(shape) > 1 else (), generator=generator)
    if target.dim():
        target.view(-1)[::3] = ignore_index
    manners = {"reduction": reduction, "ignore_index": ignore_index}
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, **manners)(logits, target)
    ours = LabelSmoothing(smoothing, **manners)(logits, target)
    assert ours.shape == theirs.shape
    for got, expected in zip(gradients(ours.sum(), logits), gradients(theirs.sum(), logits), strict=True):
        torch.testing.assert_close(got, expected, equal_nan=True, **EXACT)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_to_count_is_nan_without_a_gradient(name):
    """As torch: the mean of nothing; an update changes nothing."""
    module, _, *extra = MODULES[name]
    logits, target = rows()
    value, gradient = gradients(
        module(logits, torch.full_like(target, -100), **call_arguments(dict(*extra), 7)), logits
    )
    assert value.isnan() and (gradient == 0).all()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("shape", [(2, TYPES, 3), (2, TYPES, 3, 2)])
def test_the_classes_may_be_last(name, shape):
    module, _, *extra = MODULES[name]
    last = copy.deepcopy(module)
    last.class_dim = -1
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, 8, (2, *shape[2:]), generator=generator)
    spread = {key: value.expand(*target.shape, -1) for key, value in dict(*extra).items()}
    first = module(logits, target, **{key: value.movedim(-1, 1) for key, value in spread.items()})
    second = last(logits.movedim(1, -1), target, **spread)
    torch.testing.assert_close(gradients(first, logits), gradients(second, logits), **EXACT)


def test_features_are_last_in_the_fused_form_whatever_class_dim_is():
    hidden, weight, bias = projection(count=12)
    target = torch.randint(TYPES, (3, 4), generator=torch.Generator().manual_seed(0))
    flat = Labo()(hidden, target.flatten(), weight=weight, bias=bias)
    for class_dim in (1, -1):
        module = Labo(class_dim=class_dim)
        torch.testing.assert_close(module(hidden.view(3, 4, 4), target, weight=weight, bias=bias), flat, **EXACT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MODULES)
def test_half_precision_is_worked_on_in_float32(name, dtype):
    """The loss is float32, that of the same numbers; only the gradient of the half input is rounded."""
    module, _, *extra = MODULES[name]
    logits, target = rows(dtype=dtype)
    full = logits.detach().float().requires_grad_()
    arguments = {key: value.float() for key, value in call_arguments(dict(*extra), 7).items()}
    value, gradient = gradients(module(logits, target, **arguments), logits)
    expected, full_gradient = gradients(module(full, target, **arguments), full)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(value, expected, atol=0, rtol=0)
    torch.testing.assert_close(gradient, full_gradient.to(dtype), atol=0, rtol=0)


@pytest.mark.parametrize("name", MODULES)
def test_autocast_changes_nothing_in_the_loss(name):
    """What autocast rounds is the model's product; the loss of its logits stays in float32, priors too."""
    module, _, *extra = MODULES[name]
    logits, target = rows(dtype=torch.float32)
    hidden, weight, bias = projection(dtype=torch.float32)
    arguments = {key: value.float() for key, value in call_arguments(dict(*extra), 7).items()}
    expected = module(logits, target, **arguments), module(hidden, target, weight=weight, bias=bias, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = module(logits, target, **arguments), module(hidden, target, weight=weight, bias=bias, **arguments)
        model = module(F.linear(hidden, weight, bias), target, **arguments)
    torch.testing.assert_close(got, expected, atol=0, rtol=0)
    torch.testing.assert_close(model, expected[1], atol=0.1, rtol=0.02)  # products of 8 bits


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_under_torch_compile(backend):
    """A compiled function around a loss, through the end of the warm-up, and without a graph for each step."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    loss = Labo(warmup_steps=3)
    hidden, weight, _ = projection()
    logits, target = rows()

    def both(logits, hidden, step):
        return loss(logits * 2, target, step=step) + loss(hidden * 2, target, weight=weight, step=step)

    compiled = torch.compile(both, backend=backend)
    for step in range(8):
        got = gradients(compiled(logits, hidden, step), logits, hidden, weight)
        torch.testing.assert_close(got, gradients(both(logits, hidden, step), logits, hidden, weight), **EXACT)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 6
    torch.testing.assert_close(torch.compile(Focal(), backend=backend)(logits, target), Focal()(logits, target))


@pytest.mark.parametrize("name", MODULES)
def test_copies_pickles_and_print(name):
    module, _, *extra = MODULES[name]
    logits, target = rows()
    arguments = call_arguments(dict(*extra), 7)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(logits, target, **arguments), module(logits, target, **arguments))
    assert type(module).__name__ in repr(module) and "reduction='mean'" in repr(module)


# ---- LABO's warm-up


def test_warm_up_by_the_argument():
    logits, target = rows()
    loss = Labo(warmup_steps=3, warmup_smoothing=0.2)
    uniform = F.cross_entropy(logits, target, label_smoothing=0.2)
    for step in (0, 2):
        torch.testing.assert_close(loss(logits, target, step=step), uniform, **EXACT)
    for step in (3, 1000):
        torch.testing.assert_close(loss(logits, target, step=step), Labo()(logits, target), **EXACT)


def test_warm_up_counts_the_steps_of_an_optimizer_and_not_the_calls():
    logits, target = rows()
    loss = Labo(warmup_steps=2)
    optimizer = torch.optim.SGD([logits], lr=0.0)
    handle = loss.follow(optimizer)
    seen = []
    for _ in range(4):
        for _ in range(3):  # gradient accumulation, and an evaluation in between
            value = loss(logits, target)
            loss.eval()(logits, target)
            loss.train()
            value.backward()
        seen.append(value.item() == pytest.approx(F.cross_entropy(logits, target, label_smoothing=0.1).item()))
        optimizer.step()
    assert seen == [True, True, False, False]
    handle.remove()
    optimizer.step()
    assert loss.state_dict()["_extra_state"] == 4


def test_warm_up_is_saved_and_goes_on_after_a_resume(tmp_path):
    logits, target = rows()
    first, second = Labo(warmup_steps=3), Labo(warmup_steps=3)
    first.set_step(2)
    torch.save(first.state_dict(), tmp_path / "loss.pt")
    second.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    optimizer = torch.optim.SGD([logits], lr=0.0)
    second.follow(optimizer)
    torch.testing.assert_close(second(logits, target), F.cross_entropy(logits, target, label_smoothing=0.1), **EXACT)
    second(logits, target).backward()
    optimizer.step()
    torch.testing.assert_close(second(logits, target), Labo()(logits, target), **EXACT)


def test_a_warm_up_that_nothing_tells_the_step_raises_in_training_alone():
    logits, target = rows()
    loss = Labo(warmup_steps=3)
    with pytest.raises(UserError, match="give step=") as error:
        loss(logits, target)
    assert "\n" not in str(error.value)
    torch.testing.assert_close(loss.eval()(logits, target), Labo()(logits, target), **EXACT)


def test_warm_up_inside_other_modules():
    logits, target = rows()
    loss = RDrop(ZLoss(Labo(warmup_steps=3), 0.0), 0.0)
    uniform = F.cross_entropy(logits, target, label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, target, second=logits, step=0), 2 * uniform, **EXACT)
    assert loss(logits, target, second=logits, step=3) != 2 * uniform


# ---- R-Drop, distillation, priors


def literal_rdrop(base, weight, first, second, target):
    p, q = torch.softmax(first, -1), torch.softmax(second, -1)
    return base(first, target) + base(second, target) + weight / 2 * (kl(p, q) + kl(q, p))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("RDrop")])
def test_rdrop_around_every_module(name, reduction, fused):
    module, reference, *extra = MODULES[name]
    base = copy.deepcopy(module)
    base.reduction = reduction
    loss, target = RDrop(base, 3.0), rows()[1]
    kept = (target != IGNORED).nonzero().squeeze(1)
    hidden, weight, bias = projection()
    other = (hidden.detach() * 1.3 + 0.1).requires_grad_()

    def logits():
        return F.linear(hidden, weight, bias), F.linear(other, weight, bias)

    expected = literal_rdrop(reference, 3.0, *(x[kept] for x in logits()), target[kept])
    if reduction == "none":
        expected = torch.zeros(7, dtype=torch.float64).index_copy(0, kept, expected)
    arguments = call_arguments(dict(*extra), 7)
    if fused:
        got = loss(hidden, target, weight=weight, bias=bias, second=other, **arguments)
    else:
        first, second = logits()
        got = loss(first, target, second=second, **arguments)
    factor = torch.linspace(1, 2, got.numel(), dtype=torch.float64).view(got.shape)
    if reduction == "mean":
        expected = expected.mean()
    leaves = (hidden, other, weight, bias)
    torch.testing.assert_close(
        gradients((got * factor).sum(), *leaves), gradients((expected * factor).sum(), *leaves), **EXACT
    )


def test_rdrop_keeps_to_the_place_of_the_classes():
    first, second = torch.randn(2, 2, 3, TYPES, dtype=torch.float64)
    target = torch.randint(TYPES, (2, 3))
    last = RDrop(CrossEntropy(class_dim=-1), 3.0)(first, target, second=second)
    in_torchs_place = RDrop(CrossEntropy(), 3.0)(first.movedim(-1, 1), target, second=second.movedim(-1, 1))
    torch.testing.assert_close(last, in_torchs_place, **EXACT)
    flat = [x.view(-1, TYPES) for x in (first, second)]
    torch.testing.assert_close(last, literal_rdrop(cross_entropy, 3.0, *flat, target.view(-1)).mean(), **EXACT)


def literal_distillation(alpha, temperature, student, scale, logits, target, teacher):
    """Hinton et al. 2015; the teacher differs from token to token."""
    soft = kl(torch.softmax(teacher / temperature, -1), torch.softmax(logits / student, -1))
    return (1 - alpha) * cross_entropy(logits, target) + alpha * scale * soft


@pytest.mark.parametrize(
    "arguments, literal",
    [
        ((0.5,), (0.5, 1, 1, 1)),
        ((0.3, 2.0), (0.3, 2, 2, 4)),
        ((0.3, 2.0, 1.0), (0.3, 2, 1, 4)),
        ((1.0, 3.0, 2.0, "none"), (1.0, 3, 2, 1)),
    ],
)
def test_distillation_from_a_teacher(arguments, literal):
    logits, target = rows()
    kept = target != IGNORED
    hidden, weight, bias = projection()
    teacher = F.linear(hidden, weight, bias)
    loss = Distillation(*arguments)
    expected = literal_distillation(*literal, logits[kept], target[kept], teacher[kept].detach()).mean()
    expected = gradients(expected, logits)
    for given in (teacher, (hidden, weight, bias)):
        torch.testing.assert_close(gradients(loss(logits, target, teacher=given), logits), expected, **EXACT)
    loss(logits, target, teacher=(hidden, weight, bias)).backward()
    assert hidden.grad is None and weight.grad is None  # a teacher does not learn


def test_matching_logits():
    """(1−α)·NLL + α/2 of the mean squared distance of the centred logits."""
    logits, target = rows()
    kept = target != IGNORED
    teacher = torch.randn(7, TYPES, dtype=torch.float64)
    distance = (logits - logits.mean(1, keepdim=True) - teacher + teacher.mean(1, keepdim=True)).square().mean(1)
    expected = (0.6 * F.cross_entropy(logits, target, reduction="none") + 0.2 * distance)[kept].mean()
    got = Distillation(0.4, match="logits")(logits, target, teacher=teacher)
    torch.testing.assert_close(gradients(got, logits), gradients(expected, logits), **EXACT)


def test_a_prior_is_saved_and_moves_with_the_module():
    loss = LabelSmoothing(0.1, prior=zipf(TYPES))
    other = LabelSmoothing(0.1, prior=torch.full((TYPES,), 1 / TYPES, dtype=torch.float64))
    other.load_state_dict(loss.state_dict())
    logits, target = rows()
    torch.testing.assert_close(other(logits, target), loss(logits, target), atol=0, rtol=0)
    assert loss.to(torch.float32).prior.dtype == torch.float32
    assert not LabelSmoothing().state_dict()


# ---- what is refused, in one line


def z(*shape):
    return torch.zeros(*shape)


INDEX = torch.tensor([0, 1])
REFUSED = {
    "reduction": (lambda: Labo(reduction="average"), "mean, sum, none"),
    "class_dim": (lambda: Labo(class_dim=2), "class_dim"),
    "temperature": (lambda: Labo(temperature=0), "temperature"),
    "temperature nan": (lambda: Labo(temperature=float("nan")), "temperature"),
    "mass": (lambda: Labo(mass=1.1), "mass"),
    "rho": (lambda: Labo(rho=-0.1), "rho"),
    "warm-up": (lambda: Labo(warmup_steps=-1), "warmup_steps"),
    "warm-up's smoothing": (lambda: Labo(warmup_smoothing=2), "warmup_smoothing"),
    "smoothing": (lambda: LabelSmoothing(1.5), "label_smoothing"),
    "form": (lambda: LabelSmoothing(0.1, "joeynmt"), "form"),
    "prior's name": (lambda: LabelSmoothing(0.1, prior="unigram"), "prior"),
    "prior's sum": (lambda: LabelSmoothing(0.1, prior=torch.ones(4)), "sum is 1"),
    "prior below 0": (lambda: LabelSmoothing(0.1, prior=torch.tensor([1.5, -0.5])), "prior"),
    "prior's shape": (lambda: LabelSmoothing(0.1, prior=torch.ones(1, 1)), "prior"),
    "unequal shares": (lambda: LabelSmoothing(0.1, "fairseq", zipf(4)), "equal shares"),
    "overflow of temperature": (lambda: Labo(1e300), "temperature"),
    "overflow of 1/temperature": (lambda: Labo(1e-300), "temperature"),
    "overflow of the penalty": (lambda: ConfidencePenalty(1e300), "beta"),
    "overflow of gamma": (lambda: AntiFocal(1e5, 0.5), "gamma"),
    "near a limit": (lambda: GeneralizedEntropy(1e-5), "near to a limit"),
    "overflow of the teacher": (lambda: Distillation(0.5, 1e300), "temperature"),
    "overflow of z-loss": (lambda: ZLoss(Labo(), 1e300), "weight"),
    "overflow of r-drop": (lambda: RDrop(Labo(), 1e300), "weight"),
    "penalty": (lambda: ConfidencePenalty(-1), "beta"),
    "gamma": (lambda: Focal(-1), "gamma"),
    "anti-focal": (lambda: AntiFocal(1, -1), "alpha"),
    "generalized entropy": (lambda: GeneralizedEntropy(1.5), "alpha"),
    "teacher's weight": (lambda: Distillation(1.5), "alpha"),
    "teacher's temperature": (lambda: Distillation(0.5, 0), "temperature"),
    "scale": (lambda: Distillation(0.5, scale="t"), "scale"),
    "matching at a temperature": (lambda: Distillation(0.5, 2.0, match="logits"), "no temperature"),
    "z-loss": (lambda: ZLoss(Labo(), -1), "weight"),
    "z-loss around r-drop": (lambda: ZLoss(RDrop(Labo())), "R-Drop"),
    "r-drop twice": (lambda: RDrop(RDrop(Labo())), "R-Drop"),
    "no second pass": (lambda: RDrop(Labo())(z(2, 3), INDEX), "second"),
    "another second pass": (lambda: RDrop(Labo())(z(2, 3), INDEX, second=z(3, 3)), "do not fit"),
    "no teacher": (lambda: Distillation()(z(2, 3), INDEX), "teacher"),
    "another teacher": (lambda: Distillation()(z(2, 3), INDEX, teacher=z(3, 3)), "do not fit"),
    "classes last": (lambda: Labo()(z(2, 4, 3), z(2, 4).long()), "class_dim"),
    "classes first": (lambda: Labo(class_dim=-1)(z(2, 3, 4), z(2, 4).long()), "class_dim"),
    "a target too many": (lambda: Labo()(z(2, 3), torch.tensor([0, 1, 1])), "do not fit"),
    "no input": (lambda: Labo()(torch.tensor(0.0), torch.tensor(0)), "do not fit"),
    "shares as target": (lambda: Labo()(z(2, 3), z(2, 3)), "Distillation"),
    "a target outside": (lambda: Labo()(z(2, 3), torch.tensor([0, 3])), "outside"),
    "hidden states of another width": (lambda: Labo()(z(2, 3), INDEX, weight=z(5, 4)), "hidden"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    wrong, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as error:
        wrong()
    assert "\n" not in str(error.value)


def test_an_argument_that_a_module_does_not_know():
    logits, target = rows()
    with pytest.raises(TypeError, match="Focal: unexpected argument step"):
        Focal()(logits, target, step=3)


def test_a_sharded_weight_is_refused():
    class Sharded(torch.Tensor):
        pass

    hidden, weight, _ = projection()
    with pytest.raises(UserError, match="Sharded is not one whole matrix"):
        Labo()(hidden, rows()[1], weight=weight.detach().as_subclass(Sharded))


# ---- the import


def test_the_import_needs_torch_alone():
    """Neither fairseq nor what it needs, and nothing that torch does not bring by itself."""
    blocked = "".join(
        f"sys.modules[{name!r}] = None\n" for name in ("fairseq", "hydra", "omegaconf", "sacrebleu", "scipy")
    )
    code = (
        f"import sys\n{blocked}import torch\nbefore = set(sys.modules)\nimport labo_fairseq.losses\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "{'labo_fairseq'}", done.stderr


def test_cases_hold_every_module_of_the_row_algebra():
    """Every loss of functional/ that these modules stand for is one of the cases that all invariants run on."""
    kinds = {type(case.make(5)).__name__ for case in CASES}
    assert {"Labo", "LabelSmoothing", "ConfidencePenalty", "Focal", "AntiFocal", "Distillation"} <= kinds
