"""Accuracy, top-5 accuracy and ECE of the model's logits, logged by the task for every criterion alike."""

import contextlib
import logging

import numpy as np
import torch
from fairseq import metrics

from ..fairseq_models.projection import unwrap
from ..functional.calibration import bin_sums
from ..measures.calibration import BINS, ece

logger = logging.getLogger(__name__)

_COUNT, _CORRECT, _TOP5 = "_images", "_images_correct", "_images_top5"
_CLEAN_COUNT, _CLEAN_CORRECT = "_images_clean", "_images_clean_correct"
TEMPERATURES = [round(0.1 * 2 ** (i / 4), 4) for i in range(25)]  # 0.1 to 6.4, in steps of a fifth
_BIN_KEYS = [f"_images_{name}_{b}" for name in ("count", "confidence", "correct") for b in range(BINS)]

_SCALED_KEYS = [f"_scaled_{t}_{part}" for t in range(len(TEMPERATURES)) for part in ("nll", *range(BINS))]


@contextlib.contextmanager
def logits_of(model):
    """A list that receives the model's output at each forward pass within the block."""
    seen = []
    handle = unwrap(model).register_forward_hook(lambda module, args, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


class ScaledLog:
    """Sums for the ECE after temperature scaling; they add over batches and workers, which logits would not."""

    @staticmethod
    def of(logits, target):
        """Logging output of a batch: for each of TEMPERATURES the NLL, and each bin's confidence less its accuracy."""
        hits, sums = logits.argmax(-1) == target, []
        for temperature in TEMPERATURES:
            log_p = torch.log_softmax(logits.double() / temperature, -1)
            _, confidence, correct = bin_sums(log_p.exp().amax(-1), hits, BINS)
            nll = -log_p.gather(1, target.unsqueeze(1)).sum()
            sums.append(torch.cat([nll.view(1), confidence - correct]))
        return dict(zip(_SCALED_KEYS, torch.cat(sums), strict=True))

    @staticmethod
    def reduce(logging_outputs):
        """Log temperature, that of the lowest NLL, and ece_scaled at it; nothing where no output has the sums."""
        if not any(_SCALED_KEYS[0] in log for log in logging_outputs):
            return
        sums = np.array([sum(float(log.get(key, 0)) for log in logging_outputs) for key in _SCALED_KEYS])
        metrics.log_scalar("_images_scaled", sums)
        metrics.log_derived("temperature", _temperature)
        metrics.log_derived("ece_scaled", _ece_scaled)


class AccuracyLog:
    """Sums that add over batches and workers."""

    @staticmethod
    def of(logits, target):
        """Logging output of a batch: logits (B, K), target (B,)."""
        confidence, best = torch.softmax(logits.float(), -1).max(-1)
        hits = best == target
        top5 = (logits.topk(min(5, logits.size(-1))).indices == target.unsqueeze(-1)).any(-1)
        bins = bin_sums(confidence, hits, BINS).flatten()
        counts = {_COUNT: len(target), _CORRECT: hits.sum(), _TOP5: top5.sum()}
        return {**counts, **dict(zip(_BIN_KEYS, bins, strict=True))}

    @staticmethod
    def of_clean(logits, clean_target):
        """Logging output of a batch with noisy labels, about the true ones: logits (B, K), clean_target (B,)."""
        return {_CLEAN_COUNT: len(clean_target), _CLEAN_CORRECT: (logits.argmax(-1) == clean_target).sum()}

    @staticmethod
    def reduce(logging_outputs):
        """Log accuracy and top5 in percent, ece in [0, 1] (15 bins), and clean_accuracy; each where there are sums."""

        def total(key):
            return float(sum(log.get(key, 0) for log in logging_outputs))

        if any(_CLEAN_COUNT in log for log in logging_outputs):
            for key in (_CLEAN_COUNT, _CLEAN_CORRECT):
                metrics.log_scalar(key, total(key))
            metrics.log_derived("clean_accuracy", lambda meters: _percent(meters, _CLEAN_CORRECT, _CLEAN_COUNT))
        if not any(_COUNT in log for log in logging_outputs):
            return
        # a key that begins with "_" is added up over the batches, but not shown
        for key in (_COUNT, _CORRECT, _TOP5):
            metrics.log_scalar(key, total(key))
        metrics.log_scalar("_images_bins", np.array([total(key) for key in _BIN_KEYS]))
        metrics.log_derived("accuracy", lambda meters: _percent(meters, _CORRECT))
        metrics.log_derived("top5", lambda meters: _percent(meters, _TOP5))
        metrics.log_derived("ece", _ece)


def _percent(meters, key, count_key=_COUNT):
    count = meters[count_key].sum
    return round(100 * meters[key].sum / count, 3) if count else float("nan")


def _scaled(meters):
    return meters["_images_scaled"].sum.reshape(len(TEMPERATURES), 1 + BINS)


def _temperature(meters):
    best = int(_scaled(meters)[:, 0].argmin())
    if best in (0, len(TEMPERATURES) - 1):
        logger.warning(
            "temperature: %s is the end of what --report-scaled-ece tries: labo classify-report searches further",
            TEMPERATURES[best],
        )
    return TEMPERATURES[best]


def _ece_scaled(meters):
    sums = _scaled(meters)
    return round(float(np.abs(sums[sums[:, 0].argmin(), 1:]).sum() / meters[_COUNT].sum), 4)


def _ece(meters):
    return round(float(ece(meters["_images_bins"].sum.reshape(3, BINS))), 4)
