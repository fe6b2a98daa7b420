"""Fit a calibrator to trained checkpoints, measure calibration before and after, draw reliability diagrams.

Each checkpoint is run over --subset with the reference as prefix (teacher-forced), and its calibrator is fitted to the
next tokens, EOS included. "before" is the model as it is (T = 1). "after" is cross-fitted: every sentence is measured
under a calibrator that was fitted on the other half of the sentences; the calibrator that is saved is fitted on all of
them, and --test-subset measures that one on other data. Several checkpoints are calibrated one by one and measured as
the ensemble too. Image classifiers are calibrated alike, an image being a sentence of one token (temperature only).

  temperature  one T for all
  grouped      a T for each group of types by their training frequency, pulled towards the scalar; a bias for EOS
  adaptive     a T for each step from the entropy, the gap of the top logits, the position and the source's length; a
               bias for EOS

With --tune-decoding also length penalty, temperature and EOS bias of beam search are tuned to the BLEU or chrF of
--subset. They go into calibration.json, and the calibrated search uses them; tuning.tsv and tuning.json show all that
was tried.

Writes calibration.json (for --calibration of the calibrated beam search), reliability.png and reliability.tsv to --out.

example:
  labo calibrate data-bin --path checkpoint_best.pt --test-subset test --calibrator grouped --out calibration
  labo calibrate data-bin --path a.pt:b.pt
  labo calibrate data-bin --path checkpoint_best.pt --out calibration --sweep
  labo calibrate data-bin --path checkpoint_best.pt --out calibration --tune-decoding chrf
  labo calibrate data-bin --path multilingual.pt --source-lang de --target-lang en --out calibration.de-en
  labo calibrate IMAGES --path classifier.pt --test-subset test --out calibration
"""

import dataclasses
import json
import os
import sys
import tempfile

from ..errors import UserError, within
from ..files import result_folder, write_aside
from ..measures.calibration import legend
from ..records.reliability import write_reliability
from ..records.tables import table_of
from .numbers import count, seed

KINDS = ("temperature", "grouped", "adaptive")
OBJECTIVES = ("nll", "ece")
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2.0)
BEAMS = (1, 2, 5, 10, 20, 50)


def add_arguments(parser):
    """Declare the arguments of `labo calibrate`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries; of images")
    parser.add_argument("--path", required=True, metavar="CKPT[:CKPT2…]", help="checkpoints; several are an ensemble")
    parser.add_argument("--out", default="calibration", metavar="DIR", help="folder for the results, made if missing")
    parser.add_argument("--calibrator", choices=KINDS, default="temperature", help="what to fit")
    parser.add_argument(
        "--objective", choices=OBJECTIVES, default="nll",
        help="what to minimize; ece: the shape by nll, then one factor of all temperatures by ece",
    )  # fmt: skip
    parser.add_argument("--subset", default="valid", help="subset to fit on")
    parser.add_argument("--test-subset", metavar="SUBSET", help="measure the saved calibrator on this subset too")
    for flag in ("source", "target"):
        parser.add_argument(
            f"--{flag}-lang", metavar="XX", help=f"{flag} language, of a checkpoint that knows several directions"
        )
    parser.add_argument(
        "--frequency-bounds", nargs="+", type=int, metavar="COUNT",
        help="groups of types: training counts at which a new one begins (default: 10 100 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--prior-counts", metavar="FILE",
        help="'type count' lines of the training targets, for DATA without the binarized training set",
    )  # fmt: skip
    parser.add_argument("--max-tokens", type=count, default=4000, help="tokens in a batch")
    parser.add_argument("--seed", type=seed, default=1, help="seed of the split into halves")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--user-dir", metavar="DIR", help="fairseq's --user-dir, for models that are defined there")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")
    sweep = parser.add_argument_group("sweep", "BLEU, ECE and NLL against T; BLEU and length ratio against the beam")
    sweep.add_argument(
        "--sweep", action="store_true",
        help="sweep --subset with the calibration in --out (fitted first where there is none); may be restarted",
    )  # fmt: skip
    sweep.add_argument(
        "--sweep-temperatures", nargs="*", type=float, default=TEMPERATURES, metavar="T", help="temperatures"
    )
    sweep.add_argument("--sweep-beams", nargs="*", type=count, default=BEAMS, metavar="B", help="beam sizes")
    sweep.add_argument("--sweep-beam", type=count, default=5, metavar="B", help="beam size of the temperatures")
    tuning = parser.add_argument_group("decoding", "length penalty, temperature and EOS bias of beam search")
    tuning.add_argument(
        "--tune-decoding", nargs="?", const="bleu", choices=("bleu", "chrf"), metavar="METRIC",
        help="tune them to bleu (if no METRIC is named) or chrf of --subset, with the calibration in --out (fitted "
        "first where there is none); may be restarted",
    )  # fmt: skip
    tuning.add_argument("--tune-beam", type=count, default=5, metavar="B", help="beam size")
    tuning.add_argument("--tune-max-len-a", type=float, default=0.0, metavar="A", help="fairseq's --max-len-a")
    tuning.add_argument("--tune-max-len-b", type=count, default=200, metavar="B", help="fairseq's --max-len-b")
    for name, what in (("temperatures", "T"), ("eos-biases", "NATS"), ("lenpens", "L")):
        tuning.add_argument(
            f"--tune-{name}", nargs="+", type=float, metavar=what,
            help=f"{name.replace('-', ' ').replace('lenpens', 'length penalties')} to try (default: a grid)",
        )  # fmt: skip


def run(args):
    """Fit, or sweep; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..fairseq_models.loading import import_user_dir

    out = result_folder(args.out)
    register()
    import_user_dir(args.user_dir)
    if args.sweep and args.tune_decoding:
        raise UserError("--sweep: not together with --tune-decoding: do one after the other")
    if args.tune_decoding:
        _tune(args, out)
        return 0
    if not args.sweep:
        _show(_fit(args, out), args.json)
        return 0
    if args.source_lang:
        raise UserError("--sweep: not for a multilingual checkpoint: leave it out, or --source-lang and --target-lang")
    if not (out / "calibration.json").exists():
        _fit(args, out)
    _sweep(args, out)
    return 0


def _fit(args, out):
    """Fit and write everything; returns the Calibration."""
    from ..calibration import file, procedure
    from ..figures import style
    from ..figures.reliability import reliability

    settings = procedure.Settings(
        args.data,
        args.path.split(os.pathsep),
        args.calibrator,
        args.objective,
        args.subset,
        args.test_subset,
        args.source_lang,
        args.target_lang,
        args.frequency_bounds,
        args.prior_counts,
        args.max_tokens,
        args.seed,
        args.cpu,
    )
    with tempfile.TemporaryDirectory(dir=out, prefix=".features.") as folder:
        result = procedure.calibrate(settings, folder)
    calibration = result.calibration
    file.save(calibration, out / "calibration.json")
    write_reliability(result.reliability, out / "reliability.tsv")
    bins = [{"when": when, **row} for when, rows in result.reliability.items() for row in rows]
    name = " + ".join(member.checkpoint for member in calibration.members)
    sign = ";  ".join(calibration.measures[when]["all"]["signature"] for when in result.reliability)
    style.save_or_warn(lambda: style.signed(reliability(bins, name), sign), out / "reliability.png")
    for warning in calibration.measures["warnings"]:
        print(f"labo calibrate: warning: {warning}", file=sys.stderr)
    return calibration


def _sweep(args, out):
    """Make the missing points, write and print temperatures.tsv and beams.tsv, draw both."""
    from ..experiment.sweep import Sweep, SweepSettings
    from ..figures import style, sweeps

    sweep = Sweep(
        SweepSettings(args.data, args.path.split(os.pathsep), args.subset, args.max_tokens, args.cpu, args.user_dir),
        out,
    )
    temperatures = sweep.temperatures(args.sweep_temperatures, args.sweep_beam) if args.sweep_temperatures else []
    beams = sweep.beams(args.sweep_beams) if args.sweep_beams else []
    tables = {"temperatures": temperatures, "beams": beams}
    shown = {name: table_of("", rows) for name, rows in tables.items() if rows}
    for name, table in shown.items():
        with write_aside(out / f"{name}.tsv") as stream:
            stream.write(table.as_tsv() + "\n")
    if temperatures:
        style.save_or_warn(lambda: sweeps.temperatures(temperatures), out / "temperatures.png")
    if beams:
        style.save_or_warn(lambda: sweeps.beams(beams), out / "beams.png")
    print(json.dumps(tables, indent=1) if args.json else "\n\n".join(table.as_tsv() for table in shown.values()) + "\n")


def _tune(args, out):
    """Tune decoding with the calibration in `out`, write it and the tables, print what was found."""
    from ..calibration import file
    from ..decoding import tuning

    settings = _tuning_settings(args)
    path = out / "calibration.json"
    if path.exists():
        print(f"labo calibrate: {path}: is there, and its calibrator is used: remove it to fit anew", file=sys.stderr)
    else:
        _fit(args, out)
    result = tuning.tune_decoding(settings, path, out / "tuning")
    calibration = file.load(path)
    if calibration.sentence_confidence is not None:
        print(
            f"labo calibrate: warning: {path}: its sentence confidence is removed, which was fitted to another "
            "decoding: run `labo sentence-confidence` again",
            file=sys.stderr,
        )
    tuned = dataclasses.replace(calibration, decoding=result.decoding, sentence_confidence=None)
    file.save(tuned, path)
    for problem in tuning.problems(result):
        print(f"labo calibrate: warning: {problem}", file=sys.stderr)
    rows = [_tried_row(row, result.metric) for row in result.tried]
    table = table_of("", rows, notes=[f"{result.metric}: {result.signature}"])
    everything = {"decoding": dataclasses.asdict(result.decoding), "tried": rows}
    for name, text in (("tsv", table.as_tsv()), ("json", json.dumps(everything, indent=1))):
        with write_aside(out / f"tuning.{name}") as stream:
            stream.write(text + "\n")
    print(json.dumps(everything, indent=1) if args.json else _tuning_table(result).as_tsv())


def _tuning_settings(args):
    from ..decoding import tuning

    for flag in ("temperatures", "eos_biases", "lenpens"):
        for value in getattr(args, f"tune_{flag}") or ():
            within(f"--tune-{flag.replace('_', '-')}", value, *tuning.RANGES[flag])
    within("--tune-max-len-a", args.tune_max_len_a, 0)
    grid = tuning.Grid(
        *(getattr(args, f"tune_{field.name}") or field.default for field in dataclasses.fields(tuning.Grid))
    )
    return tuning.TuningSettings(
        args.data,
        args.path.split(os.pathsep),
        args.tune_decoding,
        args.subset,
        tuning.Search(args.tune_beam, args.tune_max_len_a, args.tune_max_len_b),
        grid,
        args.max_tokens,
        args.seed,
        args.cpu,
    )


def _tried_row(row, metric):
    """A Tried under the headings of a table."""
    fields = dataclasses.asdict(row)
    return {metric if name == "score" else name.replace("_", " "): value for name, value in fields.items()}


def _tuning_table(result):
    """Plain and tuned decoding, then the best length penalty of each run of the search."""
    measures, metric = result.decoding.measures, result.metric
    best = {}
    for row in result.tried:
        key = row.temperature, row.eos_bias
        best[key] = max(row, best.get(key, row), key=lambda one: one.score)
    plain, tuned = (
        _tried_row(next(row for row in result.tried if dataclasses.asdict(row) == measures[name]), metric)
        for name in ("plain", "tuned")
    )
    rows = [{"setting": "plain", **plain}, {"setting": "tuned", **tuned}]
    rows += [{"setting": "its best", **_tried_row(row, metric)} for row in best.values()]
    held = measures["cross_fitted"]
    notes = [
        f"{metric}: {result.signature}",
        f"gain on sentences that the choice was not made on: {held['difference']:+.2f} ± "
        f"{held['difference_interval']:.2f} (95%), paired bootstrap p {held['p_bootstrap']:.4f}",
        "its best: the length penalty of the highest score under that temperature and EOS bias; all rows: tuning.tsv",
    ]
    return table_of("", rows, notes=notes)


def _show(calibration, as_json):
    """Print the measures: a row for each set of tokens and group."""
    if as_json:
        print(json.dumps(calibration.measures, indent=1))
        return
    rows = [
        {"set": when, "group": group, **row}
        for when, groups in calibration.measures.items()
        if when != "warnings"
        for group, row in groups.items()
    ]
    print(table_of("", rows, notes=legend(rows[0])).as_tsv())
