"""One teacher-forced pass of checkpoints over a data set, and statistics of its tokens under any calibrator.

The N×V logits never exist as a whole: the decoder's features, (N, D), are written to disk, and the logits are computed
from them in chunks, each time that they are needed. An image is a sentence of one token, its class.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import utils

from ..errors import UserError
from ..functional.calibration import TokenStatistics
from ..progress import progress
from .batches import batches
from .loading import is_of_images
from .projection import hidden_states

# logits of a chunk: as many as stay in the cache on a CPU, as few launches as memory allows on a GPU
_CHUNK = {"cpu": 1 << 20, "cuda": 1 << 26}
_SHOWN = 5  # sentence ids that an error message lists


@dataclass(frozen=True)
class Projection:
    """Decoder features of one checkpoint, (N, D) float32 on disk, and its output projection (V, D), (V,) or None."""

    hidden: np.ndarray
    weight: torch.Tensor
    bias: torch.Tensor | None

    def logits(self, rows: np.ndarray) -> torch.Tensor:
        """Logits (n, V) of these rows, an index array."""
        hidden = torch.from_numpy(self.hidden[rows]).to(self.weight.device)
        return torch.nn.functional.linear(hidden, self.weight, self.bias)


@dataclass(frozen=True)
class Tokens:
    """The target tokens of a data set under one or more checkpoints; all tensors (N,) int64, on the CPU.

    target: the reference's types, EOS included, padding left out
    position: in the target sentence, from 0
    source_length: tokens of the source sentence, EOS included
    sentence: id of the sentence in the data set
    members: a Projection per checkpoint
    """

    target: torch.Tensor
    position: torch.Tensor
    source_length: torch.Tensor
    sentence: torch.Tensor
    members: list

    def __len__(self):
        return len(self.target)

    def only(self, member: int) -> "Tokens":
        """The same tokens under one of the checkpoints."""
        return Tokens(self.target, self.position, self.source_length, self.sentence, [self.members[member]])

    def chunks(self, index: torch.Tensor | None = None) -> Iterator:
        """Yield (rows, target, position, source_length), on the device, for pieces of all tokens or of an index."""
        index = torch.arange(len(self)) if index is None else index
        weight = self.members[0].weight
        pieces = index.split(max(1, _CHUNK[weight.device.type] // len(weight)))
        for rows in progress(pieces, "tokens: one pass", "chunk"):
            yield rows, *(x[rows].to(weight.device) for x in (self.target, self.position, self.source_length))

    def statistics(self, candidates: list[list], index: torch.Tensor | None = None) -> list[TokenStatistics]:
        """TokenStatistics (on the CPU) under each of the candidates, in one pass over the tokens.

        candidates: lists of calibrators, one calibrator per member; members' probabilities are averaged, as fairseq's
        ensembles do. Raises UserError, naming sentences, where a target's log-probability is not finite.
        """
        found = [_Filled(len(self) if index is None else len(index)) for _ in candidates]
        for rows, target, position, source_length in self.chunks(index):
            logits = [member.logits(rows.numpy()) for member in self.members]
            for calibrators, filled in zip(candidates, found, strict=True):
                pairs = zip(calibrators, logits, strict=True)
                log_probs = _average([c.log_probs(z, position, source_length) for c, z in pairs])
                filled.add(TokenStatistics.of(log_probs, target))
        for filled in found:
            self._check(filled.statistics, index)
        return [filled.statistics for filled in found]

    def _check(self, tokens, index):
        broken = ~tokens.nll.isfinite()
        if broken.any():
            sentence = self.sentence if index is None else self.sentence[index]
            raise UserError(
                f"sentences {_listed(sentence[broken])}: a target whose log-probability is not finite: the model rules "
                "it out or is broken: use another checkpoint or leave these sentences out"
            )


class _Filled:
    """TokenStatistics of all tokens, on the CPU, filled chunk by chunk.

    Kept as a list of small tensors they would lie in memory between the logits of the chunks, whose room could then
    not be used again: at 40,000 types 100 kB were lost for each token.
    """

    def __init__(self, count: int):
        self._count, self._done = count, 0
        self.statistics: Any = None  # before the first chunk; there is one even without tokens

    def add(self, chunk: TokenStatistics) -> None:
        """Write down the next tokens."""
        if self.statistics is None:
            self.statistics = TokenStatistics(*(x.new_empty(self._count, device="cpu") for x in chunk))
        here = slice(self._done, self._done + len(chunk.nll))
        for whole, part in zip(self.statistics, chunk, strict=True):
            whole[here] = part
        self._done = here.stop


def collect(
    models: list, task: Any, subset: str, folder: str | Path, max_tokens: int = 4000, types: list[int] | None = None
) -> Tokens:
    """Tokens of a subset of the task's data under the models; their features go to files in `folder`.

    types: only targets of these types (classes of images) count, a list of indices; None for all. There may be none.
    Raises UserError where the subset is missing or empty, and, naming sentences, where a model's features are NaN or
    infinite.
    """
    device = next(models[0].parameters()).device
    paths = [Path(folder) / f"{subset}.{i}.features" for i in range(len(models))]
    columns: list[list] = [[] for _ in range(4)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        for sample in batches(models, task, subset, max_tokens):
            sample = utils.move_to_cuda(sample) if device.type == "cuda" else sample
            kept = _kept(sample["target"], task)
            if types is not None:
                kept &= torch.isin(sample["target"], torch.tensor(types, device=device))
            for column, values in zip(columns, _columns(sample, kept), strict=True):
                column.append(values[kept].cpu())
            for model, file in zip(models, files, strict=True):
                _features(model, sample, kept).tofile(file)
    if not columns[0]:
        raise UserError(f"{subset}: no sentences: name a subset that has some")
    members = [_member(model, path) for model, path in zip(models, paths, strict=True)]
    target, position, source_length, sentence = map(torch.cat, columns)
    return Tokens(target, position, source_length, sentence, members)


def _kept(target, task):
    """Mask of the targets that count: no class of images is padding."""
    return torch.ones_like(target, dtype=torch.bool) if is_of_images(task) else target.ne(task.target_dictionary.pad())


def _columns(sample, kept):
    """target, position, source length and sentence, each (batch, length), of images (batch,)."""
    ids = sample["id"]
    if kept.dim() == 1:
        return sample["target"], torch.zeros_like(ids), torch.ones_like(ids), ids
    lengths = sample["net_input"]["src_lengths"]
    position = kept.long().cumsum(1) - 1
    return sample["target"], position, lengths.unsqueeze(1).expand_as(kept), ids.unsqueeze(1).expand_as(kept)


@torch.no_grad()
def _features(model, sample, kept):
    images = kept.dim() == 1
    hidden = model.features(**sample["net_input"]) if images else hidden_states(model, sample["net_input"])
    hidden = hidden[kept].float()
    broken = ~hidden.isfinite().all(1)
    if broken.any():
        ids = (sample["id"] if images else sample["id"].unsqueeze(1).expand_as(kept))[kept][broken]
        raise UserError(
            f"sentences {_listed(ids)}: the model's features, and so its logits, are NaN or infinite: the checkpoint "
            "is broken: use an earlier one"
        )
    return hidden.cpu().numpy()


def _member(model, file):
    projection = getattr(model, "classifier", None) or model.decoder.output_projection
    weight = projection.weight.detach().float()
    bias = None if projection.bias is None else projection.bias.detach().float()
    # a bias of −inf is how a model rules types out
    if not weight.isfinite().all() or (bias is not None and (bias.isnan() | bias.isposinf()).any()):
        raise UserError("the output projection, and so every logit, holds NaN or infinity: use an earlier checkpoint")
    # an empty file cannot be mapped
    hidden = np.memmap(file, np.float32, "r") if file.stat().st_size else np.empty(0, np.float32)
    return Projection(hidden.reshape(-1, weight.size(1)), weight, bias)


def _average(log_probs):
    if len(log_probs) == 1:
        return log_probs[0]
    # rounding may leave a probability above 1
    return (torch.logsumexp(torch.stack(log_probs), 0) - math.log(len(log_probs))).clamp(max=0)


def _listed(ids):
    ids = sorted(set(ids.tolist()))
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(map(str, ids[:_SHOWN])) + more
