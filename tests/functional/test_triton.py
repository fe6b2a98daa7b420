"""The Triton kernel of the row pass, run by Triton's interpreter on the CPU, against float64 and the torch pass."""

import os

import pytest
import torch
from _cases import parametrize

os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed")

from labo_fairseq.functional import LabelSmoothing, Labo, kernels, projection_loss, rows, triton_rows

pytestmark = pytest.mark.skipif(os.environ["TRITON_INTERPRET"] != "1", reason="Triton's interpreter is off")


def random_rows(count, types, dtype=torch.float32, offset=0.0):
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(count, types, generator=generator) * 3 + offset).to(dtype)
    return z, torch.randint(types, (count,), generator=generator)


def exact(z, target, loss, **options):
    """The plain torch pass of the same numbers in float64."""
    z = z.double()
    out = rows.row_pass(z, target, loss, **options)
    return out, z


@parametrize()
@pytest.mark.parametrize("types", [2, 100, 4096, 5003])
def test_equals_float64(case, types):
    """Vocabularies below, at and above the block, and no multiple of it."""
    z, target = random_rows(3, types)
    loss = case.make(types).of_rows(torch.arange(3), None)
    expected, gradient = exact(z, target, loss)
    out = triton_rows.row_pass(z, target, loss)
    torch.testing.assert_close(out.value.double(), expected.value, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(out.nll.double(), expected.nll, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(z.double(), gradient, atol=2e-6, rtol=2e-5)


def of_the_algebra(case):
    """Whether the kernel computes it; the others take the torch pass, whose logits are never half."""
    loss = case.make(2).of_rows(torch.arange(1), None)
    return not loss.own_pass and not rows.has_row_priors(loss)


# the interpreter cuts bfloat16 off where a card rounds
@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-7), (torch.float16, 2**-11)])
@parametrize(only=of_the_algebra)
def test_half_logits_with_float32_sums(case, dtype, tolerance):
    """Only the last rounding is the half type's: p − 1 at the target is formed before it."""
    z, target = random_rows(3, 1000, dtype)
    loss = case.make(1000).of_rows(torch.arange(3), None)
    expected, gradient = exact(z, target, loss)
    out = triton_rows.row_pass(z, target, loss)
    torch.testing.assert_close(out.value.double(), expected.value, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(z.double(), gradient, atol=1e-7, rtol=tolerance)


def test_large_vocabulary_with_an_offset():
    z, target = random_rows(2, 32_000, offset=1000.0)
    expected, gradient = exact(z, target, Labo())
    out = triton_rows.row_pass(z, target, Labo())
    torch.testing.assert_close(out.value.double(), expected.value, atol=0, rtol=2e-6)
    torch.testing.assert_close(z.double(), gradient, atol=2e-7, rtol=2e-5)


def test_rows_need_not_be_adjacent():
    """A chunk is a view of a larger buffer."""
    z, target = random_rows(4, 50)
    wide = torch.zeros(4, 80)
    wide[:, :50] = z
    _, gradient = exact(z, target, Labo())
    triton_rows.row_pass(wide[:, :50], target, Labo())
    torch.testing.assert_close(wide[:, :50].double(), gradient, atol=2e-6, rtol=2e-5)
    assert (wide[:, 50:] == 0).all()


def test_values_alone_leave_the_logits_as_they_are():
    z, target = random_rows(3, 50)
    before = z.clone()
    out = triton_rows.row_pass(z, target, Labo(), gradient=False)
    torch.testing.assert_close(out.value, triton_rows.row_pass(z, target, Labo()).value)
    assert not torch.equal(z, before)


@parametrize()
def test_the_fused_path_runs_on_it(case):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(9, 8, generator=generator, requires_grad=True)
    weight = torch.randn(70, 8, generator=generator, requires_grad=True)
    target = torch.randint(2, 70, (9,), generator=generator)
    target[3] = 1
    loss = case.make(70)
    out = [projection_loss(hidden, weight, target, loss, ignore_index=1, kernel=k) for k in ("torch", "triton")]
    grads = [torch.autograd.grad(o.total, [hidden, weight]) for o in out]
    torch.testing.assert_close(out[1].total, out[0].total)
    torch.testing.assert_close(out[1].loss, out[0].loss, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(out[1].confidence, out[0].confidence)
    torch.testing.assert_close(grads[1], grads[0], atol=1e-5, rtol=1e-5)


def test_out_of_range_targets_raise():
    with pytest.raises(ValueError, match="lies outside"):
        projection_loss(torch.zeros(1, 4), torch.zeros(5, 4), torch.tensor([5]), Labo(), kernel="triton")


def test_the_self_check_sees_a_difference(monkeypatch):
    """It compares the two kernels; a kernel that is off by a little is not taken."""
    device = torch.device("cpu")
    assert kernels.self_check.__wrapped__(device) < 1e-5
    right = triton_rows.row_pass

    def wrong(z, *args, **kwargs):
        out = right(z, *args, **kwargs)
        z.add_(1e-3)
        return out

    monkeypatch.setattr(triton_rows, "row_pass", wrong)
    assert kernels.self_check.__wrapped__(device) > 5e-4


def test_auto_takes_triton_only_on_a_card_that_passed(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert kernels.choose_kernel("triton", cpu)[0] == "triton" and kernels.choose_kernel("torch", cuda)[0] == "torch"
    assert kernels.choose_kernel("auto", cuda)[0] == "torch"  # nothing is recorded yet
    monkeypatch.setattr(kernels, "RECORDED_ON_A_CARD", True)
    assert kernels.choose_kernel("auto", cpu)[0] == "torch"
    for difference, kernel in ((1e-7, "triton"), (1e-3, "torch"), (None, "torch")):
        monkeypatch.setattr(kernels, "self_check", lambda device, difference=difference: difference)
        assert kernels.choose_kernel("auto", cuda)[0] == kernel


def test_uniform_prior_of_the_dense_path():
    z, target = random_rows(3, 100)
    expected, _ = exact(z, target, LabelSmoothing(0.1))
    out = triton_rows.row_pass(z, target, LabelSmoothing(0.1))
    torch.testing.assert_close(out.value.double(), expected.value, atol=2e-6, rtol=2e-6)
