"""Measure the calibration of the tokens that beam search produced (Wang et al. 2020).

Teacher-forced ECE asks how sure the model is of the reference's next token; this one asks how sure it was of its own
translation. The confidence is exp of the P- score of each produced token, so of the model as it decoded (calibrated
where it was), and a token is correct where the TER alignment with the reference finds the same token.

The P- scores belong to subwords. Where the H- lines hold words (--remove-bpe), --bpe-codes splits them again; where the
T- lines are detokenized (--tokenizer), --reference gives the reference in subwords. So the log of `labo score` will do.

Differences from Wang et al.: sacreBLEU's TER in process in place of the Java program, so no token is lost on the way
back from shifts; 15 bins (theirs: --bins 20); a token is judged by itself (their released code also calls the token
after a missing word wrong: --after-gap wrong). EOS is left out, as in their code.

example:
  fairseq-generate data-bin --path checkpoint_best.pt --beam 5 > generated.txt
  labo inference-calibration generated.txt
  labo inference-calibration generate-test.txt --bpe-codes data/bpe/codes --reference data/bpe/test.en
"""

import json
from pathlib import Path

import numpy as np

from ..analysis.produced_tokens import produced_tokens
from ..analysis.systems import read_lines
from ..errors import UserError
from ..files import result_folder
from ..measures.calibration import bin_sums, ece_figures, legend, reliability
from ..records.reliability import write_reliability
from ..records.tables import table_of


def add_arguments(parser):
    """Declare the arguments of `labo inference-calibration`."""
    parser.add_argument("logs", metavar="LOG", nargs="+", help="output of fairseq-generate, plain or gzip")
    parser.add_argument("--reference", metavar="FILE", help="reference in subwords, in place of the T- lines")
    parser.add_argument("--bpe-codes", metavar="FILE", help="subword-nmt's merges, for H- lines that hold words")
    parser.add_argument("--bins", type=int, default=15, help="bins of equal width")
    parser.add_argument(
        "--after-gap", choices=["own", "wrong"], default="own",
        help="a token before which a reference token is missing: judged by itself, or wrong as in the released code",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="write inference-reliability.tsv and .png to this folder")
    parser.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")


def run(args):
    """Print a row per log; returns 0."""
    if args.bins < 1:
        raise UserError(f"--bins: {args.bins}: give 1 or more")
    reference = read_lines(args.reference, "the reference in subwords") if args.reference else None
    tokens_of = {log: produced_tokens(log, args.after_gap == "wrong", reference, args.bpe_codes) for log in args.logs}

    rows = [_row(log, *tokens, args) for log, tokens in tokens_of.items()]
    panels = {
        log: reliability(bin_sums(confidence, correct, args.bins))
        for log, (confidence, correct, *_) in tokens_of.items()
    }
    if args.out:
        from ..figures import style
        from ..figures.reliability import reliability as diagram

        out = result_folder(args.out)
        write_reliability(panels, out / "inference-reliability.tsv")
        bins = [{"when": Path(log).name, **bin_row} for log, rows_ in panels.items() for bin_row in rows_]
        sign = ";  ".join(row["signature"] for row in rows)
        style.save_or_warn(
            lambda: style.signed(diagram(bins, "tokens of the translations"), sign), out / "inference-reliability.png"
        )
    print(json.dumps(rows, indent=1) if args.json else table_of("", rows, notes=legend(rows[0])).as_tsv())
    return 0


def _row(log, confidence, correct, sentence, unit, args):
    signature = f"infece|bins:{args.bins}|unit:{unit}|labels:ter|gap:{args.after_gap}|n:{len(confidence)}"
    return {
        "log": log,
        **ece_figures(confidence, correct, sentence, args.bins),
        "accuracy": float(correct.mean()),
        "confidence": float(confidence.mean()),
        "tokens": len(confidence),
        "sentences": len(np.unique(sentence)),
        "signature": signature,
    }
