"""Calibration of the tokens that beam search produced (Wang et al. 2020), from the output of fairseq-generate.

Teacher-forced ECE asks how sure the model is of the reference's next token; this one how sure it was of its own
translation. The confidence is exp of the P- score of each produced token, so of the model as it decoded (calibrated
where it was), and a token is correct where the TER alignment with the reference finds the same token. Subwords must be
in the output (no --remove-bpe, --post-process or --tokenizer), because the P- scores belong to them.

Differences from Wang et al.: sacreBLEU's TER in process in place of the Java program, so no token is lost on the way
back from shifts; 15 bins (theirs: --bins 20); a token is judged by itself (their released code also calls the token
after a missing word wrong: --after-gap wrong). EOS is left out, as in their code.

example:
  fairseq-generate data-bin --path checkpoint_best.pt --beam 5 > generated.txt
  labo inference-calibration generated.txt
"""

import json
from pathlib import Path

from .calibrate import reliability_lines
from .errors import UserError
from .files import write_aside


def add_arguments(parser):
    """Declare the arguments of `labo inference-calibration`."""
    parser.add_argument("logs", metavar="LOG", nargs="+", help="output of fairseq-generate, plain or gzip")
    parser.add_argument("--bins", type=int, default=15, help="bins of equal width")
    parser.add_argument(
        "--after-gap", choices=["own", "wrong"], default="own",
        help="a token before which a reference token is missing: judged by itself, or wrong as in the released code",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="write inference-reliability.tsv and .png to this folder")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")


def run(args):
    """Print a row per log; returns 0."""
    if args.bins < 1:
        raise UserError(f"--bins: {args.bins}: give 1 or more")
    found = {log: produced_tokens(log, args.after_gap == "wrong") for log in args.logs}

    from .calibration import plot
    from .calibration.measures import reliability

    rows = [_row(log, *tokens, args) for log, tokens in found.items()]
    panels = {log: reliability(confidence, correct, args.bins) for log, (confidence, correct, *_) in found.items()}
    if args.out:
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        with write_aside(out / "inference-reliability.tsv") as stream:
            stream.writelines(reliability_lines(panels))
        titles = [f"{Path(row['log']).name}: ECE {row['ece']:.4f}\n{row['signature']}" for row in rows]
        plot.reliability_diagram(dict(zip(titles, panels.values(), strict=True)), out / "inference-reliability.png")
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print("\t".join(rows[0]))
        for row in rows:
            print("\t".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    return 0


def produced_tokens(log, gap_is_wrong=False):
    """(confidence, correct, sentence, unit) of the tokens of the best hypotheses in a generate log, tensors (N,).

    Raises UserError where the log lacks P- or T- lines or does not hold the tokens that were scored.
    """
    from .analysis.generate_log import read_generate_log
    from .analysis.word_labels import CORRECT, token_labels

    confidence, correct, sentence = [], [], []
    symbols = set()
    for one in read_generate_log(log):
        best = one.hypotheses[0]
        if best.positional_scores is None or one.target is None:
            raise UserError(
                f"{log}: no {'P' if best.positional_scores is None else 'T'}- lines: generate from binaries"
            )
        if len(best.positional_scores) != len(best.tokens) + 1:
            raise UserError(
                f"{log}: id {one.id}: {len(best.positional_scores)} scores for {len(best.tokens)} tokens, expected one "
                "more than tokens: generate without --remove-bpe, --post-process and --tokenizer"
            )
        labels, after_gap = token_labels(best.tokens, one.target.split())
        confidence += [min(1.0, 2.0**score) for score in best.positional_scores[:-1]]
        correct += [
            label == CORRECT and not (gap and gap_is_wrong) for label, gap in zip(labels, after_gap, strict=True)
        ]
        sentence += [one.id] * len(labels)
        symbols.update(best.tokens)
    if not confidence:
        raise UserError(f"{log}: every translation is empty: there is no token to measure")
    # torch takes seconds to import: a log that is refused should not wait for it
    import torch

    from .calibration.measures import subword_unit

    columns = torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct), torch.tensor(sentence)
    return *columns, subword_unit(symbols)


def _row(log, confidence, correct, sentence, unit, args):
    from .calibration.measures import ece_figures

    signature = f"infece|bins:{args.bins}|unit:{unit}|labels:ter|gap:{args.after_gap}|n:{len(confidence)}"
    return {
        "log": log,
        **ece_figures(confidence, correct, sentence, args.bins),
        "accuracy": float(correct.double().mean()),
        "confidence": float(confidence.mean()),
        "tokens": len(confidence),
        "sentences": len(sentence.unique()),
        "signature": signature,
    }
