"""F28: text settings are read as literals, never run as code."""

import ast
import functools
import inspect
import operator
import os
import re
import sys

from .errors import UserError

LONGEST_TEXT = 1_000_000  # characters; a line of a speech manifest is a literal too
LARGEST_VALUE = 100_000  # elements and characters, counted as often as they occur

# the settings that fairseq evaluates while it builds a model, a criterion or an optimizer; where they are text
TEXT_SETTINGS = (
    "adam_betas", "adamax_betas", "adafactor_eps", "lamb_betas", "adaptive_input_cutoff", "adaptive_softmax_cutoff",
    "character_filters", "conv_aggregator_layers", "conv_feature_layers", "decoder_attention", "decoder_layers",
    "downsample", "encoder_attention", "encoder_layers", "gated_attention", "pretrained", "project_input",
    "self_attention", "wer_args", "xformers_att_config",
)  # fmt: skip

_EVAL = re.compile(r"(?<![\w.])eval\(")
_PRODUCTS = (list, tuple, str, bytes)
_CONFIGURATIONS = ("args", "cfg", "mask_compute_kwargs")


class NotALiteral(UserError):
    """A setting whose text is no literal. Who knows the file puts its name in front of the line."""


def literals_only(module):
    """F28: fairseq passes text settings to `eval`, those of a checkpoint too: loading one could run any command.

    `torch.load(weights_only=True)` does not help: the text is data until fairseq evaluates it. `eval` gets another
    meaning in the module: literals, and sums and products of them, as fconv's `[(512, 3)] * 4`.
    """
    if not _EVAL.search(inspect.getsource(module)):
        return False
    module.eval = literal
    return True


def literals_only_in_examples(module):
    """F28 in fairseq's own examples: --user-dir imports them under names that the hook cannot know beforehand."""
    original = module.import_user_module
    folder = os.path.join(os.path.dirname(module.__file__), "examples") + os.sep

    @functools.wraps(original)
    def import_user_module(args):
        try:
            return original(args)
        finally:
            for imported in list(sys.modules.values()):
                if (getattr(imported, "__file__", None) or "").startswith(folder):
                    imported.eval = literal

    module.import_user_module = import_user_module
    return True


def literal(text):
    """The value of a literal, or of a sum or product of literals. Raises NotALiteral, and TypeError where eval does."""
    if not isinstance(text, str):
        raise TypeError("eval() arg 1 must be a string, bytes or code object")  # eval_bool waits for it
    try:
        if len(text) > LONGEST_TEXT:
            raise ValueError("too long")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        name = _setting_of(text) or "a setting"
        raise NotALiteral(
            f"{name}: {_shortened(text)} is no literal, it was not run: give one, such as (0.9, 0.98), True or "
            "[(512, 3)] * 4"
        ) from None


def _value(node):
    match node:
        case ast.Constant(value):
            return value
        case ast.List(items) | ast.Tuple(items) | ast.Set(items):
            kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
            return kind(map(_value, items))
        case ast.Dict(keys, values) if None not in keys:
            return dict(zip(map(_value, keys), map(_value, values), strict=True))
        case ast.UnaryOp(ast.USub() | ast.UAdd(), operand):
            return {ast.USub: operator.neg, ast.UAdd: operator.pos}[type(node.op)](_value(operand))
        case ast.BinOp(left, ast.Add(), right):
            return _sum(_value(left), _value(right))
        case ast.BinOp(left, ast.Sub(), right):
            return _value(left) - _value(right)
        case ast.BinOp(left, ast.Mult(), right):
            return _product(_value(left), _value(right))
    raise ValueError("no literal")


def _sum(left, right):
    if _size(left) + _size(right) > LARGEST_VALUE:
        raise ValueError("too large")
    return left + right


def _product(left, right):
    for value, times in ((left, right), (right, left)):
        if isinstance(value, _PRODUCTS) and isinstance(times, int) and _size(value) * times > LARGEST_VALUE:
            raise ValueError("too large")
    return left * right


def _size(value):
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, [*value, *value.values()])) + 1
    return sum(map(_size, value)) + 1 if isinstance(value, list | tuple | set) else 1


def _shortened(text):
    text = ascii(text)
    return text if len(text) <= 80 else f"{text[:76]}...{text[0]}"


def _setting_of(text):
    """The name of the setting that holds `text`, in the configuration that a caller has at hand; None if none has."""
    frame = sys._getframe(2)
    while frame is not None:
        own = frame.f_locals.get("self")
        for holder in (frame.f_locals, getattr(own, "__dict__", {})):
            for kind in _CONFIGURATIONS:
                found = _key_of(text, holder.get(kind))
                if found:
                    return found
        frame = frame.f_back
    return None


def _key_of(text, configuration, depth=3):
    try:
        entries = dict(configuration if hasattr(configuration, "keys") else vars(configuration))
    except Exception:  # no configuration, or one that cannot be read: the line does without the name
        return None
    for key, value in entries.items():
        if value is text or (isinstance(value, str) and value == text):
            return str(key)
    if depth == 0:
        return None
    return next(filter(None, (_key_of(text, value, depth - 1) for value in entries.values())), None)
