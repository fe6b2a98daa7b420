"""The matrix products of the fused path: logits of a chunk, and the sums of their gradients in working precision."""

import torch

from .dense import working_dtype
from .half_precision import operand_type

# float16 gradients of logits are scaled by this, so that probabilities down to 6e-11 survive; |gradient| may reach 63
_HALF_SCALE = 1024.0


class Products:
    """h·Wᵀ + b by chunks of rows, and the gradients of h, W and b, which stay in float32 until they are scaled.

    hidden (n, D), weight (V, D), bias (V,) or None; needs: for which of the three a gradient is wanted. Where
    half_precision.operand_type says so, the operands are half precision and each product sums in float32. A GPU gives
    those sums as they are. On a CPU torch rounds them to bfloat16, so a chunk of logits and of their gradients is
    bfloat16 there, a block of it float32 while the row pass works on it, and the sum over the chunks float32. Where no
    gradient is wanted, a CPU multiplies in float32, so that what is reported of validation data is exact.
    """

    def __init__(self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, needs: tuple | list):
        self.given = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        self.dtype = working_dtype(hidden.dtype)
        self.any_gradient = any(needs)
        on_cpu = hidden.device.type == "cpu"
        self.half = operand_type(hidden.device, hidden.dtype)[0] if self.any_gradient or not on_cpu else None
        self.rounds = self.half is not None and on_cpu
        operand = self.half or self.dtype
        self.hidden, self.weight = hidden.to(operand), weight.to(operand)
        self.bias = None if bias is None else bias.to(self.dtype)
        self.types = weight.size(0)
        self.grad_hidden = torch.empty_like(self.hidden, dtype=self.dtype) if needs[0] else None
        self.grad_weight = torch.zeros_like(self.weight, dtype=self.dtype) if needs[1] else None
        self.grad_bias = torch.zeros_like(bias, dtype=self.dtype) if bias is not None and needs[2] else None
        self._product = None  # of one chunk, for the gradient of the weight

    def chunk_buffer(self, rows: int) -> torch.Tensor:
        """An uninitialized buffer for `rows` rows of logits as `logits` gives them."""
        return self._rows(rows, self.half if self.rounds else self.dtype)

    def block_buffer(self, rows: int) -> torch.Tensor:
        """An uninitialized buffer for `rows` rows of logits in the working precision."""
        return self._rows(rows, self.dtype)

    def _rows(self, rows, dtype):
        return torch.empty(rows, self.types, dtype=dtype, device=self.weight.device)

    def wide_hidden(self, chunk: slice) -> torch.Tensor:
        """The chunk's hidden states in the working precision."""
        return self.hidden[chunk].to(self.dtype)

    def logits(self, chunk: slice, buffer: torch.Tensor) -> torch.Tensor:
        """h·Wᵀ of the chunk, a view of the buffer; `widened` adds the bias."""
        h = self.hidden[chunk]
        z = buffer[: len(h)]
        self._mm(h, self.weight.t(), z)
        return z

    def widened(self, block: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
        """Logits of some rows of a chunk in the working precision: the rows themselves, or a copy in the buffer."""
        z = block if buffer is None else buffer[: len(block)].copy_(block)
        return z if self.bias is None else z.add_(self.bias)

    def wide_logits(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Logits of some rows, a slice or indices (n,), in the working precision, in memory of their own."""
        h = self.hidden[rows]
        z = self._rows(len(h), self.half if self.rounds else self.dtype)
        self._mm(h, self.weight.t(), z)
        return self.widened(z, self._rows(len(h), self.dtype) if self.rounds else None)

    def take_in(self, gradient: torch.Tensor, block: torch.Tensor) -> None:
        """The gradient of the logits that `widened` gave takes the place of those rows of the chunk."""
        if self.grad_bias is not None:
            self.grad_bias.add_(gradient.sum(0))
        if self.rounds:
            block.copy_(gradient)

    def add_chunk(self, chunk: slice, gradient: torch.Tensor) -> None:
        """Take in the gradient of the chunk's logits, which is overwritten."""
        scale = _HALF_SCALE if self.half == torch.float16 else 1.0
        if self.half and not self.rounds:
            gradient = gradient.mul_(scale).to(self.half)
        if self.grad_hidden is not None:
            out = self.grad_hidden[chunk]
            if self.rounds:
                out.copy_(gradient @ self.weight)
            else:
                self._mm(gradient, self.weight, out)
            if scale != 1:
                out.div_(scale)
        if self.grad_weight is not None:
            self._add_to_weight(gradient.t(), self.hidden[chunk], 1 / scale, first=chunk.start == 0)

    def _add_to_weight(self, gradient, hidden, scale, first):
        total = self.grad_weight
        if self.rounds:
            self._product = torch.mm(gradient, hidden, out=self._product)
            total.copy_(self._product) if first else total.add_(self._product)
        elif self.half:
            total.add_(torch.mm(gradient, hidden, out_dtype=self.dtype), alpha=scale)
        else:
            # the first chunk need not read what nothing has been added to
            total.addmm_(gradient, hidden, beta=0 if first else 1)

    def scaled(self, factor: torch.Tensor | None) -> list:
        """The three gradients times the incoming one, rounded to the types of the inputs only after that."""
        self._product = None
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
        if self.half and not self.rounds:
            torch.mm(a, b, out_dtype=self.dtype, out=out)
        else:
            torch.mm(a, b, out=out)
