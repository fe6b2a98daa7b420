"""The command `labo`. Subcommands are imported only when they are asked for, so that `labo --help` is instant."""

import argparse
import importlib
import os
import sys

# name: (module with add_arguments(parser) and run(args) -> exit code, line for the overview)
SUBCOMMANDS = {
    "doctor": ("labo_fairseq.doctor", "show what is installed, which mends are active, and what to do where it fails"),
    "prepare": ("labo_fairseq.data_prep.cli", "turn a parallel corpus into fairseq binaries"),
    "calibrate": ("labo_fairseq.calibrate", "fit a calibrator to checkpoints; ECE, NLL and a reliability diagram"),
    "inference-calibration": ("labo_fairseq.inference_calibration", "ECE of the tokens that beam search produced"),
    "sentence-confidence": ("labo_fairseq.sentence_confidence", "fit the probability that a translation is good"),
    "export": ("labo_fairseq.decoding.export", "a checkpoint for the fast engine, with its temperature folded in"),
    "distill-targets": ("labo_fairseq.distill_targets", "store a teacher's top probabilities for distillation"),
    "distill-corpus": ("labo_fairseq.distill_corpus", "a training set from a teacher's translations of it"),
    "translate": ("labo_fairseq.decoding.translate", "translate with an exported model, in fairseq's format"),
    "score": ("labo_fairseq.analysis.score", "BLEU and chrF2 of translations, with signatures"),
    "splits": ("labo_fairseq.analysis.splits", "scores by training frequency, as Table 4 of LABO; word F1"),
    "confidence": ("labo_fairseq.analysis.confidence", "probabilities of the chosen tokens, as Figure 2 of LABO"),
    "compare": ("labo_fairseq.analysis.compare", "what two systems do differently: n-grams, sentences, lengths"),
    "report": ("labo_fairseq.analysis.report", "one HTML page about some runs: curves, scores, splits, examples"),
    "classify-report": ("labo_fairseq.classify_report", "accuracy, calibration, confusion of image classifiers"),
    "noise": ("labo_fairseq.noise", "estimate label noise; compare trained models with the theory of smoothing"),
    "optimal-smoothing": ("labo_fairseq.optimal_smoothing", "the best label smoothing under label noise, by theory"),
    "penultimate": ("labo_fairseq.penultimate", "activations on the plane of three class templates, and tightness"),
    "distillation-study": ("labo_fairseq.distillation_study", "students of hard, smoothed and LABO teachers, compared"),
    "padding-calibration": ("labo_fairseq.padding_calibration", "what counting padding does to the ECE, in one figure"),
    "mutual-information": ("labo_fairseq.mutual_information", "what a logit difference tells about the image"),
    "targets": ("labo_fairseq.targets", "the smoothed target of one position, under label smoothing and LABO"),
    "benchmark": ("labo_fairseq.benchmark", "time and memory of the losses, of training steps, of decoding"),
    "average": ("labo_fairseq.average", "average the parameters of checkpoints, without running code in them"),
    "experiment": ("labo_fairseq.experiment.cli", "a table of methods × seeds × directions from one file, resumable"),
    "table": ("labo_fairseq.analysis.table", "one row per finished run: BLEU, true perplexity, updates per second"),
}


def main(argv=None):
    """Run `labo`; returns the exit code: 0, or 2 for bad input (the reason is one line on standard error)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _overview_parser()
    if not argv or argv[0] not in SUBCOMMANDS:
        parser.parse_args(argv or ["--help"])  # prints the help, the version or the error, and exits
        parser.error("a subcommand is needed")
    name = argv[0]
    module = importlib.import_module(SUBCOMMANDS[name][0])
    sub = argparse.ArgumentParser(
        prog=f"labo {name}",
        description=module.__doc__,
        formatter_class=HelpFormatter,
    )
    module.add_arguments(sub)
    try:
        return module.run(sub.parse_args(argv[1:])) or 0
    except ValueError as error:
        if not getattr(error, "labo_user_error", False):  # errors.UserError, and that of the bridge
            raise
        print(f"labo {name}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # the reader (head, less) went away; point stdout elsewhere so that the flush at exit stays silent
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"labo {name}: interrupted", file=sys.stderr)
        return 130


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of descriptions (they hold an example) and shows each default that there is."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


def _overview_parser():
    width = max(map(len, SUBCOMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in SUBCOMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="labo",
        description="LABO and its family for fairseq: prepare, train, calibrate, decode, evaluate.",
        epilog=f"subcommands:\n{listing}\n\n'labo SUBCOMMAND --help' explains each, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="labo SUBCOMMAND [options]",
    )
    parser.add_argument("--version", action="version", version=f"labo_fairseq {_version()}")
    parser.add_argument("subcommand", choices=list(SUBCOMMANDS), help=argparse.SUPPRESS)
    return parser


def _version():
    from . import __version__

    return __version__


if __name__ == "__main__":
    sys.exit(main())
