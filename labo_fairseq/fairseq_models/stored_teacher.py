"""Teachers that are files: the top probabilities of every target token, written once by `labo distill-targets`.

A file is what torch.save makes of a dictionary of tensors, so torch.load maps it into memory and runs no code:

  format         "labo teacher probabilities 1"
  dictionaries   sha256 of the source and target symbols
  teacher        paths of the checkpoints, types: V
  keys           (S,) int64, one per sentence, ascending: a hash of its source and target tokens
  starts, sizes  (S,) int64: where its tokens begin below, and how many they are
  probabilities  (N, k+1) float32, of the k most probable types of each token and of all others together, at T = 1
  types          (N, k) int32, indices of the k types

Sentences are found by what they say and not by their number, so that one file serves several subsets, shards and
orders, and a sentence that is not the one the teacher saw is noticed.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import LanguagePairDataset

from ..compat.checkpoints import check_archive
from ..errors import UserError
from ..functional import stored_logits
from .suitability import check_two_dictionaries

FORMAT = "labo teacher probabilities 1"
_PROBES = 8  # sentences of each subset that are looked up before training begins


class StoredTeacher:
    """The teacher of `--teacher-probs`. Raises UserError for a file that is damaged or of other dictionaries."""

    def __init__(self, path: str | Path, task: Any):
        check_two_dictionaries(task, "--teacher-probs", "use --teacher-path")
        self.path, self.task = path, task
        self._content = _load(path)
        if self._content.get("dictionaries") != dictionary_hashes(task):
            raise UserError(
                f"--teacher-probs {path}: was made with other dictionaries than those of the data: make it again with "
                "`labo distill-targets`"
            )
        self._keys = self._content["keys"].numpy()
        self._probed = False

    def logits(self, model: Any, sample: dict, flatten: Callable) -> Callable:
        """A teacher of functional/distillation.py for the rows of a batch; arguments as of ModelTeacher.logits."""
        if not self._probed:
            self._probe()
        sentences, ok = self._find(sample)
        if not ok.all():
            missing = int(sample["id"][int((~ok).argmax())])
            raise UserError(f"--teacher-probs {self.path}: has nothing for sentence {missing} of this batch: {_AGAIN}")
        starts, sizes = (self._content[name].numpy()[sentences] for name in ("starts", "sizes"))
        rows = torch.from_numpy(np.concatenate([np.arange(a, a + n) for a, n in zip(starts, sizes, strict=True)]))
        kept = sample["target"].ne(self.task.target_dictionary.pad())
        probabilities, types = (
            flatten(_spread(self._content[name][rows].to(kept.device), kept)) for name in ("probabilities", "types")
        )
        return stored_logits(probabilities, types.long(), len(self.task.target_dictionary))

    def _find(self, sample):
        """Index of each sentence in the file, and whether it is there at all."""
        keys = sentence_keys(sample, self.task).cpu().numpy()
        index = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return index, self._keys[index] == keys

    def _probe(self):
        """Look a few sentences of every loaded subset up, so that a forgotten one is not noticed an epoch later."""
        self._probed = True
        for subset, dataset in self.task.datasets.items():
            if not isinstance(dataset, LanguagePairDataset) or not len(dataset):
                continue
            some = np.linspace(0, len(dataset) - 1, min(_PROBES, len(dataset)), dtype=int)
            if not self._find(dataset.collater([dataset[int(i)] for i in some]))[1].any():
                raise UserError(f"--teacher-probs {self.path}: has nothing for the subset {subset}: {_AGAIN}")


_AGAIN = "make the file again from this data with `labo distill-targets`, with all subsets that training uses"


def sentence_keys(sample: dict, task: Any) -> torch.Tensor:
    """A hash of source and target of each sentence of a batch, (batch,) int64; padding plays no part."""
    source = _hash(sample["net_input"]["src_tokens"], task.source_dictionary.pad())
    target = _hash(sample["target"], task.target_dictionary.pad())
    return _mix(source * 31 + target)


def dictionary_hashes(task: Any) -> dict[str, str]:
    """{"source": sha256 of the symbols, "target": …} of a task's dictionaries."""
    sides = {"source": task.source_dictionary, "target": task.target_dictionary}
    return {side: hashlib.sha256("\n".join(d.symbols).encode()).hexdigest() for side, d in sides.items()}


def _hash(tokens, pad):
    kept = tokens.ne(pad)
    return (_mix(tokens.long() + _mix(kept.long().cumsum(1))) * kept).sum(1)


def _mix(x):
    """Every bit of an int64 depends on every bit of x: the finalizer of splitmix64, where int64 overflow wraps."""
    x = (x ^ _shifted(x, 30)) * (0xBF58476D1CE4E5B9 - (1 << 64))
    x = (x ^ _shifted(x, 27)) * (0x94D049BB133111EB - (1 << 64))
    return x ^ _shifted(x, 31)


def _shifted(x, bits):
    """x to the right with zeros from the left; torch repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _spread(rows, kept):
    """(n, k) of the kept positions as (batch, length, k), 0 elsewhere."""
    spread = rows.new_zeros(*kept.shape, rows.size(1))
    spread[kept] = rows
    return spread


def _fits_together(content):
    """Whether the tensors have the shapes and types that the module tells."""
    names = ("keys", "starts", "sizes", "probabilities", "types")
    tensors = [content.get(name) for name in names]
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return False
    keys, starts, sizes, probabilities, types = tensors
    rows = (keys, starts, sizes)
    if any(t.dtype != torch.int64 or t.dim() != 1 or len(t) != len(keys) for t in rows) or not len(keys):
        return False
    if (probabilities.dtype, types.dtype, probabilities.dim(), types.dim()) != (torch.float32, torch.int32, 2, 2):
        return False
    if tuple(probabilities.shape) != (len(types), types.size(1) + 1) or not types.size(1):
        return False
    return bool((starts >= 0).all() and (sizes > 0).all() and (starts <= len(types) - sizes).all())


def _load(path):
    check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise UserError(f"--teacher-probs {path}: no such file: make it with `labo distill-targets`") from None
    except Exception:  # torch and pickle raise a dozen kinds on damaged bytes
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not _fits_together(content):
        raise UserError(f"--teacher-probs {path}: is no whole file of `labo distill-targets`: make it again")
    return content
