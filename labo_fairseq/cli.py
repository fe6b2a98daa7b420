"""The command `labo`. Subcommands are imported only when they are asked for, so that `labo --help` is instant."""

import argparse
import importlib
import os
import sys

# subject: {subcommand: line for the overview}. The subcommand a-b is the module commands/a_b.py, which has
# add_arguments(parser) and run(args) -> exit code.
SUBJECTS = {
    "set up": {
        "doctor": "show what is installed, which mends are active, and what to do where it fails",
        "prepare": "turn a parallel corpus into fairseq binaries",
        "benchmark": "measure time and memory of the losses, of training steps, of decoding",
    },
    "train": {
        "experiment": "run methods × seeds × directions from one file, resumable, to a table",
        "table": "show one row per training run: BLEU, true perplexity, updates per second",
        "average": "average the parameters of checkpoints",
        "distill-targets": "store a teacher's top probabilities for distillation",
        "distill-corpus": "make a training set from a teacher's translations of it",
    },
    "evaluate translations": {
        "score": "compute BLEU, chrF2 and TER of translations, with signatures and significance",
        "splits": "compute scores by training frequency (Table 4 of LABO) and word F1",
        "confidence": "show the probabilities of the chosen tokens (Figure 2 of LABO)",
        "compare": "show what two systems do differently: n-grams, sentences, lengths",
        "report": "write one HTML page about training runs: curves, scores, splits, examples",
    },
    "calibrate and decode": {
        "calibrate": "fit a calibrator to checkpoints; ECE, NLL and a reliability diagram",
        "inference-calibration": "measure the ECE of the tokens that beam search produced",
        "sentence-confidence": "fit the probability that a translation is good",
        "export": "write a checkpoint for the fast engine, with its temperature folded in",
        "translate": "translate with an exported model, in fairseq's format",
    },
    "images and label noise": {
        "classify-report": "compare image classifiers: accuracy, calibration, confusion",
        "noise": "estimate label noise; compare trained models with the theory of smoothing",
        "optimal-smoothing": "compute the best label smoothing under label noise",
    },
    "look inside": {
        "targets": "show the smoothed target of one position, under label smoothing and LABO",
        "penultimate": "project activations on the plane of three class templates",
        "mutual-information": "measure what a logit difference tells about the image",
        "padding-calibration": "show what counting padding does to the ECE",
        "distillation-study": "compare students of hard, smoothed and LABO teachers",
    },
}
SUBCOMMANDS = [name for subject in SUBJECTS.values() for name in subject]


def main(argv=None):
    """Run `labo`; returns the exit code: 0, or 2 for bad input (the reason is one line on standard error)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _overview_parser()
    if not argv or argv[0] not in SUBCOMMANDS:
        parser.parse_args(argv or ["--help"])  # prints the help, the version or the error, and exits
        parser.error("a subcommand is needed")
    name = argv[0]
    module = importlib.import_module(f"labo_fairseq.commands.{name.replace('-', '_')}")
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
    listing = "\n\n".join(
        "\n".join([f"{subject}:", *(f"  {name:<{width}}  {line}" for name, line in subcommands.items())])
        for subject, subcommands in SUBJECTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="labo",
        description="LABO and its family for fairseq: prepare, train, calibrate, decode, evaluate.",
        epilog=f"{listing}\n\n'labo SUBCOMMAND --help' explains each, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="labo SUBCOMMAND [options]",
    )
    parser.add_argument("--version", action="version", version=f"labo_fairseq {_version()}")
    parser.add_argument("subcommand", choices=SUBCOMMANDS, help=argparse.SUPPRESS)
    return parser


def _version():
    from . import __version__

    return __version__


if __name__ == "__main__":
    sys.exit(main())
