"""Translate with a model that `labo export` made; prints what fairseq-generate prints, sentences in order.

  labo translate fast --data data/bin --remove-bpe --tokenizer moses > generate-test.txt
  labo translate fast --remove-bpe < subwords.en

The source is subwords, one sentence per line, from standard input or --input; or, with --data, a split of fairseq's
binaries, whose targets give the T- lines. Output: S- source, T- target where there is one, H- hypothesis, D- the same
detokenized, P- scores per token with the end of the sentence. Scores are base-2 logarithms under the exported model,
so with its temperature; that of H- and D- is their sum divided by (tokens + 1) ** lenpen.

With --sampling, --nbest samples of each sentence are printed in place of the results of beam search, as candidates for
`labo mbr`:

  labo translate fast --data data/bin --remove-bpe --tokenizer moses --sampling --sampling-topk 10 --nbest 32 > s.txt

The search is fairseq's in beam, candidates, stopping rule and length normalization; docs/fast_engine.md says where it
differs: at near-ties, in hypotheses that the length limit cuts, and in empty sentences, which stay empty. A sentence
that is longer than the model allows is skipped, with a line on standard error, as fairseq does: its id is missing then.
"""

import dataclasses
import math
import sys

from ..decoding.translate import BPE_MARK, Binaries, Clock, Display, Model, Search, from_text, in_order
from ..errors import UserError

SHOWN = 10  # how many ids of skipped sentences are listed


def add_arguments(parser):
    """Flags of `labo translate`; those that fairseq-generate has too mean the same."""
    parser.add_argument("model", metavar="MODEL_DIR", help="folder that `labo export` made")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--input", metavar="FILE", default="-", help="source lines as subwords; - is standard input")
    source.add_argument("--data", metavar="DIR", help="fairseq's binaries, in place of --input")
    parser.add_argument("--beam", type=int, default=5, help="beam size")
    parser.add_argument("--nbest", type=int, default=1, help="hypotheses to print of each sentence")
    parser.add_argument("--sampling", action="store_true", help="draw --nbest samples in place of beam search")
    add_search_arguments(parser)


def add_search_arguments(parser):
    """Declare what every search of the engine, and fairseq-generate, takes."""
    parser.add_argument("--gen-subset", metavar="SPLIT", default="test", help="with --data: the split")
    parser.add_argument("--sampling-topk", type=int, metavar="K", help="draw samples from the K likeliest types")
    parser.add_argument(
        "--sampling-topp", type=float, metavar="P", help="draw from the likeliest types of mass P in all"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the samples; the engine's repeat with --threads 1 only")
    parser.add_argument(
        "--lenpen",
        type=float,
        help="above 1 favours longer sentences, below 1 shorter (default: the tuned one of the exported model, else 1)",
    )
    parser.add_argument("--max-len-a", type=float, default=0.0, help="at most A * (source subwords + 1) + B subwords")
    parser.add_argument("--max-len-b", type=int, default=200, help="the B of it")
    parser.add_argument("--max-tokens", type=int, default=12000, help="source subwords of a batch, padding included")
    parser.add_argument("--batch-size", type=int, help="sentences of a batch; default: as many as fit --max-tokens")
    parser.add_argument(
        "--remove-bpe",
        "--post-process",
        nargs="?",
        const=BPE_MARK,
        choices=[BPE_MARK, "subword_nmt", "sentencepiece"],
        help=f"join subwords in S-, T-, H- and D- lines; without a value those marked {BPE_MARK.strip()}",
    )
    parser.add_argument("--tokenizer", choices=["moses"], help="detokenize S-, T- and D- lines")
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="cpu", help="where to translate")
    parser.add_argument(
        "--compute-type",
        metavar="TYPE",
        default="default",
        help="of CTranslate2: float32, int8 and others; default: that of the exported weights",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")


def run(args):
    """Translate and print; returns 0. Raises UserError on bad input."""
    search = _search(args)
    model = Model(args.model, args.threads, args.seed, args.device, args.compute_type)
    if args.lenpen is None and model.lenpen != 1:
        print(f"tuned length penalty {model.lenpen:g} (another one: --lenpen)", file=sys.stderr)
        search = dataclasses.replace(search, lenpen=model.lenpen)
    show = Display(args.remove_bpe, args.tokenizer, model.record["target_lang"])
    sentences = (
        Binaries(args.data, args.gen_subset, model.record, args.remove_bpe) if args.data else from_text(args.input)
    )
    total = len(sentences) if args.data else None
    clock = Clock(total)

    def translate(batch):
        with clock:
            translations = model.translate(batch, search)
        clock.count(translations)
        return translations

    found = in_order(model, sentences, args.max_tokens, args.batch_size, translate)
    print_in_order(found, show.lines, model.record["max_source_positions"])
    clock.report()
    return 0


def print_in_order(found, lines, positions):
    """Print the lines of each (Sentence, result), and say which have none. Raises UserError where none has one."""
    skipped, read = [], 0
    for sentence, result in found:
        read += 1
        if result is None:
            skipped.append(sentence)
        else:
            sys.stdout.write(lines(sentence, result))
    if skipped:
        _say_skipped(skipped, read, positions)


def _say_skipped(skipped, read, positions):
    """As fairseq with --skip-invalid-size-inputs-valid-test. Raises UserError where nothing is left."""
    longest = max(len(sentence.source) for sentence in skipped) + 1
    if len(skipped) == read:
        raise UserError(
            f"every sentence is too long (up to {longest} subwords with its end): the model has {positions} positions: "
            "shorten them"
        )
    listed = ", ".join(str(sentence.id) for sentence in skipped[:SHOWN]) + ", …" * (len(skipped) > SHOWN)
    print(
        f"warning: {len(skipped)} of {read} sentences skipped, because the model has {positions} positions and the "
        f"longest of them needs {longest}: ids {listed}",
        file=sys.stderr,
    )


def _search(args):
    for name, least in (("beam", 1), ("nbest", 1)):
        at_least(args, name, least)
    if args.nbest > args.beam and not args.sampling:
        raise UserError(f"--nbest: {args.nbest}: must not be above --beam {args.beam}")
    return search_of(args, args.beam, args.nbest, args.sampling)


def at_least(args, name, least):
    """Raises UserError where an argument that is given is too small."""
    value = getattr(args, name)
    if value is not None and value < least:
        raise UserError(f"--{name.replace('_', '-')}: {value}: must be at least {least}")


def search_of(args, beam, nbest, sampling):
    """The Search of the arguments of `add_search_arguments`. Raises UserError where they make no sense."""
    least = {"max_tokens": 1, "batch_size": 1, "max_len_b": 0, "threads": 0, "seed": 0, "sampling_topk": 2}
    for name, value in least.items():
        at_least(args, name, value)
    lenpen = 1.0 if args.lenpen is None else args.lenpen
    if not (math.isfinite(lenpen) and math.isfinite(args.max_len_a) and args.max_len_a >= 0):
        raise UserError("--lenpen, --max-len-a: must be finite numbers, the latter not below 0")
    if args.sampling_topp is not None and not 0 < args.sampling_topp <= 1:
        raise UserError(f"--sampling-topp: {args.sampling_topp}: must be above 0 and at most 1")
    given = {"--sampling-topk": args.sampling_topk, "--sampling-topp": args.sampling_topp}
    flags = [flag for flag, value in given.items() if value is not None]
    if flags and not sampling:
        raise UserError(f"{flags[0]}: is a way to draw samples: add --sampling")
    if len(flags) > 1:
        raise UserError("--sampling-topk, --sampling-topp: both given: leave one of them out")
    return Search(
        beam,
        nbest,
        lenpen,
        args.max_len_a,
        args.max_len_b,
        sampling,
        args.sampling_topk or -1,
        args.sampling_topp or -1.0,
    )
