"""Criterions with a matrix from a file: equal to the equations on the model's logits, dense alone, sizes checked."""

import pytest
import torch
from _cases import forward_correction, logit_smoothing, times
from _models import build, run

from labo_fairseq.errors import UserError


def some_matrix(types):
    generator = torch.Generator().manual_seed(types)
    weights = torch.rand(types, types, generator=generator, dtype=torch.float64) + torch.eye(types)
    return weights / weights.sum(0)


def matrix_smoothing(logits, target):
    wanted = some_matrix(logits.size(-1)).T[target]
    return -(wanted * torch.log_softmax(logits, -1)).sum(-1)


CRITERIONS = [
    ("forward_correction", "transition", forward_correction(times(some_matrix))),
    ("matrix_smoothing", "smoothing_matrix", matrix_smoothing),
    ("logit_smoothing", "smoothing_matrix", logit_smoothing(times(some_matrix))),
]
each_criterion = pytest.mark.parametrize("name, flag, reference", CRITERIONS, ids=[row[0] for row in CRITERIONS])


def write(path, matrix):
    path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in matrix.tolist()))
    return str(path)


@each_criterion
def test_equals_the_equation_on_the_models_logits(task, model, batch, tmp_path, name, flag, reference):
    file = write(tmp_path / "m.txt", some_matrix(len(task.target_dictionary)))
    model.double()
    model.zero_grad()
    logits = model(**batch["net_input"])[0].flatten(0, 1)
    target = batch["target"].flatten()
    kept = target != task.target_dictionary.pad()
    expected = reference(logits[kept], target[kept]).sum()
    expected.backward()
    grads = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    loss, _, log, found = run(build(task, name, **{flag: file}), model, batch)
    torch.testing.assert_close(loss, expected.detach())
    nll = torch.nn.functional.cross_entropy(logits[kept], target[kept], reduction="sum")
    torch.testing.assert_close(log["nll_loss"], nll.detach())
    for key, grad in found.items():
        torch.testing.assert_close(grad, grads[key], msg=key)


@each_criterion
def test_mistakes_are_one_line(task, model, batch, tmp_path, name, flag, reference):
    types = len(task.target_dictionary)
    with pytest.raises(UserError, match=f"4 rows of 4 numbers: must be {types} × {types}"):
        build(task, name, **{flag: write(tmp_path / "small.txt", some_matrix(4))})
    with pytest.raises(UserError, match=r"column 3 sums to 0\.5, 0\.5 below 1"):
        broken = torch.eye(types, dtype=torch.float64)
        broken[2, 2] = 0.5
        build(task, name, **{flag: write(tmp_path / "broken.txt", broken)})
    good = write(tmp_path / "good.txt", some_matrix(types))
    with pytest.raises(UserError, match="--projection fused: --"):
        run(build(task, name, projection="fused", **{flag: good}), model, batch)


def test_flags_out_of_range(task):
    for name, flags, message in (
        ("forward_correction", {"noise_rate": 1.1}, r"--noise-rate: 1.1 is out of range: give a number in \[0, 1\]"),
        ("logit_smoothing", {"label_smoothing": 1.0}, "--label-smoothing: 1 makes all logits equal"),
        ("matrix_smoothing", {}, "--smoothing-matrix: missing"),
    ):
        with pytest.raises(UserError, match=message):
            build(task, name, **flags)
