"""labo_fairseq: LABO and its family of label regularizers for fairseq. Give this folder to fairseq as --user-dir."""

import sys

__version__ = "0.2.0"


def register():
    """Register the project's criterions, tasks, models and optimizers with fairseq. Safe to call again."""
    from . import criterions  # noqa: F401
    from .decoding import tasks  # noqa: F401
    from .optimizers import torch_adam  # noqa: F401
    from .vision import models, optimizer, schedule, task  # noqa: F401


# --user-dir is read when fairseq is imported already; without fairseq (labo score, say) nothing heavy is loaded
if "fairseq.criterions" in sys.modules:
    register()
