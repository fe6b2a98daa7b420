"""T_w of LABO where nobody names it: how many updates of a run use uniform smoothing first."""

from __future__ import annotations

import math

AUTO = "auto"
PAPER_UPDATES = 5000  # of Lu et al. (2023) on IWSLT, where the length of the run is not known
SHARE = 0.03  # of the updates of a run


def warmup_updates(total: float | None) -> int:
    """T_w for a run of `total` updates: 3 % of them, at least 1; the paper's 5,000 where the total is not known.

    >>> warmup_updates(30000), warmup_updates(20), warmup_updates(None)
    (900, 1, 5000)
    """
    return max(1, math.floor(SHARE * total + 0.5)) if total else PAPER_UPDATES


def total_updates(
    max_update: int, max_epoch: int, batches: int | None, update_freq: list[int] | tuple[int, ...] = (1,)
) -> int | None:
    """Number of updates after which fairseq stops, None where nothing says it.

    max_update, max_epoch: fairseq's flags, 0 for none; batches: of one worker in one epoch, None if not known
    update_freq: batches of one update in epoch 1, 2, …; the last number holds for the epochs after it

    >>> total_updates(0, 3, 10, [4, 5])  # 3 + 2 + 2 updates
    7
    """
    of_epochs = None
    if max_epoch > 0 and batches:
        given = [math.ceil(batches / n) for n in update_freq[:max_epoch]]
        of_epochs = sum(given) + (max_epoch - len(given)) * given[-1]
    return min((n for n in (max_update, of_epochs) if n and n > 0), default=None)
