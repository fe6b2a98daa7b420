"""The command `labo`. Subcommands are imported only when they are asked for, so that `labo --help` is instant."""

import argparse
import contextlib
import errno
import importlib
import os
import sys

# subject: {subcommand: line for the overview}. The subcommand a-b is the module commands/a_b.py, which has
# add_arguments(parser) and run(args) -> exit code.
SUBJECTS = {
    "text: prepare, train, translate, score": {
        "prepare": "turn a parallel corpus into fairseq binaries",
        "user-dir": "print the folder for fairseq's --user-dir",
        "average": "average the parameters of checkpoints",
        "export": "write a checkpoint for the fast engine, with its temperature folded in",
        "translate": "translate with an exported model, in fairseq's format",
        "mbr": "choose the candidate of highest expected utility (minimum-Bayes-risk decoding)",
        "rerank": "rerank n-best lists by a weighted sum of features, tuned on validation data",
        "score": "compute BLEU, chrF2 and TER of translations, with signatures and significance",
        "splits": "compute scores by training frequency (Table 4 of LABO) and word F1",
        "compare": "show what two systems do differently: n-grams, sentences, lengths",
        "table": "show one row per training run: BLEU, true perplexity, updates per second",
        "report": "write one HTML page about training runs: curves, scores, splits, examples",
    },
    "calibration: are the probabilities right": {
        "calibrate": "fit a calibrator to checkpoints; ECE, NLL and a reliability diagram",
        "inference-calibration": "measure the ECE of the tokens that beam search produced",
        "confidence": "show the probabilities of the chosen tokens (Figure 2 of LABO)",
        "sentence-confidence": "fit the probability that a translation is good",
    },
    "images: classifiers and label noise": {
        "classify-report": "compare image classifiers: accuracy, calibration, confusion",
        "noise": "estimate label noise; compare trained models with the theory of smoothing",
        "optimal-smoothing": "compute the best label smoothing under label noise",
    },
    "research: experiments, distillation, a look inside": {
        "experiment": "run methods × seeds × directions from one file, resumable, to a table",
        "distill-targets": "store a teacher's top probabilities for distillation",
        "distill-corpus": "make a training set from a teacher's translations of it",
        "distillation-study": "compare students of hard, smoothed and LABO teachers",
        "targets": "show the smoothed target of one position, under label smoothing and LABO",
        "penultimate": "project activations on the plane of three class templates",
        "mutual-information": "measure what a logit difference tells about the image",
        "padding-calibration": "show what counting padding does to the ECE",
        "benchmark": "measure time and memory of the losses, of training steps, of decoding",
    },
    "this installation": {
        "doctor": "say whether training and translation would work here, and what to do if not",
        "completion": "print the completion of `labo` for bash or zsh",
    },
}
REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space") | {errno.EBADF: "redirect it to a file"}
# module: package, of what a command may need and may not find; the rest of the dependencies always comes along
MISSING = {"fairseq": "fairseq", "hydra": "hydra-core", "omegaconf": "omegaconf"}
SUBCOMMANDS = [name for subject in SUBJECTS.values() for name in subject]


def main(argv=None):
    """Run `labo`; returns the exit code: 0, or 2 for bad input (the reason is one line on standard error)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    name = f"labo {argv[0]}" if argv and argv[0] in SUBCOMMANDS else "labo"
    try:
        _check_streams()
        try:
            return _run(argv)
        finally:  # also behind a --help
            sys.stdout.flush()
    except ValueError as error:
        if isinstance(error, UnicodeEncodeError):
            return _refused(
                name, f"standard output cannot show {error.object[error.start]!r}: set PYTHONIOENCODING=utf-8"
            )
        if not getattr(error, "labo_user_error", False):  # errors.UserError, and that of the bridge
            raise
        return _refused(name, error)
    except ModuleNotFoundError as error:
        if error.name not in MISSING:
            raise
        return _refused(name, f"{error.name}: is not installed: {_remedy(MISSING[error.name])}")
    except BrokenPipeError:
        _give_up_stdout()
        return 141
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        remedy = REMEDIES.get(error.errno, "give a file or folder that can be used")
        return _refused(name, f"{error.filename or 'standard output'}: {reason}: {remedy}")
    except KeyboardInterrupt:
        _give_up_stdout()
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def whole_number(text):
    """The int of a flag. What does not fit 32 bits is a slip of the finger, and ends in an error of numpy or torch."""
    number = int(text)
    if abs(number) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"{text:.20} is out of range: give a number below {1 << 31}")
    return number


class Parser(argparse.ArgumentParser):
    """Takes no flag for another that begins so (--tokenize is not --tokenized); nor do the parsers below it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self.register("type", int, whole_number)
        self._given = []

    def parse_known_args(self, args=None, namespace=None):
        """As argparse; keeps the words, in which error() looks for a flag with a typo."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def error(self, message):
        """As argparse, with the name that was meant where a flag or a choice has a typo."""
        from .compat.command_line import nearest  # only here: `labo --help` is instant

        super().error(message + nearest(message, self._given, list(self._option_string_actions)))

    def print_help(self, file=None):
        """As argparse, which would be silent where the help cannot be written."""
        print(self.format_help(), file=file or sys.stdout, end="")


def _run(argv):
    if not argv or argv[0] not in SUBCOMMANDS:
        parser = _overview_parser()
        parser.parse_args(argv or ["--help"])  # prints the help, the version or the error, and exits
        parser.error("a subcommand is needed")
    name, *arguments = argv
    module, parser = command(name)
    return module.run(parser.parse_args(arguments)) or 0


def command(name):
    """(module, parser) of a subcommand."""
    module = importlib.import_module(f"labo_fairseq.commands.{name.replace('-', '_')}")
    parser = Parser(prog=f"labo {name}", description=module.__doc__, formatter_class=HelpFormatter)
    module.add_arguments(parser)
    return module, parser


def _remedy(package):
    from .compat.install import INSTALL_FAIRSEQ, install_command  # only here: `labo --help` is instant

    if package == "fairseq":
        return f"{INSTALL_FAIRSEQ} (`labo doctor` says what else it needs)"
    return f"fairseq needs it: {install_command(package)}"


def _check_streams():
    """Without standard output there is no result; without standard error the messages go nowhere."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        raise OSError(errno.EBADF, "closed", "standard output")


def _refused(name, reason):
    _give_up_stdout()
    print(f"{name}: {' '.join(str(reason).splitlines())}", file=sys.stderr)
    return 2


def _give_up_stdout():
    """Let what is not written yet go nowhere: Python would try again at its exit, and complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except AttributeError:  # there is none
        pass


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
    parser = Parser(
        prog="labo",
        description="LABO and its family for fairseq. Training itself is fairseq's:\n"
        "  fairseq-train DATA --user-dir labo_fairseq --criterion labo ...\n"
        "and labo does what comes before and after it.",
        epilog=f"{listing}\n\n'labo SUBCOMMAND --help' explains each, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="labo SUBCOMMAND [options]",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions of what matters here, and exit")
    parser.add_argument("subcommand", choices=SUBCOMMANDS, help=argparse.SUPPRESS)
    return parser


class _Version(argparse.Action):
    """Looks the versions up where they are asked for: `labo --help` has no time for that."""

    def __call__(self, parser, namespace, values, option_string=None):
        from . import __version__
        from .compat.versions import installed

        for name, version in {"labo_fairseq": __version__, **installed()}.items():
            print(f"{name} {version}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
