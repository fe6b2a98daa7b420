"""The check for what building fairseq needs, before anything is downloaded."""

import ast
import sys
import sysconfig
from pathlib import Path

import pytest

from labo_fairseq.compat import build_tools


def test_this_machine_has_everything(run_cli):
    done = run_cli("python", build_tools.__file__)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_compiler(run_cli, tmp_path):
    done = run_cli("python", build_tools.__file__, env={"PATH": str(tmp_path), "CXX": ""})
    assert done.returncode == 2
    line = "a C++ compiler is missing: none of c++, g++, clang++ on the PATH: sudo apt-get install g++"
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def test_the_compiler_that_cxx_names_is_asked_for(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("mycxx", "g++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("CXX", "mycxx -m64")
    assert build_tools.missing_compiler() is None
    monkeypatch.setenv("CXX", "othercxx")
    assert "CXX=othercxx" in build_tools.missing_compiler()


def test_no_headers(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert f"{tmp_path}/Python.h" in build_tools.missing_headers()
    (tmp_path / "Python.h").write_text("")
    assert build_tools.missing_headers() is None


@pytest.mark.parametrize(("version", "fine"), [((3, 10, 12), False), ((3, 11, 0), True), ((3, 13, 1), True)])
def test_an_old_python(monkeypatch, version, fine):
    monkeypatch.setattr(sys, "version_info", version)
    line = build_tools.missing_python()
    assert (line is None) == fine
    assert fine or "this is 3.10" in line


def test_an_old_python_can_run_it():
    """No f-string, no annotation, nothing else that came with a later Python 3."""
    tree = ast.parse(Path(build_tools.__file__).read_text(), feature_version=(3, 4))
    assert not any(isinstance(node, ast.JoinedStr | ast.AnnAssign | ast.NamedExpr) for node in ast.walk(tree))


def test_an_old_python_is_the_only_line(monkeypatch):
    """The header to look for would be another Python's, and Python 2 cannot look for programs."""
    monkeypatch.setattr(sys, "version_info", (2, 7, 18))
    monkeypatch.setenv("PATH", "")
    (line,) = build_tools.missing()
    assert "this is 2.7" in line
