"""Fit the probability that a translation is good, for --sentence-confidence of the calibrated beam search.

LOG is the output of fairseq-generate on the validation set, decoded as the text to come will be (same checkpoints,
calibrator, beam and length penalty), with T- and P- lines. A translation is good if its sentence chrF2 against the
reference is at least --chrf. A logistic model of the mean and the least token log-probability and the length is fitted
on the sentences with even ids and measured on those with odd ids; it is written into the calibration file.

Prints the measures on the odd sentences. To --out (default: the file's folder) go sentence-confidence.tsv and .png, the
risk-coverage curve: the share of bad translations among the most confident ones.

example:
  labo sentence-confidence generate-valid.txt --calibration calibration.json --chrf 60
  fairseq-generate DATA --task calibrated_translation --calibration calibration.json --sentence-confidence …
"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from ..analysis.produced_tokens import sentence_chrf
from ..errors import UserError
from ..files import result_folder, write_aside
from ..records.generate_log import read_generate_log
from ..records.tables import table_of


def add_arguments(parser):
    """Declare the arguments of `labo sentence-confidence`."""
    parser.add_argument("log", metavar="LOG", help="output of fairseq-generate on the validation set")
    parser.add_argument("--calibration", required=True, metavar="FILE", help="calibration file to complete")
    parser.add_argument("--chrf", type=float, default=50.0, help="sentence chrF2, 0 to 100, of a good translation")
    parser.add_argument("--out", metavar="DIR", help="folder for the curve (default: that of FILE)")
    parser.add_argument("--json", action="store_true", help="JSON in place of TSV")


def run(args):
    """Fit, report and write; returns 0. Raises UserError on bad input."""
    from ..calibration import file
    from ..decoding.sentence_confidence import fit_and_measure
    from ..figures import style

    calibration = file.load(args.calibration)
    sentences = _sentences(args.log)
    log_probs = [np.array(sentence.hypotheses[0].positional_scores) * math.log(2) for sentence in sentences]
    good = sentence_chrf(sentences) >= args.chrf
    try:
        model, measures, curve = fit_and_measure(log_probs, good, args.chrf)
    except UserError as error:
        raise UserError(f"{args.log}: {error}") from None
    out = Path(args.calibration).parent if args.out is None else result_folder(args.out)
    with write_aside(out / "sentence-confidence.tsv") as stream:
        stream.write(table_of("", curve, ".6f").as_tsv() + "\n")
    style.save_or_warn(lambda: _figure(curve), out / "sentence-confidence.png")
    record = {**model.to_json(), "measures": measures}
    file.save(dataclasses.replace(calibration, sentence_confidence=record), args.calibration)
    print(json.dumps(measures, indent=1) if args.json else table_of("", [measures]).as_tsv())
    return 0


def _figure(curve):
    from ..figures.style import lines

    points = [(row["coverage"], row["risk"], None) for row in curve]
    levels = [(curve[-1]["risk"], "no selection")]
    heading = "Bad translations among the most confident ones"
    return lines({"most confident first": points}, "coverage", "share of bad translations", heading, levels=levels)


def _sentences(log):
    sentences = read_generate_log(log)
    for kind, lacking in (("T", sentences[0].target), ("P", sentences[0].hypotheses[0].positional_scores)):
        if lacking is None:
            raise UserError(f"{log}: has no {kind}- lines: give the output of fairseq-generate on a validation set")
    return sentences
