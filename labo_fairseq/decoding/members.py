"""The models of an ensemble as beam search and scorer see them: calibrated, each by its own calibrator, and weighted.

fairseq's SequenceGenerator and SequenceScorer ask each model for `get_normalized_probs` and average the answers; the
wrapper answers with calibrated probabilities, so that both run unchanged.
"""

import math
from typing import Any

import torch
from fairseq.sequence_generator import EnsembleModelWithAlignment
from torch import nn


class NonFiniteLogits(Exception):
    """A model's logits hold NaN or +inf; str(error) is the name of its checkpoint."""


class CalibratedMember(nn.Module):
    """One model of an ensemble; everything but its probabilities is the model's own.

    model: a fairseq encoder-decoder model; the wrapper does not change it
    name: of its checkpoint, for error messages
    calibrator: of functional/calibrators.py, or None for the model's own probabilities, bit for bit
    weight: of its probabilities in the average, times the number of members; 1 for the plain average
    """

    def __init__(self, model: Any, name: str, calibrator: Any = None, weight: float = 1.0):
        super().__init__()
        self.model = model
        self.name = name
        self.calibrator = calibrator
        self.weight = weight
        self.positions = self.source_lengths = None  #: of the logits to come; see calibrators.py
        self._device = None

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.model, name)

    def forward(self, *args, **kwargs) -> Any:
        """As the model's."""
        return self.model(*args, **kwargs)

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> torch.Tensor:
        """Calibrated and weighted probabilities (…, V), or their logarithms in nats.

        Raises NonFiniteLogits.
        """
        probs = self._normalized(net_output, log_probs, sample)
        # one NaN or +inf among the logits makes the whole row NaN, so one column tells
        if probs[..., 0].isnan().any():
            raise NonFiniteLogits(self.name)
        if self.weight == 1:
            return probs
        return probs + math.log(self.weight) if log_probs else probs * self.weight

    def _normalized(self, net_output, log_probs, sample):
        if self.calibrator is None:
            return self.model.get_normalized_probs(net_output, log_probs, sample)
        logits = net_output[0]
        if self._device != logits.device:
            self._device = logits.device
            self.calibrator = self.calibrator.to(logits.device)
        found = self.calibrator.log_probs(logits, self.positions, self.source_lengths)
        return found if log_probs else found.exp()


class CalibratedEnsemble(EnsembleModelWithAlignment):
    """fairseq's ensemble of `CalibratedMember`s, which are told the position and source length of each hypothesis."""

    def forward_encoder(self, net_input: dict) -> Any:
        """As fairseq's; keeps the lengths of the sources."""
        self.source_lengths = net_input["src_lengths"]
        return super().forward_encoder(net_input)

    def reorder_encoder_out(self, encoder_outs: list, new_order: torch.Tensor) -> Any:
        """As fairseq's, for the lengths too."""
        self.source_lengths = self.source_lengths.index_select(0, new_order)
        return super().reorder_encoder_out(encoder_outs, new_order)

    def forward_decoder(
        self, tokens: torch.Tensor, encoder_outs: list, incremental_states: Any, temperature: float = 1.0
    ) -> Any:
        """As fairseq's: log-probabilities (hypotheses, V) of the next token, and attention."""
        lengths = self.source_lengths.unsqueeze(1)
        for member in self.models:
            member.positions, member.source_lengths = torch.full_like(lengths, tokens.size(1) - 1), lengths
        return super().forward_decoder(tokens, encoder_outs, incremental_states, temperature)


def place_references(members: Any, sample: dict) -> Any:
    """Tell the members the positions and source lengths (sentences, T) of a batch of references that will be scored."""
    previous = sample["net_input"]["prev_output_tokens"]
    positions = torch.arange(previous.size(1), device=previous.device).expand_as(previous)
    lengths = sample["net_input"]["src_lengths"].unsqueeze(1).expand_as(previous)
    for member in members:
        member.positions, member.source_lengths = positions, lengths
