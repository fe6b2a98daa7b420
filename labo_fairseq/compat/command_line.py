"""What is wrong on a command line of fairseq, told in one line with the remedy."""

import argparse
import difflib
import functools
import importlib.util
import os
import re
import sys

from .errors import UserError

# what the plugin registers, by the flag that takes its name; a test compares it with fairseq's registries
PLUGIN_NAMES = {
    "criterion": (
        "anti_focal_loss", "beta_smoothing", "confidence_penalty", "cs_kd", "focal_loss", "forward_correction",
        "generalized_entropy", "knowledge_distillation", "kr_ls", "label_smoothing", "labo", "logit_smoothing",
        "matrix_smoothing", "mixup", "pairwise_label_smoothing", "tf_reg",
    ),
    "task": (
        "calibrated_multilingual_translation", "calibrated_translation", "calibrated_translation_multi_simple_epoch",
        "torchvision_classification",
    ),
    "optimizer": ("torch_adam", "torch_sgd"),
    "lr_scheduler": ("multi_step",),
}  # fmt: skip
PLUGIN = "labo_fairseq"
ADD_USER_DIR = f"add --user-dir {PLUGIN}"
_CHOICE = re.compile(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)$", re.DOTALL)
_UNKNOWN = re.compile(r"unrecognized arguments: (--[\w-]+)")


def one_line_for_wrong_flags(module):
    """F41: `--criterion labo` without --user-dir, or a flag with a typo: 200 lines of usage before the reason."""
    original = module.get_parser

    @functools.wraps(original)
    def get_parser(*args, **kwargs):
        parser = original(*args, **kwargs)
        parser.error = functools.partial(_end, parser)
        return parser

    module.get_parser = get_parser
    return True


def _end(parser, message):
    parser.exit(2, f"{parser.prog}: {explain(message, parser)}\n")


def explain(message, parser):
    """argparse's message in one line, with what to do about it."""
    choice, unknown = _CHOICE.search(message), _UNKNOWN.search(message)
    if choice:
        flag, given, choices = choice.groups()
        return f"{flag}: {given}: " + remedy(flag.lstrip("-").replace("-", "_"), given, re.findall(r"[\w.-]+", choices))
    if unknown:
        words = [word for action in parser._actions for word in action.option_strings]
        near = difflib.get_close_matches(unknown[1], words, 1)
        known = f"did you mean {near[0]}?" if near else "not with this task, model and criterion: see --help"
        return f"{unknown[1]}: no such flag: {known}"
    return f"{' '.join(message.split())}: see --help"


def nearest(message, given, flags):
    """What was meant, to follow argparse's message, where a given flag or the choice is nearly a known one."""
    choice = _CHOICE.search(message)
    if choice:
        pairs = [(choice[2], re.findall(r"[\w.-]+", choice[3]))]
    else:
        unknown = [word.partition("=")[0] for word in given if word.startswith("--") and word != "--"]
        pairs = [(word, flags) for word in unknown if word not in flags]
    for word, known in pairs:
        near = difflib.get_close_matches(word, known, 1)
        if near:
            return f"; {word}: did you mean {near[0]}?"
    return ""


def remedy(kind, given, choices, user_dir=ADD_USER_DIR):
    """What to do where `given` is no name of this kind (criterion, task, …)."""
    if given in PLUGIN_NAMES.get(kind, ()) and not set(PLUGIN_NAMES[kind]) & set(choices):
        return f"is a {kind} of {PLUGIN}, which is not loaded: {user_dir}"
    near = difflib.get_close_matches(given, choices, 1)
    more = f"did you mean {near[0]}?" if near else f"choose from {', '.join(sorted(choices))}"
    return f"no such {kind}: {more}"


def infer_languages_of_tokenizer(module):
    """F42: `fairseq-generate --tokenizer moses` without -s and -t: 130 lines, `Error merging override
    tokenizer.source_lang=null`.

    The task finds the languages in the names of the data files, later. So does this, before the tokenizer needs them.
    """
    original = module.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(*args, **kwargs):
        parsed = original(*args, **kwargs)
        namespace = parsed[0] if isinstance(parsed, tuple) else parsed
        if "moses" in (getattr(namespace, "tokenizer", None), getattr(namespace, "bpe", None)):
            _find_languages(namespace)
        return parsed

    module.parse_args_and_arch = parse_args_and_arch
    return True


def _find_languages(args):
    if getattr(args, "source_lang", None) and getattr(args, "target_lang", None):
        return
    from fairseq.data import data_utils

    folder = (getattr(args, "data", None) or "").split(os.pathsep)[0]
    found = data_utils.infer_language_pair(folder) if os.path.isdir(folder) else (None, None)
    for name, language in zip(("source_lang", "target_lang"), found, strict=True):
        if not getattr(args, name, None):
            if not language:
                raise UserError(
                    f"--tokenizer moses: {folder or 'the data'}: no languages in the names of its files: "
                    "add -s XX -t YY"
                )
            setattr(args, name, language)


def find_user_dir_by_name(module):
    """F43: `--user-dir labo_fairseq` works in one folder only, elsewhere `FileNotFoundError`.

    fairseq looks beside itself, where a regular install of the plugin lies and an editable one does not. Here a name
    that is no folder may be that of an installed package; and a missing folder ends the command with one line.
    """
    original = module.import_user_module

    @functools.wraps(original)
    def import_user_module(args):
        given = getattr(args, "user_dir", None)
        if given is not None:
            args.user_dir = _package_folder(given)
        try:
            return original(args)
        except FileNotFoundError as error:
            if given is None or str(error) != os.path.abspath(given):
                raise
            raise UserError(f"--user-dir: {given}: no such folder: give --user-dir {PLUGIN}") from None

    module.import_user_module = import_user_module
    return True


def _package_folder(name):
    if not name.isidentifier() or os.path.exists(name):
        return name
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return name
    return spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else name


def forgotten(error):
    """F48: tracebacks `Could not infer language pair` for a folder with binaries in bin/, `optimizer is required!`, and
    `KeyError: None` of fairseq-validate without --task.

    One line with the remedy, or None for other errors.
    """
    text = str(error)
    if isinstance(error, KeyError):
        return "--task: is missing: add --task translation, or that of the training" if error.args == (None,) else None
    if missing := re.fullmatch(r"([a-z_]+) is required!", text):
        return f"--{missing[1].replace('_', '-')}: is missing: choose one, as --optimizer adam"
    return without_binaries(text)


def without_binaries(text):
    """One line about a data folder for the message `Could not infer language pair`, None for others."""
    if not text.startswith("Could not infer language pair"):
        return None
    inside = [os.path.join(word, "bin") for word in sys.argv[1:]]
    found = next((folder for folder in inside if os.path.isdir(folder)), None)
    remedy = f"did you mean {found}?" if found else "give the folder of train.XX-YY.XX.bin"
    return f"no binaries of a language pair in the data folder: {remedy}"


def is_about_flags(error):
    """F44: `AssertionError: Must specify batch size either with --max-tokens or --batch-size`, with a traceback.

    Whether fairseq asserts something about its flags: the message names one.
    """
    return type(error) in (AssertionError, ValueError, argparse.ArgumentTypeError) and bool(
        re.search(r"(^|\s)--[a-z][\w-]+", str(error))
    )
