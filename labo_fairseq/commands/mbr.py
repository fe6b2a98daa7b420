"""Choose of each sentence's candidates the one of highest expected utility: minimum-Bayes-risk decoding.

  labo translate fast --data data/bin --remove-bpe --tokenizer moses --sampling --sampling-topk 5 --nbest 32 > s.txt
  labo mbr s.txt > mbr.txt
  labo score --reference raw/test.de --system beam=beam5.txt --system mbr=mbr.txt --significance both

LOG is output of fairseq-generate or `labo translate`: samples or an n-best list. Several logs of the same sentences,
of several systems say, are one set of candidates. In place of logs, candidates come straight from a model: with --fast
from a folder of `labo export`; with --path from a checkpoint, by fairseq-generate --task calibrated_translation, whose
further flags come after "--":

  labo mbr --fast fast --data data/bin --samples 32 --sampling-topk 5 --remove-bpe --tokenizer moses > mbr.txt
  labo mbr --path checkpoint_best.pt --data data/bin --samples 32 --epsilon-sampling 0.02 --remove-bpe \\
      --tokenizer moses -- --calibration calibration.json --cpu > mbr.txt

Prints a log with the chosen hypotheses, which every other command reads.

--weights says how much each candidate counts: uniform, as often as it is there (for samples); model, in proportion to
its probability; calibrated, to its probability to the power of 1/T. Each LOG has the same share in all. T comes from
--temperature, or from the file of a fit on a validation set:

  labo mbr valid-samples.txt --fit-temperature mbr.json
  labo mbr test-samples.txt --weights calibrated --calibration mbr.json > mbr.txt

A fit prints the mean utility of the choices against the references (the T- lines, or --reference) for every T that it
tries, beside uniform weights, the most probable candidate, and the best one that there is.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from ..analysis.bleu import check_tokenizer
from ..decoding import mbr, utilities
from ..errors import UserError, above
from ..records.generate_log import log_lines, read_generate_log
from ..records.mbr import COLUMNS, write_choices, write_fit
from ..records.tables import table_of
from ..records.text import read_text, split_lines
from .translate import add_search_arguments, at_least, print_in_order, search_of

UTILITIES = ("chrf", "bleu", "comet")
WEIGHTS = ("uniform", "model", "calibrated")
SAMPLES = 32


def add_arguments(parser):
    """Declare the arguments of `labo mbr`."""
    parser.add_argument("logs", metavar="LOG", nargs="*", help="output of fairseq-generate with several hypotheses")
    parser.add_argument(
        "--utility",
        metavar="NAME",
        default="chrf",
        help=f"what to expect most of: {', '.join(UTILITIES)}, or a mean of them such as chrf=3,bleu=1",
    )
    parser.add_argument("--weights", choices=WEIGHTS, default="uniform", help="of the candidates, in the expectation")
    parser.add_argument("--temperature", type=float, metavar="T", help="with --weights calibrated")
    parser.add_argument("--calibration", metavar="FILE", help="the T of --fit-temperature FILE, in place of it")
    parser.add_argument(
        "--aggregate",
        action="store_true",
        help="compare with the average of all candidates, not with each: near the same, in time linear in their number",
    )
    parser.add_argument("--tokenize", default="13a", metavar="NAME", help="of --utility bleu, as sacrebleu -tok")
    parser.add_argument("--comet-model", metavar="NAME", help="of --utility comet: a name, or a checkpoint file")
    report = parser.add_argument_group("report")
    report.add_argument("--report", metavar="FILE", help="TSV of each choice: expected utility, weight, rank, …")
    report.add_argument("--json", action="store_true", help="JSON in place of TSV, of the report and of a fit")
    fit = parser.add_argument_group("fit on a validation set")
    fit.add_argument("--fit-temperature", metavar="FILE", help="write the T of the best choices to FILE")
    fit.add_argument("--reference", metavar="FILE", help="detokenized references (default: the T- lines of LOG)")
    straight = parser.add_argument_group("candidates straight from a model")
    model = straight.add_mutually_exclusive_group()
    model.add_argument("--fast", metavar="DIR", help="folder that `labo export` made")
    model.add_argument("--path", metavar="CKPT", help="checkpoints, as fairseq-generate --path")
    straight.add_argument("--data", metavar="DIR", help="fairseq's binaries")
    kind = straight.add_mutually_exclusive_group()
    kind.add_argument("--samples", type=int, metavar="N", help=f"draw N samples (default: {SAMPLES})")
    kind.add_argument("--nbest", type=int, metavar="N", help="take the N best of beam search with beam N")
    straight.add_argument(
        "--epsilon-sampling", type=float, metavar="E", help="with --path: draw from types of at least this probability"
    )
    straight.add_argument(
        "--min-p", type=float, metavar="P", help="with --path: draw from types of at least P times the largest one"
    )
    add_search_arguments(straight)


def run(args):
    """Decode, or fit a temperature; returns 0. Raises UserError on bad input."""
    utility = _utility(args)
    temperature = None if args.fit_temperature else _temperature(args, utility)
    if args.fast and not args.fit_temperature:
        return _with_engine(args, utility, temperature)
    candidates = _candidates(args)
    if args.fit_temperature:
        return _fit(args, utility, candidates)
    seconds = time.perf_counter()
    choices = []
    for choice in mbr.decode(_bar(candidates), utility, temperature):
        choices.append(choice)
        sys.stdout.write(log_lines(choice.sentence))
    _say(args, choices, time.perf_counter() - seconds)
    return 0


def _utility(args):
    parts = [part.partition("=") for part in args.utility.split(",")]
    weights = {name: _weight(args.utility, weight) if equals else 1.0 for name, equals, weight in parts}
    unknown = [name for name in weights if name not in UTILITIES]
    if unknown or len(weights) < len(parts):
        raise UserError(f"--utility: {args.utility}: name {', '.join(UTILITIES)}, each once, such as chrf=3,bleu=1")
    found = {_part(args, name): weight for name, weight in weights.items()}
    return utilities.Sum(found) if len(found) > 1 else next(iter(found))


def _weight(utility, text):
    try:
        weight = float(text)
    except ValueError:
        raise UserError(f"--utility: {utility}: {text!r} is no number: give weights such as chrf=3,bleu=1") from None
    above(f"--utility: {utility}", weight, 0)
    return weight


def _part(args, name):
    if name == "comet":
        if args.aggregate:
            raise UserError("--aggregate: is for chrf and bleu: leave it out, and take fewer candidates")
        from ..analysis.comet import MODEL, Model

        return utilities.Comet(Model(args.comet_model or MODEL))
    check_tokenizer(args.tokenize)
    return utilities.chrf(args.aggregate) if name == "chrf" else utilities.bleu(args.aggregate, args.tokenize)


def _temperature(args, utility):
    """None for uniform weights."""
    flags = {"--temperature": args.temperature, "--calibration": args.calibration}
    given = [flag for flag, value in flags.items() if value is not None]
    if args.weights != "calibrated":
        if given:
            raise UserError(f"{given[0]}: is for --weights calibrated: add it")
        return {"uniform": None, "model": 1.0}[args.weights]
    if len(given) != 1:
        raise UserError("--weights calibrated: needs --temperature T or the --calibration FILE of a fit, one of them")
    if args.calibration:
        return mbr.load_temperature(args.calibration, utility)
    above("--temperature", args.temperature, 0)
    return args.temperature


def _candidates(args):
    """The Candidates of logs, or of fairseq-generate."""
    if args.fast:
        raise UserError("--fit-temperature: needs candidates in LOG files: write them with `labo translate --sampling`")
    if args.path:
        from ..decoding.candidates import run_fairseq_generate

        flags = _flags_of_fairseq(args)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "candidates.txt")
            run_fairseq_generate(flags, log)
            return mbr.candidates_of([read_generate_log(log)], ["fairseq-generate"])
    if not args.logs:
        raise UserError("LOG: none given: name logs of fairseq-generate, or a model with --fast or --path")
    return mbr.candidates_of([read_generate_log(log) for log in args.logs], args.logs)


def _search(args):
    """The Search of candidates straight from a model."""
    if args.data is None:
        raise UserError("--data: missing: give the folder of fairseq's binaries whose --gen-subset is to be translated")
    for name in ("samples", "nbest"):
        at_least(args, name, 1)
    count = args.nbest or args.samples or SAMPLES
    return search_of(args, count, count, args.nbest is None)


def _flags_of_fairseq(args):
    search = _search(args)
    flags = [args.data, "--path", args.path, "--gen-subset", args.gen_subset, "--task", "calibrated_translation"]
    flags += ["--beam", search.beam, "--nbest", search.nbest, "--lenpen", search.lenpen, "--seed", args.seed]
    flags += ["--max-len-a", search.max_len_a, "--max-len-b", search.max_len_b, "--max-tokens", args.max_tokens]
    flags += ["--sampling"] if search.sampling else []
    names = ("sampling_topk", "sampling_topp", "epsilon_sampling", "min_p", "batch_size", "remove_bpe", "tokenizer")
    for name in names:
        if getattr(args, name) is not None:
            flags += [f"--{name.replace('_', '-')}={getattr(args, name)}"]
    return [str(flag) for flag in (*flags, *args.logs)]


def _with_engine(args, utility, temperature):
    from ..decoding.candidates import choose
    from ..decoding.translate import Binaries, Display, Model, in_order

    for flag, value in (("--epsilon-sampling", args.epsilon_sampling), ("--min-p", args.min_p)):
        if value is not None:
            raise UserError(f"{flag}: the engine cannot: take --sampling-topk or --sampling-topp, or --path for --fast")
    if args.logs:
        raise UserError(f"{args.logs[0]}: a log beside --fast: give the one or the other")
    search = _search(args)
    model = Model(args.fast, args.threads, args.seed, args.device, args.compute_type)
    show = Display(args.remove_bpe, args.tokenizer, model.record["target_lang"])
    sentences = Binaries(args.data, args.gen_subset, model.record, args.remove_bpe)
    bar = _bar(total=len(sentences))
    choices, seconds = [], time.perf_counter()

    def chosen(batch):
        found = choose(model, batch, search, show, utility, temperature)
        choices.extend(choice for choice, _ in found)
        bar.update(len(found))
        return [[translation] for _, translation in found]

    found = in_order(model, sentences, args.max_tokens, args.batch_size, chosen)
    print_in_order(found, show.lines, model.record["max_source_positions"])
    bar.close()
    _say(args, sorted(choices, key=lambda choice: choice.sentence.id), time.perf_counter() - seconds)
    return 0


def _bar(sentences=None, total=None):
    from tqdm import tqdm

    return tqdm(sentences, total=total, unit=" sentences", disable=None)


def _fit(args, utility, candidates):
    found = mbr.fit(_bar(candidates), _references(args, candidates), utility)
    write_fit(found, args.fit_temperature)
    note = f"T = {found.temperature:.4g} for {utility.signature}, {len(candidates)} sentences: {args.fit_temperature}"
    print(json.dumps(found._asdict(), indent=1) if args.json else table_of("", found.rows, notes=[note]).as_tsv())
    return 0


def _references(args, candidates):
    if args.reference is None:
        references = [one.sentence.target for one in candidates]
        if None in references:
            raise UserError(f"{args.logs[0]}: has no T- lines: give the validation set's --reference")
        return references
    references = split_lines(read_text(args.reference))
    if len(references) != len(candidates):
        raise UserError(f"{args.reference}: has {len(references)} lines for {len(candidates)} sentences of the logs")
    return references


def _say(args, choices, seconds):
    """The numbers of the run on standard error, and those of each sentence in --report."""
    count = len(choices)
    changed = sum(choice.rank > 1 for choice in choices)
    print(
        f"{count} sentences, {sum(c.candidates for c in choices) / count:.1f} candidates each, "
        f"{sum(c.texts for c in choices) / count:.1f} different; {changed} choices are not the most probable one; "
        f"{1e3 * seconds / count:.1f} ms a sentence",
        file=sys.stderr,
    )
    if args.report:
        rows = [{"id": c.sentence.id, **{name: getattr(c, name) for name in COLUMNS[1:]}} for c in choices]
        write_choices(rows, args.report, args.json)
