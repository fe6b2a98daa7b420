"""The import hook: light, lazy, never in the way of Python's start, and never under the name labo_fairseq."""

import ast
import json
import shutil
import sys
from pathlib import Path

import pytest

import labo_fairseq
import labo_fairseq_hook

CLONE = Path(__file__).parents[2]
FAKE_FAIRSEQ = {"fairseq/__init__.py": "", "fairseq/file_io.py": "class PathManager:\n    copy = None\n"}


@pytest.fixture
def python(run_cli):
    """Function: what `python -c code` prints as JSON in its last line, and its standard error."""

    def run(code, *path, env=None):
        path = {"PYTHONPATH": ":".join(map(str, path))} if path else {}
        done = run_cli("python", "-c", code, env={**path, **(env or {})}, cwd="/")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


@pytest.fixture
def site(tmp_path):
    """A folder as pip fills it: the hook and a copy of the package."""
    shutil.copy(labo_fairseq_hook.__file__, tmp_path)
    shutil.copytree(Path(labo_fairseq.__file__).parent, tmp_path / "labo_fairseq")
    return tmp_path


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_the_start_of_python_loads_the_hook_and_nothing_more(python):
    new = "import sys, json; print(json.dumps(sorted(m for m in sys.modules if not m.startswith('__editable__'))))"
    with_hook, _ = python(new)
    assert "labo_fairseq_hook" in with_hook
    heavy = ("torch", "fairseq", "labo_fairseq", "_labo_fairseq_compat", "numpy")
    assert not [name for name in with_hook if name.partition(".")[0] in heavy]


def test_the_hook_imports_only_what_python_has_loaded_already():
    tree = ast.parse(Path(labo_fairseq_hook.__file__).read_text())
    at_start = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert at_start == {"os", "sys"} and not any(isinstance(node, ast.ImportFrom) for node in tree.body)


def test_other_imports_are_left_alone():
    assert labo_fairseq_hook.Finder.find_spec("json") is None
    assert labo_fairseq_hook.Finder.find_spec("fairseq") is None


def test_switched_off(python):
    code = "import sys, json; print(json.dumps([str(finder) for finder in sys.meta_path]))"
    assert "labo_fairseq_hook" in str(python(code)[0])
    assert "labo_fairseq_hook" not in str(python(code, env={"LABO_FAIRSEQ_COMPAT": "0"})[0])


def test_a_broken_hook_does_not_stop_python(python, tmp_path):
    write(tmp_path, {"labo_fairseq_hook.py": "raise RuntimeError('broken')"})
    assert python("print(1)", tmp_path) == (1, "")


@pytest.mark.parametrize("broken", ["compat/__init__.py", "compat/mends.py", "compat/errors.py"])
def test_a_broken_bridge_says_so_and_imports_go_on(python, site, broken):
    write(site, FAKE_FAIRSEQ)
    (site / "labo_fairseq" / broken).write_text("this is no Python")
    assert python("print(1)", site) == (1, "")
    code = "import fairseq.file_io as m; print(int(m.PathManager.copy is None))"
    imported, error = python(code, site)
    assert imported == 1
    assert error.startswith("labo_fairseq: fairseq.file_io is imported without its mends (SyntaxError: ")
    assert error.count("\n") == 1


def test_a_mend_that_fails_says_so_and_imports_go_on(python, site):
    write(site, {**FAKE_FAIRSEQ, "fairseq/file_io.py": "there = 1\n"})
    imported, error = python("import fairseq.file_io as m; print(m.there)", site)
    assert imported == 1
    assert error.startswith("labo_fairseq: copy_whole_files (fairseq.file_io) failed: AttributeError: ")


def test_mended_source_is_neither_read_from_nor_kept_as_bytecode(python, site):
    """Bytecode that was written with the bridge must not be found without it, and the reverse."""
    unmended = "    if args.bf16:\n        args.tpu = True"
    text = f"from types import SimpleNamespace as N\ndef f(args, utils=N(xm=None)):\n{unmended}\n    return args.tpu\n"
    write(site, {"fairseq/__init__.py": "", "fairseq/options.py": text})
    code = "import json, fairseq.options as o; print(json.dumps(o.f(o.N(bf16=True, tpu=False))))"
    off = {"LABO_FAIRSEQ_COMPAT": "0"}
    assert python(code, site)[0] is False
    assert python(code, site, env=off)[0] is True  # writes bytecode
    assert python(code, site)[0] is False


USER_DIR = """
import argparse, json, sys
import fairseq.utils, fairseq.tasks
loaded_too_early = "labo_fairseq" in sys.modules
fairseq.utils.import_user_module(argparse.Namespace(user_dir=sys.argv[1]))
module = sys.modules["labo_fairseq"]
registered = "labo_fairseq.criterions" in sys.modules
print(json.dumps([loaded_too_early, registered, module.__file__, "_labo_fairseq_compat" in sys.modules]))
"""


@pytest.mark.parametrize("user_dir", ["clone", "installed"])
def test_user_dir_at_a_clone_and_at_the_installed_package(run_cli, site, user_dir):
    """The package is installed at `site`; --user-dir names that one or another copy, and must register either."""
    folder = {"clone": CLONE, "installed": site}[user_dir] / "labo_fairseq"
    done = run_cli("python", "-c", USER_DIR, folder, cwd="/", env={"PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [False, True, str(folder / "__init__.py"), True]


def test_without_the_pth_one_import_does(run_cli, site):
    """As with pip install --target: no .pth file is read (-S), the documented import takes its place."""
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    # fairseq uses the builtin `help`, which -S leaves out
    code = "import site; site.sethelper(); import {}fairseq.dataclass.configs"
    env = {"PYTHONPATH": f"{site}:{packages}"}
    without = run_cli("python", "-S", "-c", code.format(""), env=env)
    assert "mutable default" in without.stderr
    done = run_cli("python", "-S", "-c", code.format("labo_fairseq_hook, "), env=env)
    assert done.returncode == 0, done.stderr
