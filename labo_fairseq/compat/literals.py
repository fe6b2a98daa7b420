"""F28: settings that fairseq hands to eval(), read as literals alone."""

import ast
import functools
import linecache
import operator
import os
import re
import sys

from .errors import UserError

LONGEST = 1_000_000  # characters; a line of a speech manifest is a literal too
LARGEST = 100_000  # values in it: `[0] * 10**9` would fill the memory
# the settings that fairseq evaluates while it builds a model, a criterion or an optimizer, where they are text
TEXT_SETTINGS = (
    "adam_betas", "adamax_betas", "adafactor_eps", "lamb_betas", "adaptive_input_cutoff", "adaptive_softmax_cutoff",
    "character_filters", "conv_aggregator_layers", "conv_feature_layers", "decoder_attention", "decoder_layers",
    "downsample", "encoder_attention", "encoder_layers", "gated_attention", "pretrained", "project_input",
    "self_attention", "wer_args",
)  # fmt: skip
_NAMED = re.compile(r"(?:args|cfg|kwargs)(?:\.|\[\"|, \")(\w+)")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class NoLiteral(UserError):
    """A setting that is no literal; `load_model_ensemble_and_task` adds the name of the checkpoint."""


def read_literals_alone(module):
    """F28: a checkpoint runs code although it is loaded with weights_only: fairseq calls eval() on its settings.

    `adaptive_softmax_cutoff`, `encoder_layers`, `adam_betas` and some twenty others are texts that fairseq evaluates,
    from the command line, from a checkpoint's configuration or from a data file. The module gets an `eval` of its own,
    which knows numbers, texts, tuples, lists and dicts, and sums and products of these, such as `[(512, 3)] * 4`.
    """
    module.eval = evaluate
    return True


def read_literals_alone_in_examples(module):
    """F28 in fairseq's own examples: --user-dir imports them under names that the hook cannot know beforehand."""
    original = module.import_user_module
    folder = os.path.join(os.path.dirname(module.__file__), "examples") + os.sep

    @functools.wraps(original)
    def import_user_module(args):
        try:
            return original(args)
        finally:
            for imported in list(sys.modules.values()):
                if str(getattr(imported, "__file__", None)).startswith(folder):
                    imported.eval = evaluate

    module.import_user_module = import_user_module
    return True


def evaluate(text, *_, name=None):
    """The value of a text of literals. `name` is that of the setting, found in the caller's code if None.

    Raises NoLiteral, naming the setting, for any other text, and TypeError for what is no text: fairseq waits for it.
    """
    if not isinstance(text, str):
        raise TypeError("eval() arg 1 must be a string, bytes or code object")
    try:
        if len(text) > LONGEST:
            raise ValueError("too long")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, OverflowError):
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise NoLiteral(
            f"{name or _setting()}: {shown!r} is no number, text, list, tuple or dict, it was not evaluated: "
            "write a value such as [10000, 20000] or (0.9, 0.98), or ask whoever made the checkpoint"
        ) from None


def _value(node):
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        return node.value
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        kind = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
        return kind(_value(element) for element in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        _check_size(node.op, left, right)
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError("no literal")


def _check_size(op, left, right):
    numbers = [x for x in (left, right) if isinstance(x, int | float)]
    if len(numbers) == 2:
        if not all(abs(x) < 1e18 for x in numbers):  # so that products of products stay numbers
            raise ValueError("too large")
        return
    size = _size(left) + _size(right)
    if isinstance(op, ast.Mult) and numbers:
        size *= max(1, int(numbers[0]))
    if size > LARGEST:
        raise ValueError("too large")


def _size(value):
    """Number of values in a value, at any depth; the characters of a text count."""
    if isinstance(value, str):
        return len(value)
    return 1 + sum(map(_size, value)) if isinstance(value, list | tuple | set) else 1


def _setting():
    """Name of the setting that fairseq is evaluating, from the lines of code that led here."""
    frame = sys._getframe(2)
    for _ in range(4):
        if frame is None:
            break
        named = _NAMED.search(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
        if named:
            return f"the setting {named[1]}"
        frame = frame.f_back
    return "a setting"
