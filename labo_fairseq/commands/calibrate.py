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

Writes calibration.json (for --calibration of the calibrated beam search), reliability.png and reliability.tsv to --out.

example:
  labo calibrate data-bin --path checkpoint_best.pt --test-subset test --calibrator grouped --out calibration
  labo calibrate data-bin --path a.pt:b.pt
  labo calibrate data-bin --path checkpoint_best.pt --out calibration --sweep
  labo calibrate data-bin --path multilingual.pt --source-lang de --target-lang en --out calibration.de-en
  labo calibrate IMAGES --path classifier.pt --test-subset test --out calibration
"""

import json
import os
import sys
import tempfile

from ..errors import UserError
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


def run(args):
    """Fit, or sweep; returns 0. Raises UserError on bad input."""
    from .. import register
    from ..fairseq_models.loading import import_user_dir

    out = result_folder(args.out)
    register()
    import_user_dir(args.user_dir)
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
