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

from .analysis.generate_log import read_generate_log
from .errors import UserError
from .files import write_aside

_FEWEST = 10  # good and bad sentences that each half must hold


def add_arguments(parser):
    """Declare the arguments of `labo sentence-confidence`."""
    parser.add_argument("log", metavar="LOG", help="output of fairseq-generate on the validation set")
    parser.add_argument("--calibration", required=True, metavar="FILE", help="calibration file to complete")
    parser.add_argument("--chrf", type=float, default=50.0, help="sentence chrF2, 0 to 100, of a good translation")
    parser.add_argument("--out", metavar="DIR", help="folder for the curve (default: that of FILE)")
    parser.add_argument("--json", action="store_true", help="JSON in place of TSV")


def run(args):
    """Fit, report and write; returns 0. Raises UserError on bad input."""
    from .calibration import file
    from .decoding.sentence_confidence import SentenceConfidence, features

    calibration = file.load(args.calibration)
    sentences = _sentences(args.log)
    log_probs = [np.array(sentence.hypotheses[0].positional_scores) * math.log(2) for sentence in sentences]
    good = chrf(sentences) >= args.chrf
    for name, half in (("even", good[::2]), ("odd", good[1::2])):
        if min(half.sum(), (~half).sum()) < _FEWEST:
            raise UserError(
                f"{args.log}: {half.sum()} of {len(half)} translations with {name} ids reach chrF2 {args.chrf:g}: "
                f"at least {_FEWEST} must, and as many must not: choose another --chrf, or use a larger set"
            )
    model = SentenceConfidence.fit([features(scores) for scores in log_probs[::2]], good[::2], args.chrf)
    confidence = np.array([model.probability(scores) for scores in log_probs[1::2]])
    measures = measure(confidence, good[1::2])
    out = Path(args.calibration).parent if args.out is None else Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    _write_curve(risk_coverage(confidence, good[1::2]), out)
    record = {**model.to_json(), "measures": measures}
    file.save(dataclasses.replace(calibration, sentence_confidence=record), args.calibration)
    _show(measures, args.json)
    return 0


def chrf(sentences):
    """Sentence chrF2, (N,), 0 to 100, of each best hypothesis against the T- line, with subwords joined."""
    from sacrebleu.metrics import CHRF

    from .analysis.bleu import remove_subwords

    best = [sentence.hypotheses[0] for sentence in sentences]
    texts = remove_subwords([" ".join(h.tokens) if h.text is None else h.text for h in best])
    targets = remove_subwords([sentence.target for sentence in sentences])
    metric = CHRF()
    return np.array([metric.sentence_score(*pair).score for pair in zip(texts, [[t] for t in targets], strict=True)])


def measure(confidence, good):
    """AUROC, ECE, Brier score and the area under the risk-coverage curve, of N confidences and labels."""
    import torch

    from .functional.calibration import BINS, BinSums, risk_coverage_area

    tensors = torch.from_numpy(confidence), torch.from_numpy(good)
    return {
        "n": len(good),
        "good": float(good.mean()),
        "mean_confidence": float(confidence.mean()),
        "auroc": auroc(confidence, good),
        "ece": float(BinSums.of(*tensors).ece()),
        "brier": float(((confidence - good) ** 2).mean()),
        "aurc": float(risk_coverage_area(*tensors)),
        "signature": f"sentence-confidence|bins:{BINS}|split:odd-ids|n:{len(good)}",
    }


def auroc(confidence, good):
    """Probability that a good translation has a higher confidence than a bad one; ties count one half."""
    above = confidence[good][:, None] - confidence[~good][None, :]
    return float((np.sign(above).mean() + 1) / 2)


def risk_coverage(confidence, good):
    """Rows {coverage, threshold, risk}: the share of bad translations among the most confident ones, for each count."""
    order = np.argsort(-confidence, kind="stable")
    bad = np.cumsum(~good[order])
    return [
        {"coverage": (i + 1) / len(order), "threshold": float(confidence[order[i]]), "risk": float(bad[i] / (i + 1))}
        for i in range(len(order))
    ]


def _sentences(log):
    sentences = read_generate_log(log)
    for kind, lacking in (("T", sentences[0].target), ("P", sentences[0].hypotheses[0].positional_scores)):
        if lacking is None:
            raise UserError(f"{log}: has no {kind}- lines: give the output of fairseq-generate on a validation set")
    return sentences


def _write_curve(rows, out):
    from .calibration.plot import figure

    with write_aside(out / "sentence-confidence.tsv") as stream:
        stream.write("coverage\tthreshold\trisk\n")
        stream.writelines(f"{row['coverage']:.6f}\t{row['threshold']:.6f}\t{row['risk']:.6f}\n" for row in rows)
    with figure(out / "sentence-confidence.png", 1, 1, figsize=(5, 4)) as drawn:
        if drawn is None:
            return
        _, axis = drawn
        axis.plot([row["coverage"] for row in rows], [row["risk"] for row in rows], label="most confident first")
        axis.axhline(rows[-1]["risk"], color="grey", linestyle="--", label="no selection")
        axis.set(xlabel="coverage", ylabel="share of bad translations", xlim=(0, 1), ylim=(0, 1))
        axis.legend()


def _show(measures, as_json):
    if as_json:
        print(json.dumps(measures, indent=1))
        return
    print("\t".join(measures))
    print("\t".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in measures.values()))
