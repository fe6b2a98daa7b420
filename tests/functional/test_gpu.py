"""On a card: the fused path in half precision, both kernels, against float64. Run with `pytest -m gpu`."""

import pytest
import torch
from _cases import parametrize

from labo_fairseq.functional import kernels, projection_loss, token_loss

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def problem(dtype, rows=300, types=5003, width=64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator)
    weight = torch.randn(types, width, generator=generator) / width**0.5
    target = torch.randint(2, types, (rows,), generator=generator)
    target[::7] = 1
    hidden, weight = (x.cuda().to(dtype).requires_grad_() for x in (hidden, weight))
    return hidden, weight, target.cuda()


@parametrize()
@pytest.mark.parametrize("kernel", ["torch", "triton"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 5e-3), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("scale", [1.0, 2.0**15])
def test_gradients_on_a_card(case, kernel, dtype, tolerance, scale):
    """Largest error relative to the largest gradient; float32 products may run in TF32."""
    hidden, weight, target = problem(dtype)
    loss = case.make(5003)
    out = projection_loss(hidden, weight, target, loss, ignore_index=1, kernel=kernel)
    grads = torch.autograd.grad(out.total * (scale / 2**16), [hidden, weight])
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    dense = token_loss(exact[0] @ exact[1].t(), target, loss, ignore_index=1)
    expected = torch.autograd.grad(dense.loss.sum() * (scale / 2**16), exact)
    torch.testing.assert_close(out.total.double(), dense.loss.sum(), atol=0, rtol=1e-2)
    for got, true in zip(grads, expected, strict=True):
        assert (got.double() - true).abs().max() <= tolerance * true.abs().max() + 2**-24


def test_the_triton_kernel_passes_its_self_check():
    assert kernels.self_check(torch.device("cuda")) <= 1e-5


def test_half_products_keep_float32_results():
    from labo_fairseq.functional.products import Products

    hidden, weight, _ = problem(torch.bfloat16)
    assert Products(hidden, weight, None, [True, True, False]).half == torch.bfloat16
