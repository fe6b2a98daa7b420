"""Writing a file of a teacher's top probabilities of every target token, for stored_teacher.py."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import utils

from ..errors import UserError
from ..files import sha256, write_aside
from .batches import batches
from .loading import chosen_device
from .stored_teacher import FORMAT, dictionary_hashes, sentence_keys
from .suitability import check_task, check_two_dictionaries
from .teacher import ModelTeacher, load_model, task_of

_LOGITS = 1 << 22  # that exist at a time


def load_teacher(paths: list[str], data: str, cpu: bool = False) -> tuple[ModelTeacher, Any]:
    """(the teacher of some checkpoints, its task on the folder `data`), in evaluation mode on the device."""
    task = task_of(paths[0], data)
    check_two_dictionaries(task, paths[0], "train the student with --teacher-path, without a file of targets")
    check_task(task, paths[0], "give a teacher of another task")
    device = chosen_device(cpu)
    return ModelTeacher([load_model(path, task).to(device) for path in paths]), task


def store(
    part: "Part", teacher: ModelTeacher, task: Any, subset: str, max_tokens: int = 4000
) -> tuple[int, int, float]:
    """Append the sentences of a subset that are not there yet to a Part; returns (sentences, tokens, mean mass).

    The mass is what the Part's K types have of a token's probability. max_tokens: in a batch.
    """
    sentences, tokens, mass = 0, 0, 0.0
    for sample in batches(teacher.models, task, subset, max_tokens):
        keys = sentence_keys(sample, task).numpy()
        kept = sample["target"].ne(task.target_dictionary.pad())
        sizes = kept.sum(1).numpy()
        sentences, tokens = sentences + len(keys), tokens + int(sizes.sum())
        if not part.has(keys):
            rows = kept.flatten().nonzero().squeeze(1).split(max(1, _LOGITS // len(task.target_dictionary)))
            part.append(keys, sizes, *_predictions(teacher, sample, rows, part.top_k))
        mass += part.mass(keys)
    return sentences, tokens, mass / tokens


def _predictions(teacher, sample, chunks, top_k):
    """What `_top` gives for all rows of a batch; chunks: their indices, a few at a time."""
    model = teacher.models[0]
    device = next(model.parameters()).device
    sample = utils.move_to_cuda(sample) if device.type == "cuda" else sample
    logits = teacher.logits(model, sample, lambda x: x.flatten(0, 1))
    pieces = [_top(torch.softmax(logits(rows.to(device)), 1), top_k) for rows in chunks]
    return [np.concatenate(column) for column in zip(*pieces, strict=True)]


def _top(p, k):
    """Probabilities of the k most probable types and of all others together, (n, k+1), and those types, (n, k)."""
    top = p.topk(k, 1)
    # not 1 minus the others: a rest of 1e-7 would be rounding alone
    rest = p.scatter(1, top.indices, 0.0).sum(1, keepdim=True)
    return torch.cat([top.values, rest], 1).float().cpu().numpy(), top.indices.int().cpu().numpy()


class Part:
    """The folder FILE.part: whole sentences only, so that a run that was killed goes on behind the last of them."""

    def __init__(self, folder: Path, paths: list[str], task: Any, top_k: int):
        self.folder = folder
        self.top_k = top_k
        self._columns = {"probabilities": top_k + 1, "types": top_k}  # of 4 bytes
        self.dictionaries = dictionary_hashes(task)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(folder / "lock", "w")  # noqa: SIM115 - held until this process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: another labo distill-targets works there: wait until it is done") from None
        settings = {"teacher": [sha256(p) for p in paths], "dictionaries": self.dictionaries, "top_k": top_k}
        at = folder / "settings.json"
        if not at.exists() or json.loads(at.read_text(encoding="utf-8")) != settings:
            for name in ("sentences", *self._columns):
                self._at(name).unlink(missing_ok=True)
            with write_aside(at) as stream:
                json.dump(settings, stream)
        self._recover()

    def _recover(self):
        """Cut off what a killed run left half written: a sentence counts once its line in `sentences` is whole."""
        for name in ("sentences", *self._columns):
            self._at(name).touch()
        sentences = np.fromfile(self._at("sentences"), np.int64)
        sentences = sentences[: len(sentences) // 2 * 2].reshape(-1, 2)
        tokens = int(sentences[:, 1].sum())
        os.truncate(self._at("sentences"), sentences.nbytes)
        for name, columns in self._columns.items():
            os.truncate(self._at(name), 4 * columns * tokens)
        self.done = {}
        start = 0
        for key, size in sentences.tolist():
            self.done[key] = start, size
            start += size
        self.tokens = tokens

    def has(self, keys: np.ndarray) -> bool:
        """Whether all sentences of a batch are stored."""
        return all(key in self.done for key in keys.tolist())

    def mass(self, keys: np.ndarray) -> float:
        """Sum of the probabilities of the k types over the tokens of some sentences."""
        known = self._rows("probabilities", np.float32)[:, :-1]
        return sum(float(known[a : a + n].sum(dtype=np.float64)) for a, n in map(self.done.get, keys.tolist()))

    def _rows(self, name, dtype):
        return np.memmap(self._at(name), dtype, "r+").reshape(-1, self._columns[name])

    def append(self, keys: np.ndarray, sizes: np.ndarray, probabilities: np.ndarray, types: np.ndarray) -> None:
        """Add sentences; their tokens first, so that a sentence that is there has its tokens."""
        for name, rows in (("probabilities", probabilities), ("types", types)):
            with open(self._at(name), "ab") as stream:
                stream.write(np.ascontiguousarray(rows).tobytes())
        with open(self._at("sentences"), "ab") as stream:
            stream.write(np.stack([keys, sizes], 1).astype(np.int64).tobytes())
        for key, size in zip(keys.tolist(), sizes.tolist(), strict=True):
            self.done[key] = self.tokens, size
            self.tokens += size

    def finish(self, out: str | Path, about: dict) -> None:
        """Write the file from the parts, and remove them."""
        keys = np.array(sorted(self.done), np.int64)
        where = np.array([self.done[key] for key in keys.tolist()], np.int64).reshape(-1, 2)
        rows = {
            name: torch.from_numpy(self._rows(name, dtype))
            for name, dtype in (("probabilities", np.float32), ("types", np.int32))
        }
        content = {
            "format": FORMAT,
            "dictionaries": self.dictionaries,
            **about,
            "keys": torch.from_numpy(keys),
            "starts": torch.from_numpy(where[:, 0].copy()),
            "sizes": torch.from_numpy(where[:, 1].copy()),
            **rows,
        }
        with write_aside(out, "wb") as stream:
            torch.save(content, stream)
        shutil.rmtree(self.folder)

    def _at(self, name):
        return self.folder / name
