"""CONTRIBUTING's recipe for a criterion: its blocks, put into a copy of the package, pass the tests of all losses."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^ *```python\n *# (\S+\.py)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TESTS = [
    "tests/functional/test_losses.py",
    "tests/functional/test_fused.py",
    "tests/criterions/test_criterions.py",
    "tests/criterions/test_extreme_settings.py",
    "tests/criterions/test_configuration.py",
]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package and the tests, with CONTRIBUTING's blocks in it."""
    root = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("labo_fairseq", "tests", "data_prep"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for file in ("pyproject.toml", "labo_fairseq_hook.py"):
        shutil.copy(ROOT / file, root / file)
    for file, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        with open(root / file, "a", encoding="utf-8") as stream:
            stream.write(textwrap.dedent(text))
    return root


def python(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def test_three_files(extended):
    changed = {
        str(path.relative_to(extended))
        for folder in ("labo_fairseq", "tests")
        for path in (extended / folder).rglob("*.py")
        if not (ROOT / path.relative_to(extended)).exists()
        or path.read_bytes() != (ROOT / path.relative_to(extended)).read_bytes()
    }
    assert changed == {
        "labo_fairseq/functional/poly_loss.py",
        "labo_fairseq/criterions/poly_loss.py",
        "tests/_cases.py",
    }


def test_the_copy_is_what_runs(extended):
    done = python(extended, "-c", "import labo_fairseq; print(labo_fairseq.__file__)")
    assert done.stdout.strip() == str(extended / "labo_fairseq/__init__.py"), done.stderr


def test_all_invariants_run_on_it_and_hold(extended):
    done = python(extended, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-k", "poly_loss", *TESTS)
    passed = re.findall(r"^PASSED tests/(\w+/test_\w+\.py)::", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert {f"tests/{file}" for file in passed} == set(TESTS), done.stdout[-3000:]
    assert len(passed) > 20


def test_its_example_is_right(extended):
    line = "import doctest, labo_fairseq.functional.poly_loss as m; print(*doctest.testmod(m))"
    done = python(extended, "-c", line)
    assert done.stdout.strip() == "0 3", done.stdout + done.stderr
