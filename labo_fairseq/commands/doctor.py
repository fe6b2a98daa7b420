"""Show what is installed, which mends of the bridge are active, and what to do where something does not work.

    labo doctor
    labo doctor --verbose
    labo doctor --json | python -m json.tool

Where all is well one line says so; where not, a table tells what is wrong and what to do. With --verbose the table has
a row for everything that was checked, with its state (ok, active, needless, none, off, missing, failed, untried).
Exit code 0: training and translation would work here; 1: they would not.
"""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import __version__
from ..compat import build_tools
from ..compat.install import INSTALL_FAIRSEQ, install_command
from ..files import PACKAGE
from ..records.tables import TextTable

INSTALL = "scripts/install.sh VENV, in a clone of labo_fairseq"
REBUILD_FAIRSEQ = "pip install --no-deps --force-reinstall --no-cache-dir fairseq==0.12.2"
OPTIONAL = {
    "torchvision": "image classification",
    "ctranslate2": "fast decoding",
    "cleanlab": "another estimate of label noise",
    "tensorboard": "--tensorboard-logdir",
}
PROBE_SECONDS = 300  # the first import of torch from a cold or remote disk takes minutes


@dataclass
class Row:
    """One line of the table; `needed` says that training and translation depend on it."""

    check: str
    state: str
    detail: str = ""
    to_do: str = ""
    needed: bool = False

    @property
    def bad(self):
        """The main job fails because of this."""
        return self.needed and self.state in ("missing", "failed", "off")


HEADING = ["check", "state", "detail", "what to do"]
UNTRIED = Row("fairseq commands", "untried", "first do what the rows above say")


def add_arguments(parser):
    """The options of `labo doctor`."""
    parser.add_argument("--verbose", action="store_true", help="print a row for everything, also for each mend")
    parser.add_argument("--json", action="store_true", help="print all rows as JSON")


def run(args):
    """Print the table; 0 where the main job would work, else 1."""
    rows = [*python_rows(), *package_rows(), *bridge_rows()]
    rows += probe_rows(probe()) if not any(row.bad and row.state != "failed" for row in rows) else [UNTRIED]
    rows += [*optional_rows(), *build_rows()]
    works = not any(row.bad for row in rows)
    if args.json:
        print(json.dumps({"works": works, "rows": [asdict(row) for row in rows]}, indent=1))
    elif works and not args.verbose:
        print(summary(rows))
    else:
        shown = [row for row in rows if args.verbose or row.bad or row.state in ("failed", "untried")]
        print(TextTable("", [HEADING, *([r.check, r.state, r.detail, r.to_do] for r in shown)]).as_tsv())
    return 0 if works else 1


def summary(rows):
    """One line about a machine where training and translation work."""
    of = {row.check: row for row in rows}
    versions = ", ".join(
        f"{name} {of[name].detail.split()[0]}" for name in ("labo_fairseq", "fairseq", "torch", "python")
    )
    active = sum(row.state == "active" for row in rows)
    gpu = of["GPU"].detail if of["GPU"].state == "ok" else "no GPU (give fairseq --cpu)"
    without = [f"{name} ({purpose})" for name, purpose in OPTIONAL.items() if of[name].state == "none"]
    failed = [row.check for row in rows if row.state == "failed"]
    parts = [f"training and translation work here: {versions}", f"{active} mends of the bridge active", gpu]
    parts += [f"not installed: {', '.join(without)}"] * bool(without)
    parts += [f"failed, but not needed: {', '.join(failed)}"] * bool(failed)
    return "; ".join([*parts, "more: labo doctor --verbose"])


def python_rows():
    """Python and this package."""
    too_old = build_tools.missing_python()
    yield Row("python", "failed" if too_old else "ok", platform.python_version(), too_old or "", needed=True)
    yield Row("labo_fairseq", "ok", f"{__version__} {PACKAGE}")


def package_rows():
    """fairseq, and whatever the metadata of this package require."""
    yield _package_row("fairseq", "==0.12.2", INSTALL_FAIRSEQ)
    try:
        requirements = importlib.metadata.requires("labo_fairseq") or []
    except importlib.metadata.PackageNotFoundError:
        yield Row("labo_fairseq", "missing", "pip does not know it", INSTALL, needed=True)
        return
    for requirement in requirements:
        if "extra ==" not in requirement:
            name, wanted = re.match(r"([\w.-]+)\s*(.*)", requirement).groups()
            yield _package_row(name, wanted, install_command(f"{name}{wanted}"))


def _package_row(name, wanted, to_do):
    version = _version(name)
    if version is None:
        return Row(name, "missing", f"{name}{wanted} is needed", to_do, needed=True)
    if not _in_range(version, wanted):
        return Row(name, "failed", f"{version}, but {name}{wanted} is needed", to_do, needed=True)
    return Row(name, "ok", version, needed=True)


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _in_range(version, wanted):
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:  # it comes with hydra-core, whose own row says that it is missing
        return True
    return SpecifierSet(wanted).contains(version, prereleases=True)


def bridge_rows():
    """Is the import hook there, did Python load it, is it switched on?"""
    hook = sys.modules.get("labo_fairseq_hook")
    if os.environ.get("LABO_FAIRSEQ_COMPAT") == "0":
        yield Row("bridge", "off", "LABO_FAIRSEQ_COMPAT=0", "unset LABO_FAIRSEQ_COMPAT", needed=True)
    elif hook is None:
        to_do = f"{INSTALL}; or put `import labo_fairseq_hook` before the first import of fairseq"
        yield Row("bridge", "missing", "Python did not load labo_fairseq_hook.pth", to_do, needed=True)
    else:
        yield Row("bridge", "ok", hook.__file__, needed=True)


def probe():
    """What a fresh Python finds when it imports fairseq's commands; {"error": ...} where even that fails."""
    command = [sys.executable, "-m", "labo_fairseq.compat.probe"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        return {"error": (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]}
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def probe_rows(answer):
    """The rows for what probe() found."""
    if "error" in answer:
        yield Row("fairseq commands", "failed", answer["error"], INSTALL, needed=True)
        return
    for mend in answer["mends"]:
        state = "failed" if mend["outcome"].startswith("failed") else mend["outcome"]
        yield Row(mend["mend"], state, f"{mend['failure']} [{', '.join(mend['modules'])}]")
    for name, error in answer["extensions"].items():
        yield Row(name, "failed" if error else "ok", error or "", REBUILD_FAIRSEQ if error else "", needed=True)
    for name, error in answer["commands"].items():
        yield _command_row(name, error)
    yield _gpu_row(answer["gpus"])


def _command_row(name, error):
    script = Path(sys.executable).parent / name
    on_path = shutil.which(name)
    if error:
        return Row(name, "failed", error, INSTALL, needed=True)
    if not script.exists():
        return Row(name, "missing", f"no {script}, though its module works", REBUILD_FAIRSEQ, needed=True)
    if on_path is None or not os.path.samefile(on_path, script):
        detail = f"{script}; the PATH leads to {on_path or 'none'}"
        return Row(name, "ok", detail, "activate the environment", needed=True)
    return Row(name, "ok", str(script), needed=True)


def _gpu_row(gpus):
    if gpus:
        return Row("GPU", "ok", "; ".join(gpus))
    if shutil.which("nvidia-smi"):
        return Row("GPU", "none", "torch sees none: a CPU build?", "scripts/install.sh tells how to take a CUDA build")
    return Row("GPU", "none", "training runs on the CPU: give fairseq --cpu")


def optional_rows():
    """Packages that only some commands want."""
    for name, purpose in OPTIONAL.items():
        version = _version(name)
        to_do = "" if version else install_command(name)
        yield Row(name, "ok" if version else "none", version or f"optional: {purpose}", to_do)


def build_rows():
    """What building fairseq from source needs, which happens once, at its installation."""
    checks = {"C++ compiler": build_tools.missing_compiler(), "Python headers": build_tools.missing_headers()}
    for name, line in checks.items():
        yield Row(name, "none" if line else "ok", "" if not line else "only needed to install fairseq", line or "")
