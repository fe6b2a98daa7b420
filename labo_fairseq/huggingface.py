"""The losses in Hugging Face's Trainer: `Trainer(compute_loss_func=TrainerLoss(Labo(), model))`.

Nothing of transformers is imported here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .errors import UserError
from .losses import Distillation, Labo, RDrop, RegularizedLoss

__all__ = ["TrainerLoss"]

# the largest logit of the row that shows whether the model does more than project: far enough that a soft cap of 30 or
# 50 shows, and how far the model's own may be from ours (bfloat16 keeps 8 bits)
_PROBE, _TOLERANCE = 32.0, 0.5


class TrainerLoss:
    """What Trainer calls with a batch's outputs and labels, for sequence-to-sequence, causal and other models.

    loss: a module of losses.py; R-Drop and distillation need more than outputs and labels, and so a Trainer of your own
    model: the model that is trained, as it is given to Trainer
    projection: "dense": the loss of the model's logits; "fused": in training, the projection of the hidden states and
        the loss together, so that the model computes no logits but those of one row. For models whose logits are those
        of one linear layer, `get_output_embeddings()`, with its bias and a `final_logits_bias`; others are refused at
        the first batch. Evaluation is dense.
    shift: whether position i predicts label i+1; None: as the model does, which a causal model does and a model with an
        encoder, or one that cannot generate, does not

    The mean is over the labels of the whole update (num_items_in_batch), however many batches gradient accumulation
    makes of it. Labels are those that Trainer takes out of the batch, so that a sequence-to-sequence model needs
    decoder_input_ids: DataCollatorForSeq2Seq(tokenizer, model=model) makes them.

    LABO's warm-up: `follow(trainer)`, once, reads the update number from the Trainer, after a resume too.
    """

    def __init__(self, loss: RegularizedLoss, model: nn.Module, projection: str = "dense", shift: bool | None = None):
        if projection not in ("dense", "fused"):
            raise UserError(f'projection: {projection!r} is unknown: give "dense" or "fused"')
        for part in loss.modules():
            if isinstance(part, (RDrop, Distillation)):
                raise UserError(
                    f"loss: {type(part).__name__} needs more than outputs and labels: override Trainer.compute_loss"
                )
        self.loss, self.model = loss, model
        self.shift = _is_causal(model) if shift is None else shift
        self._trainer: Any = None
        self._head = _Head(model) if projection == "fused" else None

    def follow(self, trainer: Any) -> None:
        """Read the number of updates, on which LABO's warm-up depends, from this Trainer's state."""
        self._trainer = trainer

    def close(self) -> None:
        """Give the model its logits in training back, which projection="fused" takes."""
        if self._head is not None:
            self._head.remove()

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: int | torch.Tensor | None = None
    ) -> torch.Tensor:
        """The batch's part of the update's mean loss, a scalar.

        outputs: the model's, with `logits` (…, C) or, as a tuple, the logits first
        labels: (…), as Trainer takes them out of the batch
        num_items_in_batch: the number of labels of the whole update; None for those of this batch
        """
        self.loss.train(self.model.training)
        self._tell_step()
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        hidden = self._head.take(logits) if self._head is not None else None
        target = labels.to(logits.device)
        if self.shift:
            target = F.pad(target[..., 1:], (0, 1), value=self.loss.ignore_index)
        reduction = "mean" if num_items_in_batch is None else "sum"
        if self._head is None or hidden is None:
            total = self.loss(_flat(logits), target.reshape(-1), reduction=reduction)
        else:
            weight, bias = self._head.weight, self._head.bias
            total = self.loss(_flat(hidden), target.reshape(-1), weight=weight, bias=bias, reduction=reduction)
        return total if num_items_in_batch is None else total / num_items_in_batch

    def _tell_step(self):
        if self._trainer is None:
            return
        for part in self.loss.modules():
            if isinstance(part, Labo):
                part.set_step(self._trainer.state.global_step)


class _Head:
    """The output projection of a model, which in training gets one row in place of the hidden states and keeps those.

    A hook before the layer does it, so that the model's own code runs unchanged, on logits (1, 1, C).
    """

    def __init__(self, model):
        self.model, self.layer = model, model.get_output_embeddings()
        if type(self.layer) is not nn.Linear:
            raise UserError(
                f"projection: the output layer of {type(model).__name__} is a {type(self.layer).__name__} and not a "
                'plain linear one: use projection="dense"'
            )
        self._hidden = self._row = None
        self._checked = False
        self._handle = self.layer.register_forward_pre_hook(self._keep)

    @property
    def weight(self):
        return self.layer.weight

    @property
    def bias(self):
        """The layer's bias and the model's, (C,), or None."""
        parts = (self.layer.bias, getattr(self.model, "final_logits_bias", None))
        parts = [part.reshape(-1) for part in parts if part is not None]
        return sum(parts[1:], parts[0]) if parts else None

    def remove(self):
        self._handle.remove()

    def take(self, logits):
        """The hidden states of the batch, (…, D); None where the model has made its logits, as in evaluation."""
        hidden, row, self._hidden, self._row = self._hidden, self._row, None, None
        if hidden is None:
            return None
        if not self._checked:
            self._check(logits, row)
            self._checked = True
        return hidden

    def _keep(self, layer, arguments):
        self._hidden = self._row = None  # of an earlier batch whose loss nobody asked for
        if not (layer.training and torch.is_grad_enabled()):
            return None
        (self._hidden,) = arguments
        row = self._hidden.detach().flatten(0, -2)[:1]
        if not self._checked:
            # a row whose logits are large enough to tell a softmax cap, a scale or a further layer
            row = row * (_PROBE / F.linear(row, layer.weight).abs().max().clamp(min=1e-6))
        self._row = row.view(*[1] * (self._hidden.dim() - 1), -1)
        return (self._row,)

    def _check(self, logits, row):
        """Raise UserError where the model's logits are not the projection of the hidden states."""
        with torch.no_grad():
            expected = F.linear(row, self.weight, self.bias)
            same = logits.shape == expected.shape and bool((logits - expected).abs().max() < _TOLERANCE)
        if not same:
            raise UserError(
                f"projection: {type(self.model).__name__} does more to its logits than one linear layer, such as a "
                'scale or a cap: use projection="dense"'
            )


def _is_causal(model):
    """Whether the model's own loss shifts the labels: a decoder that generates, without an encoder."""
    return bool(model.can_generate()) and not model.config.is_encoder_decoder


def _flat(x):
    return x.reshape(-1, x.size(-1))
