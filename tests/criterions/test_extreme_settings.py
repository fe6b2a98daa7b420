"""Numbers that no method was made for: each is refused in one line, or the loss and its gradients are finite."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from _cases import CASES
from _models import build, run
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

from labo_fairseq.errors import UserError

FIRST = {case.criterion: case for case in reversed(CASES) if case.criterion}
EXTREMES = (-math.inf, -1.0, 0.0, 1e-300, 1e-30, 1e-5, 1e5, 1e30, 1e300, math.inf, math.nan)


def numbers_of(name):
    """The flags of a criterion that are floats."""
    fields = dataclasses.fields(CRITERION_DATACLASS_REGISTRY[name])
    return [field.name for field in fields if field.type in (float, "float")]


OTHERS = sorted(
    name for name, cls in CRITERION_REGISTRY.items() if cls.__module__.startswith("labo_fairseq.") and name not in FIRST
)
SETTINGS = [(name, flag) for name in sorted(FIRST) for flag in numbers_of(name)]


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize(("name", "flag"), SETTINGS)
def test_is_refused_or_finite(task, model, batch, name, flag, projection):
    for value in EXTREMES:
        flags = {**FIRST[name].flags, "projection": projection, flag: value}
        try:
            criterion = build(task, name, **flags)
        except UserError as error:
            assert "\n" not in str(error) and "--" in str(error)
            continue
        model.zero_grad()
        loss, _, _, grads = run(criterion, model, batch)
        assert loss.isfinite(), (value, loss)
        assert all(torch.isfinite(grad).all() for grad in grads.values()), value


@pytest.mark.parametrize("value", [1e300, math.inf, math.nan])
@pytest.mark.parametrize("name", OTHERS)
def test_of_criterions_that_need_images_or_a_teacher(name, value):
    """Their `check`, which needs neither."""
    criterion = CRITERION_REGISTRY[name]
    for flag in numbers_of(name):
        settings = dataclasses.asdict(CRITERION_DATACLASS_REGISTRY[name]()) | {
            "teacher_path": "teacher.pt",
            flag: value,
        }
        if flag in ("z_loss", "rdrop_weight"):  # of all criterions alike: above
            continue
        with pytest.raises(UserError, match=f"--{flag.replace('_', '-')}"):
            criterion.check(object.__new__(criterion), SimpleNamespace(**settings))
