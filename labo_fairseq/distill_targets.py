"""Store what a teacher predicts for every target token: its K most probable types, for knowledge distillation.

Training with `--criterion knowledge_distillation --teacher-probs FILE` then needs no teacher beside the student. One
file serves all the subsets that training uses. A file takes about 8·K bytes per target token; it is mapped into memory,
not read. The probability that is left over counts as shared equally by all other types of the dictionary. An ensemble's
probabilities are averaged. Interrupted, it goes on where it stopped when it is started again with the same arguments.

Prints a row per subset: sentences, tokens, and the mean probability that the K types have.

example:
  labo distill-targets data-bin --path teacher/checkpoint_best.pt --top-k 8 --out teacher.probs
  fairseq-train data-bin --user-dir labo_fairseq --criterion knowledge_distillation --teacher-probs teacher.probs …
"""

import fcntl
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import sha256, write_aside

_LOGITS = 1 << 22  # that exist at a time


def add_arguments(parser):
    """Declare the arguments of `labo distill-targets`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT[:CKPT2…]", help="the teacher; several are an ensemble")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--top-k", type=int, default=8, metavar="K", help="types to keep of each token's distribution")
    parser.add_argument("--subset", nargs="+", default=["train", "valid"], help="subsets to go through")
    parser.add_argument("--max-tokens", type=int, default=4000, help="tokens in a batch")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--user-dir", metavar="DIR", help="fairseq's --user-dir, for models that are defined there")


def run(args):
    """Write the file; returns 0. Raises UserError on bad input."""
    if args.top_k < 1:
        raise UserError(f"--top-k: {args.top_k}: must be 1 or more")
    paths = args.path.split(os.pathsep)
    teacher, task = _load(args, paths)
    types = len(task.target_dictionary)
    if args.top_k > types:
        raise UserError(f"--top-k: {args.top_k}: the dictionary has {types} types: give fewer")
    print("subset", "sentences", "tokens", f"mass of top {args.top_k}", sep="\t")
    try:
        part = _Part(Path(f"{args.out}.part"), paths, task, args.top_k)
        for subset in args.subset:
            print(subset, *_store(part, teacher, task, subset, args), sep="\t", flush=True)
        part.finish(args.out, {"teacher": paths, "types": types})
    except BrokenPipeError:  # the reader of the table went away; labo_fairseq/cli.py ends quietly
        raise
    except OSError as error:
        raise UserError(
            f"{error.filename or args.out}: {error.strerror or error}: make room, or choose another --out"
        ) from None
    print(f"labo distill-targets: wrote {args.out}", file=sys.stderr)
    return 0


def _load(args, paths):
    """(the teacher, its task on the data), in evaluation mode on the device."""
    from argparse import Namespace

    import torch
    from fairseq import utils

    from . import register
    from .criterions._teacher import ModelTeacher, load_model, task_of

    register()
    utils.import_user_module(Namespace(user_dir=args.user_dir))
    task = task_of(paths[0], args.data)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    return ModelTeacher([load_model(path, task).to(device) for path in paths]), task


def _store(part, teacher, task, subset, args):
    """Append the sentences of a subset that are not there yet; (sentences, tokens, mean mass) of the subset."""
    from .calibration.collect import batches
    from .criterions._stored_teacher import sentence_keys

    sentences, tokens, mass = 0, 0, 0.0
    for sample in batches(teacher.models, task, subset, args.max_tokens):
        keys = sentence_keys(sample, task).numpy()
        kept = sample["target"].ne(task.target_dictionary.pad())
        sizes = kept.sum(1).numpy()
        sentences, tokens = sentences + len(keys), tokens + int(sizes.sum())
        if not part.has(keys):
            rows = kept.flatten().nonzero().squeeze(1).split(max(1, _LOGITS // len(task.target_dictionary)))
            part.append(keys, sizes, *_predictions(teacher, sample, rows, args.top_k))
        mass += part.mass(keys)
    return sentences, tokens, f"{mass / tokens:.4f}"


def _predictions(teacher, sample, chunks, top_k):
    """What `_top` gives for all rows of a batch; chunks: their indices, a few at a time."""
    import torch
    from fairseq import utils

    model = teacher.models[0]
    device = next(model.parameters()).device
    sample = utils.move_to_cuda(sample) if device.type == "cuda" else sample
    logits = teacher.logits(model, sample, lambda x: x.flatten(0, 1))
    found = [_top(torch.softmax(logits(rows.to(device)), 1), top_k) for rows in chunks]
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _top(p, k):
    """Probabilities of the k most probable types and of all others together, (n, k+1), and those types, (n, k)."""
    import torch

    top = p.topk(k, 1)
    # not 1 minus the others: a rest of 1e-7 would be rounding alone
    rest = p.scatter(1, top.indices, 0.0).sum(1, keepdim=True)
    return torch.cat([top.values, rest], 1).float().cpu().numpy(), top.indices.int().cpu().numpy()


class _Part:
    """The folder FILE.part: whole sentences only, so that a run that was killed goes on behind the last of them."""

    def __init__(self, folder, paths, task, top_k):
        from .criterions._stored_teacher import dictionary_hashes

        self.folder = folder
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

    def has(self, keys):
        """Whether all sentences of a batch are stored."""
        return all(key in self.done for key in keys.tolist())

    def mass(self, keys):
        """Sum of the probabilities of the k types over the tokens of some sentences."""
        known = self._rows("probabilities", np.float32)[:, :-1]
        return sum(float(known[a : a + n].sum(dtype=np.float64)) for a, n in map(self.done.get, keys.tolist()))

    def _rows(self, name, dtype):
        return np.memmap(self._at(name), dtype, "r+").reshape(-1, self._columns[name])

    def append(self, keys, sizes, probabilities, types):
        """Add sentences; their tokens first, so that a sentence that is there has its tokens."""
        for name, rows in (("probabilities", probabilities), ("types", types)):
            with open(self._at(name), "ab") as stream:
                stream.write(np.ascontiguousarray(rows).tobytes())
        with open(self._at("sentences"), "ab") as stream:
            stream.write(np.stack([keys, sizes], 1).astype(np.int64).tobytes())
        for key, size in zip(keys.tolist(), sizes.tolist(), strict=True):
            self.done[key] = self.tokens, size
            self.tokens += size

    def finish(self, out, about):
        """Write the file from the parts, and remove them."""
        import torch

        from .criterions._stored_teacher import FORMAT

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
