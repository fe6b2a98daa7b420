"""Imports go downwards only: each layer works without the ones above it and without what they need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "labo_fairseq"
# a layer may import itself and the layers before it
LAYERS = ["errors", "files", "compat", "functional", "criterions", "calibration", "decoding", "analysis", "vision"]


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def blocked(*names):
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


def test_functional_needs_no_fairseq():
    result = run_python(blocked("fairseq") + "import labo_fairseq.functional")
    assert result.returncode == 0, result.stderr


def test_the_package_imports_nothing_but_sys():
    code = "import sys; before = set(sys.modules); import labo_fairseq; print(*(set(sys.modules) - before))"
    assert run_python(code).stdout.split() == ["labo_fairseq"]


def test_registering_by_hand():
    result = run_python(
        "import labo_fairseq; labo_fairseq.register(); labo_fairseq.register()\n"
        "from fairseq.criterions import CRITERION_REGISTRY as r; print('labo' in r, 'label_smoothing' in r)"
    )
    assert result.stdout.split() == ["True", "True"], result.stderr


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_import_goes_upwards(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] not in LAYERS:
        return  # the command and the package itself stand above all layers
    allowed = LAYERS[: LAYERS.index(parts[0]) + 1]
    if parts[0] == "analysis":
        allowed = ["errors", "files", "analysis"]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = parts[: len(parts) - node.level]
        names = [(*base, *node.module.split("."))] if node.module else [(*base, alias.name) for alias in node.names]
        for name in names:
            assert name[0] in allowed or name[0] == "__version__", f"{path.name} imports {'.'.join(name)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "functional").rglob("*.py")), ids=lambda p: p.name)
def test_functional_is_torch_alone(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        allowed = {*sys.stdlib_module_names, "torch", *(["triton"] if path.name == "triton_rows.py" else [])}
        assert all(name.split(".")[0] in allowed for name in names), names
