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

import os
import sys
from pathlib import Path

from ..errors import UserError
from .numbers import count


def add_arguments(parser):
    """Declare the arguments of `labo distill-targets`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT[:CKPT2…]", help="the teacher; several are an ensemble")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--top-k", type=int, default=8, metavar="K", help="types to keep of each token's distribution")
    parser.add_argument("--subset", nargs="+", default=["train", "valid"], help="subsets to go through")
    parser.add_argument("--max-tokens", type=count, default=4000, help="tokens in a batch")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--user-dir", metavar="DIR", help="fairseq's --user-dir, for models that are defined there")


def run(args):
    """Write the file; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..fairseq_models.loading import import_user_dir
    from ..fairseq_models.teacher_targets import Part, load_teacher, store

    if args.top_k < 1:
        raise UserError(f"--top-k: {args.top_k}: must be 1 or more")
    paths = args.path.split(os.pathsep)
    register()
    import_user_dir(args.user_dir)
    teacher, task = load_teacher(paths, args.data, args.cpu)
    types = len(task.target_dictionary)
    if args.top_k > types:
        raise UserError(f"--top-k: {args.top_k}: the dictionary has {types} types: give fewer")
    print("subset", "sentences", "tokens", f"mass of top {args.top_k}", sep="\t")
    try:
        part = Part(Path(f"{args.out}.part"), paths, task, args.top_k)
        for subset in args.subset:
            sentences, tokens, mass = store(part, teacher, task, subset, args.max_tokens)
            print(subset, sentences, tokens, f"{mass:.4f}", sep="\t", flush=True)
        part.finish(args.out, {"teacher": paths, "types": types})
    except BrokenPipeError:  # the reader of the table went away; labo_fairseq/cli.py ends quietly
        raise
    except OSError as error:
        raise UserError(
            f"{error.filename or args.out}: {error.strerror or error}: make room, or choose another --out"
        ) from None
    print(f"labo distill-targets: wrote {args.out}", file=sys.stderr)
    return 0
