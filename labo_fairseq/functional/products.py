"""The matrix products of the fused path: logits of a chunk, and the sums of their gradients in working precision."""

import functools

import torch

from .dense import working_dtype

# float16 gradients of logits are scaled by this, so that probabilities down to 6e-11 survive; |gradient| may reach 63
_HALF_SCALE = 1024.0


class Products:
    """h·Wᵀ + b by chunks of rows, and the gradients of h, W and b, which stay in float32 until they are scaled.

    hidden (n, D), weight (V, D), bias (V,) or None; needs: for which of the three a gradient is wanted. On a GPU the
    products of half-precision operands run in half precision with float32 results; on a CPU they run in float32.
    """

    def __init__(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, needs: tuple | list):
        self.given = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        self.dtype = working_dtype(hidden.dtype)
        self.half = _half_type(hidden, weight)
        operand = self.half or self.dtype
        self.hidden, self.weight = hidden.to(operand), weight.to(operand)
        self.bias = None if bias is None else bias.to(self.dtype)
        self.types = weight.size(0)
        self.any_gradient = any(needs)
        self.grad_hidden = torch.empty_like(self.hidden, dtype=self.dtype) if needs[0] else None
        self.grad_weight = torch.zeros_like(self.weight, dtype=self.dtype) if needs[1] else None
        self.grad_bias = torch.zeros_like(bias, dtype=self.dtype) if bias is not None and needs[2] else None

    def new_logits(self, rows: int) -> torch.Tensor:
        """An uninitialized buffer for `rows` rows of logits in the working precision."""
        return torch.empty(rows, self.types, dtype=self.dtype, device=self.weight.device)

    def wide_hidden(self, chunk: slice) -> torch.Tensor:
        """The chunk's hidden states in the working precision."""
        return self.hidden[chunk].to(self.dtype)

    def logits(self, chunk: slice, buffer: torch.Tensor) -> torch.Tensor:
        """Logits of the chunk, a view of the buffer."""
        h = self.hidden[chunk]
        z = buffer[: len(h)]
        self._mm(h, self.weight.t(), z)
        return z if self.bias is None else z.add_(self.bias)

    def add_chunk(self, chunk: slice, gradient: torch.Tensor) -> None:
        """Take in the gradient of the chunk's logits."""
        if self.grad_bias is not None:
            self.grad_bias.add_(gradient.sum(0))
        scale = 1.0
        if self.half:
            scale = _HALF_SCALE if self.half == torch.float16 else 1.0
            gradient = gradient.mul_(scale).to(self.half)
        if self.grad_hidden is not None:
            out = self.grad_hidden[chunk]
            self._mm(gradient, self.weight, out)
            if scale != 1:
                out.div_(scale)
        if self.grad_weight is not None:
            if self.half:
                self.grad_weight.add_(torch.mm(gradient.t(), self.hidden[chunk], out_dtype=self.dtype), alpha=1 / scale)
            else:
                # the first chunk need not read what nothing has been added to
                self.grad_weight.addmm_(gradient.t(), self.hidden[chunk], beta=1 if chunk.start else 0)

    def scaled(self, factor: torch.Tensor | None) -> list:
        """The three gradients times the incoming one, rounded to the types of the inputs only after that."""
        if factor is None:
            return [None] * 3
        # asking a GPU for the factor would wait for it; on a CPU a factor of 1 saves a pass over the weight's gradient
        plain = factor.device.type == "cpu" and factor == 1
        gradients = (self.grad_hidden, self.grad_weight, self.grad_bias)
        return [
            None if g is None else (g if plain else g.mul_(factor)).to(given)
            for g, given in zip(gradients, self.given, strict=True)
        ]

    def _mm(self, a, b, out):
        if self.half:
            torch.mm(a, b, out_dtype=self.dtype, out=out)
        else:
            torch.mm(a, b, out=out)


def _half_type(hidden, weight):
    """The half-precision type in which the products run, or None for the working precision."""
    if hidden.device.type != "cuda" or hidden.dtype not in (torch.bfloat16, torch.float16):
        return None
    return hidden.dtype if _keeps_float32(hidden.device, hidden.dtype) else None


@functools.cache
def _keeps_float32(device, dtype):
    """Whether this torch multiplies half matrices into a float32 result on the device."""
    a = torch.full((16, 16), 1.0, device=device, dtype=dtype)
    b = torch.full((16, 16), 1.0 + 2.0**-7, device=device, dtype=dtype)
    try:
        result = torch.mm(a, b, out_dtype=torch.float32)
    except (RuntimeError, TypeError):
        return False
    return bool((result == 16 * (1.0 + 2.0**-7)).all())
