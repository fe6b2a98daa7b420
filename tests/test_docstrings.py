"""Public functions say what they take and return, in annotations and in words, with examples that run."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "labo_fairseq"
ROOMS = ("functional", "measures", "records", "fairseq_models", "calibration", "decoding", "criterions")
MODULES = ("losses", "calibrate", "huggingface")
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
FILES += [PACKAGE / f"{name}.py" for name in MODULES]
# a criterion's methods are described once, in the base class
DESCRIBED_IN_BASE = ("check", "row_loss", "batch_loss", "forward", "set_up", "row_pass", "terms", "of_rows")
WITH_EXAMPLES = ("functional", "measures")


def module_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def public_functions(path):
    """(qualified name, node) of the functions and methods that a reader may call."""
    waiting = [("", node) for node in ast.parse(path.read_text(encoding="utf-8")).body]
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            waiting += [(f"{prefix}{node.name}.", inner) for inner in node.body]
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_public_functions_are_annotated(path):
    for name, node in public_functions(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare and node.returns is not None, f"{name}: {bare or 'what it returns'}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_public_functions_have_a_docstring(path):
    for name, node in public_functions(path):
        described = ast.get_docstring(node) or node.name in DESCRIBED_IN_BASE
        assert described or any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list), name


EXEMPLARY = [path for path in FILES if path.parent.name in WITH_EXAMPLES or path.stem in MODULES]


@pytest.mark.parametrize("path", EXEMPLARY, ids=module_of)
def test_examples_in_docstrings_run(path):
    if path.name == "triton_rows.py":
        pytest.importorskip("triton")
    module = importlib.import_module(module_of(path).removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not result.failed


def test_every_loss_and_calibrator_has_an_example():
    from labo_fairseq import functional
    from labo_fairseq.functional import calibrators

    losses = [getattr(functional, name) for name in functional.__all__]
    losses = [c for c in losses if isinstance(c, type) and issubclass(c, functional.RowLoss)]
    losses = [c for c in losses if c not in (functional.RowLoss, functional.PassLoss)]
    described = [*losses, calibrators.Temperature, calibrators.Grouped, calibrators.Adaptive]
    assert len(losses) >= 20
    assert not [c.__name__ for c in described if ">>>" not in (c.__doc__ or "")]
