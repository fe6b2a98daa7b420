"""torch's settings of numerical precision, for the whole process."""

import torch


def allow_bf16_products():
    """Let products of float32 matrices run in bfloat16 inside, on a CPU whose library has such products."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
