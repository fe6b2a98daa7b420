"""Choose of each sentence's candidates the one of highest expected utility: minimum-Bayes-risk decoding.

  fairseq-generate DATA … --sampling --beam 32 --nbest 32 --task calibrated_translation --epsilon-sampling 0.02 > s.txt
  labo mbr s.txt > mbr.txt
  labo score --reference raw/test.de --system beam=beam5.txt --system mbr=mbr.txt --significance both

LOG is output of fairseq-generate or `labo translate`: samples or an n-best list. Several logs of the same sentences,
of several systems say, are one set of candidates. Prints a log with the chosen hypotheses, which every other command
reads.

--weights says how much each candidate counts: uniform, as often as it is there (for samples); model, in proportion to
its probability; calibrated, to its probability to the power of 1/T. T comes from --temperature, or from the file of a
fit on a validation set:

  labo mbr valid-samples.txt --fit-temperature mbr.json
  labo mbr test-samples.txt --weights calibrated --calibration mbr.json > mbr.txt

A fit prints the mean utility of the choices against the references (the T- lines, or --reference) for every T that it
tries, beside uniform weights, the most probable candidate, and the best one that there is.
"""

import json
import sys
import time

from tqdm import tqdm

from ..decoding import mbr, utilities
from ..errors import UserError, above
from ..files import write_aside
from ..records.generate_log import log_lines, read_generate_log
from ..records.tables import table_of
from ..records.text import read_text, split_lines

WEIGHTS = ("uniform", "model", "calibrated")
REPORTED = ("candidates", "texts", "rank", "weight", "utility")


def add_arguments(parser):
    """Declare the arguments of `labo mbr`."""
    parser.add_argument("logs", metavar="LOG", nargs="+", help="output of fairseq-generate with several hypotheses")
    parser.add_argument("--utility", choices=("chrf", "bleu"), default="chrf", help="what to expect most of")
    parser.add_argument("--weights", choices=WEIGHTS, default="uniform", help="of the candidates, in the expectation")
    parser.add_argument("--temperature", type=float, metavar="T", help="with --weights calibrated")
    parser.add_argument("--calibration", metavar="FILE", help="the T of --fit-temperature FILE, in place of it")
    parser.add_argument(
        "--aggregate",
        action="store_true",
        help="compare with the average of all candidates, not with each: near the same, in time linear in their number",
    )
    parser.add_argument("--tokenize", default="13a", metavar="NAME", help="of --utility bleu, as sacrebleu -tok")
    fit = parser.add_argument_group("fit on a validation set")
    fit.add_argument("--fit-temperature", metavar="FILE", help="write the T of the best choices to FILE")
    fit.add_argument("--reference", metavar="FILE", help="detokenized references (default: the T- lines of LOG)")
    report = parser.add_argument_group("report")
    report.add_argument("--report", metavar="FILE", help="TSV of each choice: expected utility, weight, rank, …")
    report.add_argument("--json", action="store_true", help="JSON in place of TSV, of the report and of a fit")


def run(args):
    """Decode, or fit a temperature; returns 0. Raises UserError on bad input."""
    utility = _utility(args)
    temperature = None if args.fit_temperature else _temperature(args, utility)
    candidates = mbr.candidates_of([read_generate_log(log) for log in args.logs], args.logs)
    if args.fit_temperature:
        return _fit(args, utility, candidates)
    seconds = time.perf_counter()
    choices = []
    for choice in mbr.decode(tqdm(candidates, unit=" sentences", disable=None), utility, temperature):
        choices.append(choice)
        sys.stdout.write(log_lines(choice.sentence))
    _say(args, choices, time.perf_counter() - seconds)
    return 0


def _utility(args):
    if args.utility == "bleu":
        return utilities.bleu(args.aggregate, args.tokenize)
    return utilities.chrf(args.aggregate)


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


def _fit(args, utility, candidates):
    found = mbr.fit(tqdm(candidates, unit=" sentences", disable=None), _references(args, candidates), utility)
    mbr.save_temperature(found, utility, len(candidates), args.fit_temperature)
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
        rows = [{"id": c.sentence.id, **{name: getattr(c, name) for name in REPORTED}} for c in choices]
        with write_aside(args.report) as stream:
            stream.write((json.dumps(rows, indent=1) if args.json else table_of("", rows).as_tsv()) + "\n")
