"""What every criterion shares: flags, forward pass, path (fused or dense), accuracy, logging.

A method is a subclass with a dataclass of flags, `check(cfg)` for their ranges and `row_loss(model)`, which returns a
loss object of labo_fairseq.functional.
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..compat.precision import allow_bf16_products
from ..errors import UserError, within
from ..fairseq_models.projection import dense_logits, hidden_states, obstacle, unwrap
from ..fairseq_models.suitability import check_batch, check_output, check_task
from ..functional import RDrop, RowLoss, projection_loss, token_loss, with_z_loss
from ..functional.calibration import bin_sums
from ..functional.dense import working_dtype
from ..functional.half_precision import operand_type
from ..functional.kernels import choose_kernel
from ..functional.ranges import LARGEST_WEIGHT
from ..measures.calibration import BINS, ece

logger = logging.getLogger(__name__)

_BIN_KEYS = [f"_calibration_{name}_{b}" for name in ("count", "confidence", "correct") for b in range(BINS)]


@dataclass
class LabelRegularizedConfig(FairseqDataclass):
    """Flags of every criterion. Names and meaning of the first two are fairseq's."""

    report_accuracy: bool = field(default=False, metadata={"help": "report accuracy metric"})
    report_calibration: bool = field(
        default=False,
        metadata={"help": "validation: log `ece`, the expected calibration error of the next token (15 bins)"},
    )
    ignore_prefix_size: int = field(default=0, metadata={"help": "ignore the first N tokens of each target"})
    projection: ChoiceEnum(["auto", "fused", "dense"]) = field(
        default="auto",
        metadata={
            "help": "fused: output projection and loss together in chunks of tokens, without the logits in memory; "
            "dense: loss of the model's logits; auto: fused where the model allows it"
        },
    )
    loss_kernel: ChoiceEnum(["auto", "torch", "triton"]) = field(
        default="auto",
        metadata={
            "help": "how the fused path computes a chunk of rows: plain torch, or a Triton kernel on a GPU; auto: "
            "Triton where docs/performance.md shows that it is faster, torch elsewhere"
        },
    )
    bf16_products: bool = field(
        default=False,
        metadata={
            "help": "float32 model on a CPU with AVX512-BF16 or AMX: multiply in bfloat16 in the fused projection, and "
            "allow it in all other products of float32 matrices, where torch uses it with AMX alone; gradients are "
            "then accurate to a few parts in a thousand (docs/performance.md)"
        },
    )
    z_loss: float = field(default=0.0, metadata={"help": "λ of the additional term λ·LSE², in [0, 1000]"})
    rdrop_weight: float = field(
        default=0.0,
        metadata={
            "help": "R-Drop: weight, in [0, 1000], of the symmetric KL between two dropout passes over each batch"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")


class LabelRegularizedCriterion(FairseqCriterion):
    """Base class: `forward` is fairseq's contract (loss summed over tokens, sample size, logging output of sums)."""

    needs_logits: str | None = None  # why the method cannot do without the logits of the batch, in words

    def __init__(self, cfg: Any, task: Any):
        check_task(task, f"--criterion {cfg._name}")
        super().__init__(task)
        self.cfg = cfg
        if cfg.ignore_prefix_size < 0:
            raise UserError(f"--ignore-prefix-size: {cfg.ignore_prefix_size} is negative: give 0 or more")
        within("--z-loss", cfg.z_loss, 0, LARGEST_WEIGHT)
        within("--rdrop-weight", cfg.rdrop_weight, 0, LARGEST_WEIGHT)
        self.check(cfg)
        self._path = self._loss_kernel = None
        self._warned = self._checked = False

    @classmethod
    def build_criterion(cls, cfg: Any, task: Any) -> Any:
        """The criterion as fairseq's tasks build it: constructed, and what it needs outside of itself set up."""
        criterion = cls(cfg, task)
        criterion.set_up(task)
        return criterion

    def set_up(self, task: Any) -> None:
        """What training under this criterion changes in the process or in the task; the constructor changes nothing."""
        if self.cfg.bf16_products:
            allow_bf16_products()

    def check(self, cfg: Any) -> None:
        """Raise UserError, naming the flag, where a setting is out of its range."""
        raise NotImplementedError

    def row_loss(self, model: Any) -> RowLoss:
        """The loss object for this forward pass; `model` knows the number of updates done (see compat/updates.py)."""
        raise NotImplementedError

    def batch_loss(self, model: Any, sample: dict) -> RowLoss:
        """The loss object for a batch, where that depends on more than the model, as on a teacher's predictions."""
        return self.row_loss(model)

    def parameter_loss(self, model: Any, logits: torch.Tensor, target: torch.Tensor) -> float | torch.Tensor:
        """What parameters of the criterion itself learn from: 0, with a gradient for them, of the batch's logits."""
        return 0.0

    def forward(self, model: Any, sample: dict, reduce: bool = True) -> Any:
        """Loss of a batch, in nats: summed where `reduce`, otherwise per target position (flat, 0 at padding)."""
        if not self._checked:
            check_batch(self.task, model, sample, f"--criterion {self.cfg._name}")
            self._checked = True
        loss, passes = self._complete_loss(model, sample)
        target = self._targets(model, sample)
        ntokens = self._counted(target)
        compute = self._fused if self._uses_fused(model, reduce) else self._dense
        total, value, nll, confidence, hits = compute(
            model, _net_input(sample, passes), _rows_of(target, passes), loss, passes
        )
        # the rows of two passes are neighbours: the pair's value stands in its first row
        value, nll = value[::passes], nll.view(-1, passes).mean(1)
        sample_size = self._counted_sentences(target, sample) if self.cfg.sentence_avg else ntokens
        result = total if reduce else value
        logging_output = {
            "loss": result.data,
            "nll_loss": nll.sum() if reduce else nll,
            "ntokens": ntokens,
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
        }
        if self.cfg.report_accuracy:
            logging_output["n_correct"] = hits[::passes].sum()
            logging_output["total"] = ntokens
        if self._reports_calibration(model):
            kept = target.ne(self.padding_idx)
            logging_output.update(_bin_log(bin_sums(confidence[kept], hits[kept], BINS)))
        return result, sample_size, logging_output

    def _complete_loss(self, model, sample):
        """The method's loss with the options that all methods share, and the number of forward passes it takes."""
        loss = self.batch_loss(unwrap(model), sample)
        if self.cfg.z_loss:
            loss = with_z_loss(loss, self.cfg.z_loss)
        # R-Drop needs dropout: evaluation is the plain criterion, with the same logged keys
        if self.cfg.rdrop_weight and model.training:
            return RDrop(loss, self.cfg.rdrop_weight), 2
        return loss, 1

    def _fused(self, model, net_input, target, loss, passes):
        hidden = self._rows(hidden_states(model, net_input), passes)
        projection = unwrap(model).decoder.output_projection
        return projection_loss(
            hidden,
            projection.weight,
            target,
            loss,
            bias=projection.bias,
            ignore_index=self.padding_idx,
            count_hits=self._counts_hits(model),
            kernel=self._kernel(hidden),
        )

    def _dense(self, model, net_input, target, loss, passes):
        logits = self._rows(dense_logits(model, net_input), passes)
        check_output(self.task, model, logits, len(target), f"--criterion {self.cfg._name}")
        out = token_loss(logits, target, loss, self.padding_idx, self._counts_hits(model))
        return out.loss.sum() + self.parameter_loss(model, logits, target), *out

    def _targets(self, model, sample):
        """Target of every row, flat; padding where there is no loss, as in the prefix that is ignored."""
        target, prefix = model.get_targets(sample, None), self.cfg.ignore_prefix_size
        if prefix:
            # not the first columns: those of a sentence that is padded on the left hold padding
            target = target.masked_fill(target.ne(self.padding_idx).cumsum(1) <= prefix, self.padding_idx)
        return target.flatten()

    def _counted(self, target):
        """How many targets have a loss."""
        ntokens = int(target.ne(self.padding_idx).sum())
        if not ntokens and not self._warned:
            self._warned = True
            logger.warning(
                "%s: a batch has no target to learn from: all are padding or among the first %d (--ignore-prefix-size)",
                self.cfg._name,
                self.cfg.ignore_prefix_size,
            )
        return ntokens

    def _counted_sentences(self, target, sample):
        """How many sentences have a target with a loss."""
        return int(target.ne(self.padding_idx).view(sample["target"].size(0), -1).any(1).sum())

    def _rows(self, x, passes=1):
        """(batch·passes, length, D) as (batch·length·passes, D), the passes of a token together.

        x may be (batch·passes, D): an image is a sentence of one token.
        """
        if x.dim() == 2:
            x = x.unsqueeze(1)
        if passes > 1:
            x = x.unflatten(0, (-1, passes)).transpose(1, 2)
        return x.reshape(-1, x.size(-1))

    def _reports_calibration(self, model):
        return self.cfg.report_calibration and not model.training

    def _counts_hits(self, model):
        return self.cfg.report_accuracy or self._reports_calibration(model)

    def _uses_fused(self, model, reduce):
        if self._path is None:
            self._path = self._choose_path(model)
        # per-token losses of the fused path carry no gradient
        return self._path == "fused" and (reduce or not model.training)

    def _kernel(self, hidden):
        if self._loss_kernel is None:
            self._loss_kernel, reason = choose_kernel(str(self.cfg.loss_kernel), hidden.device)
            logger.info("%s: row pass by %s (%s)", self.cfg._name, self._loss_kernel, reason)
            half, reason = operand_type(hidden.device, hidden.dtype)
            products = str(half or working_dtype(hidden.dtype)).removeprefix("torch.")
            logger.info("%s: products of the projection in %s (%s)", self.cfg._name, products, reason)
        return self._loss_kernel

    def _choose_path(self, model):
        wanted = str(self.cfg.projection)
        reason = "--projection dense" if wanted == "dense" else self.needs_logits or obstacle(model)
        if reason is None:
            logger.info("%s: output projection and loss are fused", self.cfg._name)
            return "fused"
        if wanted == "fused":
            raise UserError(f"--projection fused: {reason}: use --projection auto")
        logger.info("%s: dense path (%s)", self.cfg._name, reason)
        return "dense"

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """Sums of the workers to the numbers that fairseq logs: base 2, `ppl` from the plain likelihood.

        loss, nll_loss and ppl are None where no target counted.

        Under multilingual_translation, whose sums come a second time as `de-en:loss` and so on, each number is logged
        for each pair of languages too.
        """
        pairs = {key.rpartition(":")[0] for log in logging_outputs for key in log if ":" in key}
        for prefix in ["", *(f"{pair}:" for pair in sorted(pairs))]:
            _log_metrics(prefix, logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Every logged number is a sum with the same key on every worker."""
        return True


def _log_metrics(prefix, logging_outputs):
    """Log what the keys with a prefix hold, "" or that of a pair of languages, under keys with the same prefix."""

    def total(key):
        return sum(log.get(prefix + key, 0) for log in logging_outputs)

    ntokens, sample_size = total("ntokens"), total("sample_size")
    # where nothing counts there is no mean: None with weight 0 leaves other batches' mean as it is, and without "loss"
    # fairseq's trainer would log -1 in its place
    loss, nll = (total("loss") / sample_size, total("nll_loss") / ntokens) if ntokens else (None, None)
    metrics.log_scalar(f"{prefix}loss", _bits(loss), sample_size, round=3)
    metrics.log_scalar(f"{prefix}nll_loss", _bits(nll), ntokens, round=3)
    metrics.log_derived(f"{prefix}ppl", lambda meters: _perplexity(meters[f"{prefix}nll_loss"].avg))
    counted = utils.item(total("total"))
    if counted > 0:
        metrics.log_scalar(f"{prefix}total", counted)
        metrics.log_scalar(f"{prefix}n_correct", utils.item(total("n_correct")))
        metrics.log_derived(f"{prefix}accuracy", lambda meters: _accuracy(meters, prefix))
    if any(prefix + _BIN_KEYS[0] in log for log in logging_outputs):
        sums = np.array([float(total(key)) for key in _BIN_KEYS])
        # a key that begins with "_" is added up over the batches, but not shown
        metrics.log_scalar(f"_{prefix}calibration_bins", sums)
        metrics.log_derived(f"{prefix}ece", lambda meters: _ece(meters, prefix))


def _bits(nats):
    return None if nats is None else nats / math.log(2)


def _perplexity(bits):
    return None if bits is None else utils.get_perplexity(bits)


def _bin_log(sums):
    """The logging output of bin sums: a number per key, since fairseq adds up numbers over the workers."""
    return dict(zip(_BIN_KEYS, sums.flatten(), strict=True))


def _ece(meters, prefix):
    return round(float(ece(meters[f"_{prefix}calibration_bins"].sum.reshape(3, BINS))), 4)


def _net_input(sample, passes):
    """The model's input with each sentence `passes` times in a row."""
    if passes == 1:
        return sample["net_input"]
    return {
        key: value.repeat_interleave(passes, 0) if torch.is_tensor(value) else value
        for key, value in sample["net_input"].items()
    }


def _rows_of(target, passes):
    return target if passes == 1 else target.repeat_interleave(passes)


def _accuracy(meters, prefix):
    total = meters[f"{prefix}total"].sum
    return round(meters[f"{prefix}n_correct"].sum * 100.0 / total, 3) if total > 0 else float("nan")
