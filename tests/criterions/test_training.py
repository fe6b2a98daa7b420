"""Training with the criterions: fused and dense runs end at the same parameters; R-Drop; the options of all methods."""

import copy
import logging

import pytest
import torch
from _cases import CASES
from _models import build, make_batch, make_model, run
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.errors import UserError
from labo_fairseq.functional import GeneralizedEntropy, LabelSmoothing, Labo, RDrop, projection_loss, token_loss

CRITERIONS = {case.criterion: case.flags for case in CASES if case.criterion}


def train(model, task, criterion, steps=10):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for step in range(steps):
        model.set_num_updates(step)
        batch = make_batch(task.target_dictionary, (7, 4, 6), seed=step)
        optimizer.zero_grad()
        loss, size, _ = criterion(model, batch)
        (loss / size).backward()
        optimizer.step()
    return dict(model.named_parameters())


@pytest.mark.parametrize("name", CRITERIONS)
def test_ten_steps_fused_and_dense_end_at_the_same_parameters(task, name):
    flags = CRITERIONS[name] | ({"smoothing_warmup_updates": 5} if name == "labo" else {})
    ends = [
        train(make_model(task).double(), task, build(task, name, projection=projection, **flags))
        for projection in ("fused", "dense")
    ]
    for key, parameter in ends[0].items():
        torch.testing.assert_close(parameter, ends[1][key], atol=1e-5, rtol=0, msg=key)


@pytest.mark.parametrize("tied", [True, False])
def test_checkpointed_activations(task, batch, tied):
    plain = make_model(task, tied=tied)
    saving = make_model(task, tied=tied, checkpoint_activations=True)
    expected = run(build(task, "labo", projection="fused"), plain.train(), batch)[3]
    got = run(build(task, "labo", projection="fused"), saving.train(), batch)[3]
    for key, grad in expected.items():
        torch.testing.assert_close(got[key], grad, atol=1e-6, rtol=1e-5, msg=key)


def test_autocast_rounds_the_model_and_not_the_loss(task, model, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _, _, grads = run(build(task, "labo", projection="fused"), model, batch)
    expected, _, _, exact = run(build(task, "labo", projection="fused"), model, batch)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)
    assert all(grad.isfinite().all() for grad in grads.values()) and grads.keys() == exact.keys()


def test_half_precision_model(task, model, batch):
    half = copy.deepcopy(model).bfloat16()
    loss, _, _, grads = run(build(task, "label_smoothing", projection="fused"), half, batch)
    expected = run(build(task, "label_smoothing", projection="fused"), model, batch)[0]
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)
    assert all(grad.dtype == torch.bfloat16 for grad in grads.values())


# --- R-Drop ---


def symmetric_kl(first, second):
    p, q = torch.softmax(first, -1), torch.softmax(second, -1)
    return (p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)


@pytest.mark.parametrize("base", [Labo(), LabelSmoothing(0.1), GeneralizedEntropy(0.5, 0.7)])
def test_rdrop_of_paired_rows(base):
    """Base loss of both passes plus w/2 of the two divergences, with gradient through both (Liang et al. 2021)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(11, (4,), generator=generator).repeat_interleave(2)
    out = token_loss(logits, target, RDrop(base, 3.0))
    (gradient,) = torch.autograd.grad(out.loss.sum(), logits)
    expected = token_loss(logits, target, base).loss.view(4, 2).sum(1) + 1.5 * symmetric_kl(logits[::2], logits[1::2])
    (exact,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(out.loss[::2], expected.detach(), atol=1e-12, rtol=1e-12)
    assert (out.loss[1::2] == 0).all()
    torch.testing.assert_close(gradient, exact, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("projection", ["fused", "dense"])
@pytest.mark.parametrize("name", CRITERIONS)
def test_rdrop_composes_with_every_criterion(task, model, batch, name, projection):
    """Without dropout the two passes are one: twice the loss, no divergence. Evaluation is the plain criterion."""
    flags = CRITERIONS[name] | {"projection": projection, "report_accuracy": True}
    model.train()
    twice, size, log, grads = run(build(task, name, rdrop_weight=5.0, **flags), model, batch)
    once, once_size, once_log, once_grads = run(build(task, name, **flags), model, batch)
    torch.testing.assert_close(twice, 2 * once)
    assert size == once_size and log.keys() == once_log.keys()
    torch.testing.assert_close(log["nll_loss"], once_log["nll_loss"])
    assert int(log["n_correct"]) == int(once_log["n_correct"]) and int(log["total"]) == int(once_log["total"])
    for key, grad in grads.items():
        torch.testing.assert_close(grad, 2 * once_grads[key], atol=5e-6, rtol=1e-4, msg=key)
    model.eval()
    torch.testing.assert_close(run(build(task, name, rdrop_weight=5.0, **flags), model, batch)[0], once)


@pytest.mark.parametrize("projection", ["fused", "dense"])
def test_rdrop_pulls_two_dropout_passes_together(task, batch, projection):
    """With dropout the divergence is above 0 and grows linearly with the weight; the same seed drops the same units."""

    def loss(weight):
        model = make_model(task, dropout=0.3).train()
        torch.manual_seed(5)
        return run(build(task, "labo", rdrop_weight=weight, projection=projection), model, batch)[0]

    small, double, triple = loss(1.0), loss(2.0), loss(3.0)
    assert double - small > 0.01
    torch.testing.assert_close(triple - double, double - small, rtol=1e-3, atol=1e-4)


def test_rdrop_per_token_losses_add_up(task, model, batch):
    model.train()
    criterion = build(task, "labo", rdrop_weight=2.0)
    total, _, log, _ = run(criterion, model, batch)
    each, _, each_log, _ = run(criterion, model, batch, reduce=False)
    assert each.shape == each_log["nll_loss"].shape == (batch["target"].numel(),)
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(each_log["nll_loss"].sum(), log["nll_loss"])


# --- options of all methods ---


@pytest.mark.parametrize("flag", ["z_loss", "rdrop_weight"])
def test_negative_weights_name_their_flag(task, flag):
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')}"):
        build(task, "labo", **{flag: -1.0})


def test_bf16_products_change_the_gradient_by_less_than_a_percent(task, model, batch):
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    try:
        _, _, _, exact = run(build(task, "labo"), model, batch)
        criterion = build(task, "labo", bf16_products=True)
        assert setting.fp32_precision == "bf16"
        _, _, _, grads = run(criterion, model, batch)
    finally:
        setting.fp32_precision = before
    for key, grad in grads.items():
        assert (grad - exact[key]).norm() <= 1e-2 * max(exact[key].norm(), 1e-3), key


def test_the_log_says_which_kernel_runs(task, model, batch, caplog):
    with caplog.at_level(logging.INFO):
        run(build(task, "labo"), model, batch)
    assert "labo: row pass by torch (no measurement of the Triton kernel on a card is recorded yet)" in caplog.text


@pytest.mark.parametrize(
    ("has", "half", "wanted"),
    [
        ({"avx512_bf16": True}, True, "bfloat16 (this CPU has AVX512-BF16)"),
        ({"amx_bf16": True}, True, "bfloat16 (this CPU has AMX)"),
        ({}, True, "float32 (torch sees neither AVX512-BF16 nor AMX in this CPU)"),
        ({"avx512_bf16": True}, False, "float32 (float32 hidden states on a CPU)"),
    ],
)
def test_the_log_says_in_what_the_products_are(task, model, batch, caplog, monkeypatch, has, half, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    model = copy.deepcopy(model).bfloat16() if half else model
    criterion = build(task, "label_smoothing")
    with caplog.at_level(logging.INFO):
        run(criterion, model, batch)
        run(criterion, model, batch)
    assert caplog.text.count(f"label_smoothing: products of the projection in {wanted}") == 1


# --- any shape, any setting ---


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 9),
    types=st.integers(2, 40),
    case=st.sampled_from(CASES),
    scale=st.floats(0.01, 30),
    pad=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_fused_dense_and_reference_agree_for_any_shape(rows, types, case, scale, pad, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = (torch.randn(rows, 5, generator=generator, dtype=torch.float64) * scale).requires_grad_()
    weight = torch.randn(types, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(types, (rows,), generator=generator)
    ignore = 0 if pad else None
    kept = target != 0 if pad else torch.ones(rows, dtype=torch.bool)
    loss = case.make(types)
    fused = projection_loss(hidden, weight, target, loss, ignore_index=ignore)
    dense = token_loss(hidden @ weight.t(), target, loss, ignore_index=ignore)
    torch.testing.assert_close(fused.loss, dense.loss.detach(), atol=1e-9, rtol=1e-9)
    fused_grads = torch.autograd.grad(fused.total, [hidden, weight])
    dense_grads = torch.autograd.grad(dense.loss.sum(), [hidden, weight])
    torch.testing.assert_close(fused_grads, dense_grads, atol=1e-8, rtol=1e-8)
    if scale < 5 and kept.any():  # the naive formulas take logarithms of probabilities, which underflow beyond
        expected = case.reference((hidden @ weight.t())[kept], target[kept])
        torch.testing.assert_close(dense.loss[kept], expected, atol=1e-8, rtol=1e-8)


@settings(max_examples=60, deadline=None)
@given(rho=st.floats(0, 1), tau=st.floats(0.05, 50), seed=st.integers(0, 2**16), scale=st.floats(0.1, 20))
def test_labos_adaptive_mass_lies_between_its_bounds(rho, tau, seed, scale):
    """α = 1 − ρ·H/log K in [1−ρ, 1], so the loss lies between those of the two fixed masses, whatever the logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 13, generator=generator, dtype=torch.float64) * scale
    target = torch.randint(13, (6,), generator=generator)
    adaptive = token_loss(logits, target, Labo(tau, rho=rho)).loss
    ends = torch.stack([token_loss(logits, target, Labo(tau, mass)).loss for mass in (1 - rho, 1.0)])
    assert (adaptive >= ends.min(0).values - 1e-9).all() and (adaptive <= ends.max(0).values + 1e-9).all()
