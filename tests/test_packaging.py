"""What pip installs, in which mode it does, and what an uninstall leaves: nothing."""

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]
OURS = {"labo_fairseq", "labo_fairseq_hook.py", "labo_fairseq_hook.pth"}
PIPS = ["23.2.1", "26.*"]


def run(*line, cwd=None, env=None):
    done = subprocess.run([*map(str, line)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_the_only_command_is_labo():
    scripts = importlib.metadata.distribution("labo_fairseq").entry_points.select(group="console_scripts")
    assert [(script.name, script.value) for script in scripts] == [("labo", "labo_fairseq.cli:main")]


def test_data_prep_is_a_subpackage_wherever_it_lies():
    from labo_fairseq import data_prep

    assert (Path(data_prep.__file__).parent / "__init__.py").exists()


def test_constraints_pin_every_dependency_within_its_range():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = [line for line in (CLONE / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert pins["torch"] == "2.13.0"
    requirements = [Requirement(text) for text in importlib.metadata.requires("labo_fairseq")]
    assert "triton" not in pins, "each CUDA build of torch demands a Triton version of its own"
    for requirement in requirements:
        if requirement.name == "triton":
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": "dev"}):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the clone to build in, without what builds leave behind."""
    ignore = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(CLONE, tmp_path_factory.mktemp("clone") / "labo_fairseq", ignore=ignore))


@pytest.fixture(scope="module")
def sdist(clone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, folder, cwd=clone)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist alone, so that whatever the sdist lacks is missing here."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, sdist)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_sdist_holds_what_scripts_and_builds_read(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "constraints.txt", "LICENSE", "labo_fairseq_hook.pth"} <= names


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(CLONE)) for path in (CLONE / "labo_fairseq").rglob("*.py")}
    modules |= {f"labo_fairseq/{path.relative_to(CLONE)}" for path in (CLONE / "data_prep").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules | {"labo_fairseq_hook.py"}
    data = {"labo_fairseq/py.typed", "labo_fairseq/constraints.txt", "labo_fairseq/vision/digits.npz"}
    data |= {f"labo_fairseq/figures/page.{kind}" for kind in ("html.j2", "css", "js")}
    assert names - modules - {"labo_fairseq_hook.py", "labo_fairseq_hook.pth"} == data
    assert {name.partition("/")[0] for name in names} == OURS


class Environment:
    """A virtual environment with the given pip, which finds torch and fairseq in the environment of the tests."""

    def __init__(self, folder, pip):
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        self.packages = next(folder.glob("lib/python*/site-packages"))
        self.pip("install", "-q", f"pip=={pip}")
        tests = next(entry for entry in sys.path if entry.endswith("site-packages"))
        (self.packages / "zz_packages_of_the_tests.pth").write_text(tests + "\n")  # its .pth files are not read
        self.bare = self.names()

    def pip(self, *args, cwd=None):
        return run(self.python, "-m", "pip", *args, cwd=cwd)

    def names(self):
        entries = [*self.packages.iterdir(), *(self.packages.parents[2] / "bin").iterdir()]
        return {entry.name for entry in entries if entry.name != "__pycache__"}

    def import_fairseq(self, first="", env=None):
        """ "works", or the last line of the error."""
        code = first + "import fairseq_cli.train as t; print('works' if t.cli_main.__wrapped__ else '')"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, env=env)
        return (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("pip", PIPS)
@pytest.mark.parametrize("mode", ["folder", "wheel", "editable"])
def test_install_use_and_uninstall(mode, pip, wheel, clone, tmp_path):
    here = Environment(tmp_path / "env", pip)
    source = {"folder": ["."], "wheel": [wheel], "editable": ["-e", "."]}[mode]
    here.pip("install", "--no-deps", *source, cwd=clone)
    new = {name for name in here.names() - here.bare if not name.endswith(".dist-info")}
    if mode == "editable":
        new = {name for name in new if not name.startswith("__editable__")}
        assert new == {"labo", "labo_fairseq_hook.pth"}
    else:
        assert new == OURS | {"labo"}
    assert here.import_fairseq() == "works"
    assert "prepare" in run(tmp_path / "env" / "bin" / "labo", "--help", cwd="/")
    run(here.python, "-c", "import labo_fairseq.data_prep", cwd="/")
    here.pip("uninstall", "-y", "labo_fairseq")
    assert here.names() == here.bare
    assert "mutable default" in here.import_fairseq()


@pytest.mark.slow
def test_install_into_a_target_folder(clone, tmp_path):
    """No .pth file is read there; one import before fairseq takes its place."""
    here = Environment(tmp_path / "env", PIPS[0])
    here.pip("install", "--no-deps", "--target", tmp_path / "target", ".", cwd=clone)
    env = {"PYTHONPATH": str(tmp_path / "target")}
    assert "mutable default" in here.import_fairseq(env=env)
    assert here.import_fairseq("import labo_fairseq_hook; ", env=env) == "works"


@pytest.mark.slow
def test_install_script_interrupted_finished_and_repeated(clone, tmp_path):
    script, env = clone / "scripts" / "install.sh", tmp_path / "env"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([script, env], start_new_session=True, **quiet) as first:
        while first.poll() is None and not (env / "pyvenv.cfg").exists():
            time.sleep(0.1)
        os.killpg(first.pid, signal.SIGKILL)  # the script and whatever it runs
    assert (env / ".labo-unfinished").exists() and not (env / ".labo-installed").exists()
    run(script, env, cwd="/")
    assert not (env / ".labo-unfinished").exists()
    again = subprocess.run([script, env], capture_output=True, text=True)
    assert again.returncode == 0 and again.stderr == f"{env} is up to date\n"
    run(env / "bin" / "labo", "doctor", cwd="/")


@pytest.mark.slow
def test_install_script_leaves_an_environment_of_somebody_else_in_place(clone, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    (tmp_path / "env" / "precious").write_text("")
    line = [clone / "scripts" / "install.sh", tmp_path / "env", "--no-such-option"]
    failed = subprocess.run(line, capture_output=True)
    assert failed.returncode != 0
    assert (tmp_path / "env" / "precious").exists() and not (tmp_path / "env" / ".labo-unfinished").exists()
