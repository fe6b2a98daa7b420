"""Arguments that several commands share."""

from dataclasses import replace
from pathlib import Path

from ..analysis import bleu
from ..analysis.frequency import (
    MAX_UNKNOWN,
    SCORES,
    USUALLY_UNKNOWN,
    check_unknown,
    frequency_scores,
    read_dictionary,
    split_by_score,
)
from ..analysis.references import read_references, tokenizer_for
from ..errors import UserError
from ..measures import significance
from ..records.predictions import checkpoint_of
from ..records.run_files import find_runs
from ..records.run_folder import named_folders, seeds_together


def add_reference_arguments(parser, required, what="reference text"):
    """Declare --reference, --num-refs, --tokenize and --language."""
    parser.add_argument(
        "--reference",
        metavar="FILE",
        nargs="+",
        action="extend",
        required=required,
        help=f"{what}; several where there are several references",
    )
    parser.add_argument(
        "--num-refs",
        type=int,
        metavar="N",
        help="references in a single file, with tabs between them, as sacrebleu --num-refs",
    )
    parser.add_argument(
        "--tokenize",
        choices=bleu.TOKENIZERS,
        metavar="NAME",
        help=f"how BLEU splits words, as sacrebleu -tok: {', '.join(bleu.TOKENIZERS)} (default: that of --language, "
        "else 13a)",
    )
    parser.add_argument(
        "--language",
        metavar="XX",
        help="target language, such as zh, for --tokenize; text that looks tokenized is detokenized as this language",
    )


def references_of(args, tokenized=False):
    """(References, tokenizer) of the arguments of `add_reference_arguments`; (None, None) without --reference."""
    if args.reference is None:
        return None, None
    if tokenized and args.tokenize is not None:
        raise UserError("--tokenize: is for detokenized text: leave out --tokenized, or --tokenize")
    references = read_references(args.reference, args.num_refs, tokenized, args.language)
    if args.language and not tokenized:
        references = replace(references, detokenized_as=args.language)
    return references, None if tokenized else tokenizer_for(references, args.tokenize, args.language)


def add_significance_arguments(parser, default):
    """Declare --significance, --samples, --trials and --seed."""
    parser.add_argument(
        "--significance",
        choices=list(significance.TESTS),
        default=default,
        help="paired tests against the first system",
    )
    parser.add_argument("--samples", type=int, default=significance.SAMPLES, metavar="N", help="bootstrap samples")
    parser.add_argument(
        "--trials", type=int, default=significance.TRIALS, metavar="N", help="trials of approximate randomization"
    )
    parser.add_argument(
        "--seed", type=int, default=significance.SEED, metavar="N", help="seed of the random samples of these tests"
    )


def check_significance_arguments(args):
    """Raises UserError where a number is too small."""
    for name, value, least in (("samples", args.samples, 2), ("trials", args.trials, 1), ("seed", args.seed, 1)):
        if value < least:
            raise UserError(f"--{name}: {value}: must be {least} or more")


def add_run_arguments(parser):
    """Declare RUN, --system, --log, --data and --direction: the files of runs, wherever they lie."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="folder of a training run; the first is the baseline")
    parser.add_argument(
        "--system", metavar="NAME=FILE", action="append", default=[],
        help="translations of the test set: output of fairseq-generate, or plain lines; can be repeated, also with the "
        "same NAME for another training seed",
    )  # fmt: skip
    parser.add_argument(
        "--log", metavar="NAME=FILE", action="append", default=[],
        help="output or --log-file of fairseq-train for a run or system; can be repeated",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="folder of the prepared corpus (default: the one of each run)")
    parser.add_argument(
        "--direction", metavar="XX-YY", help="languages, where the corpus of --data has several pairs, such as de-en"
    )


def runs_of(args):
    """{name: RunFiles} of the arguments of `add_run_arguments` (and --calibration NAME=DIR where there is that)."""
    if not args.runs and not args.system and not args.log:
        raise UserError("RUN: none given: name folders of runs, or translations with --system NAME=FILE")
    if args.direction and not args.data:
        raise UserError("--direction: is one of the corpus of --data: give both")
    translations = {}
    for name, file in named_paths("--system", args.system):
        if file in translations.setdefault(name, []):
            raise UserError(f"--system: {name}={file}: given twice: each training seed has a file of its own")
        translations[name].append(file)
    logs, calibrations = (
        _once(flag, getattr(args, flag.removeprefix("--"), [])) for flag in ("--log", "--calibration")
    )
    return find_runs(args.runs, translations, logs, calibrations, args.data, args.direction)


def _once(flag, arguments):
    """{name: path} of NAME=PATH arguments, each name once."""
    found = {}
    for name, path in named_paths(flag, arguments):
        if name in found:
            raise UserError(f"{flag}: {name}: given twice: give one for each system")
        found[name] = path
    return found


def named_paths(flag, arguments):
    """Pairs (name, path) of NAME=PATH arguments. Raises UserError."""
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise UserError(
                f"{flag}: {argument}: no name or no path: write NAME=PATH, such as baseline=generate-test.txt"
            )
        if not name.isprintable() or name.startswith("#"):
            raise UserError(f"{flag}: {name!r}: has control characters or begins with '#': choose another name")
        yield name, path


def add_split_arguments(parser, required):
    """Declare the arguments that choose the splits; `required` says whether a command can do without them."""
    group = parser.add_argument_group("splits by training frequency")
    group.add_argument("--dict", metavar="FILE", required=required, help="fairseq's dict.XX.txt of that side")
    group.add_argument(
        "--source", metavar="FILE", required=required, help="source sentences in subwords, as bpe/test.XX"
    )
    group.add_argument("--target", metavar="FILE", help="reference sentences in subwords, for --by target")
    group.add_argument("--by", choices=("source", "target"), default="source", help="side whose tokens are counted")
    group.add_argument(
        "--score",
        choices=list(SCORES),
        default="mean",
        help="of the counts of a sentence: their mean (equation 18 of LABO), mean log10, or smallest",
    )
    group.add_argument("--parts", type=int, default=3, metavar="N", help="number of splits")
    group.add_argument(
        "--size", type=int, metavar="N", help="sentences per split, as 2400 in LABO (default: all equal)"
    )
    group.add_argument(
        "--max-unknown",
        type=float,
        metavar="SHARE",
        help=f"refuse a text with a larger share of tokens that are not in the dictionary (default: {MAX_UNKNOWN}, "
        f"with a warning from {USUALLY_UNKNOWN} on)",
    )


def check_split_arguments(args):
    """Raises UserError where a number makes no sense."""
    for name, value in (("parts", args.parts), ("size", args.size)):
        if value is not None and value < 1:
            raise UserError(f"--{name}: {value}: must be 1 or more")
    if args.max_unknown is not None and not 0 <= args.max_unknown <= 1:
        raise UserError(f"--max-unknown: {args.max_unknown}: must be a share, between 0 and 1")


def splits_of(lines, file, args):
    """The splits that the arguments of `add_split_arguments` ask for, of the subword sentences of one side."""
    counts = read_dictionary(args.dict)
    check_unknown(lines, counts, file, args.dict, args.max_unknown)
    return split_by_score(frequency_scores(lines, counts, args.score), args.parts, args.size)


def checkpoints_of(args):
    """{name of a system: [checkpoint of each seed]} of the arguments RUN and --system. Raises UserError."""
    if not args.runs and not args.system:
        raise UserError("RUN: none given: name run folders, or checkpoints with --system NAME=CKPT")
    folders = named_folders(args.runs)
    names = {name: checkpoint_of(folder) for name, folder in folders.items()}
    groups = seeds_together(names, folders)
    for argument in args.system:
        name, equals, file = argument.partition("=")
        if not (name and equals and file) or not name.isprintable() or name.startswith("#"):
            raise UserError(
                f"--system: {argument}: write NAME=CKPT, such as labo=runs/labo/checkpoint_best.pt, with a printable "
                "name that does not begin with '#'"
            )
        if name in folders:
            raise UserError(f"--system: {name}: is the name of a RUN too: choose another")
        if Path(file) in groups.get(name, []):
            raise UserError(f"--system: {argument}: given twice: each training seed has a checkpoint of its own")
        groups.setdefault(name, []).append(Path(file))
    return groups
