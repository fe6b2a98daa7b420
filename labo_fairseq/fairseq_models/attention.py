"""Which of fairseq's two ways to compute self-attention a training takes."""

from typing import Any

import torch
from fairseq.modules import MultiheadAttention


def avoid_flash_attention(model: Any) -> int:
    """Let a bfloat16 model on a CPU compute self-attention as fairseq computes the attention to the source.

    fairseq hands self-attention to torch, whose flash kernel for CPUs takes three times as long in bfloat16 as the two
    batched products and the softmax (docs/performance.md). The results are equal to rounding. Returns the number of
    modules that change; other models are left alone.
    """
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.type != "cpu" or parameter.dtype != torch.bfloat16:
        return 0
    modules = [m for m in model.modules() if type(m) is MultiheadAttention and not m.use_xformers]
    for module in modules:
        module.skip_embed_dim_check = True  # fairseq's own condition for its own way
    return len(modules)
