"""Imports go downwards only: each room works without the ones above it and without what they need."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "labo_fairseq"

# room (folder, or module beside them): the rooms that it may import, besides itself. Every room stands below those that
# import it, so that there is no circle; CONTRIBUTING.md has the same table for readers.
ALLOWED = {
    "errors": [],
    "progress": [],
    "files": ["errors"],
    "archives": ["errors"],
    "compat": [],
    "records": ["errors", "files"],
    "measures": [],
    "functional": [],
    "losses": ["errors", "functional"],
    "huggingface": ["errors", "losses"],
    "fairseq_models": ["progress", "errors", "files", "compat", "functional"],
    "calibrate": ["errors", "measures", "functional"],
    "noise": ["errors", "records", "measures"],
    "criterions": ["errors", "compat", "measures", "functional", "fairseq_models", "noise"],
    "optimizers": ["errors"],
    "calibration": ["errors", "files", "measures", "functional", "fairseq_models"],
    "decoding": ["progress", "errors", "compat", "files", "records", "measures", "functional",
                 "fairseq_models", "calibration"],
    "vision": ["progress", "errors", "files", "archives", "compat", "records", "measures", "functional",
               "fairseq_models", "noise"],
    "analysis": ["progress", "errors", "compat", "files", "records", "measures"],
    "figures": ["progress", "errors", "compat", "files", "records", "measures", "analysis"],
    "inside": ["progress", "errors", "records", "measures", "functional", "fairseq_models", "vision"],
    "benchmark": ["progress", "errors", "compat", "functional", "fairseq_models", "vision", "decoding"],
    "data_prep": ["errors", "compat", "files", "archives"],
    "experiment": ["progress", "errors", "files", "compat", "records", "measures", "functional", "fairseq_models",
                   "calibration", "vision", "analysis", "figures", "data_prep"],
}  # fmt: skip
ALLOWED["commands"] = [*ALLOWED, "cli"]  # `labo completion` describes the whole command
ALLOWED["cli"] = ["compat"]  # a command it imports by its name
ALLOWED["recipe"] = ["experiment"]
# by the user's --user-dir: what has to be registered with fairseq
ALLOWED["__init__"] = ["criterions", "optimizers", "decoding", "vision"]


def files():
    """[(path, room, its place as parts of a module's name)] of the package and of data_prep, which lies beside it."""
    found = [(path, path.relative_to(ROOT).with_suffix("").parts[1:]) for path in sorted(PACKAGE.rglob("*.py"))]
    found += [
        (path, path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "data_prep").rglob("*.py"))
    ]
    return [(path, parts[0], parts) for path, parts in found]


def exists(parts):
    """Whether there is such a module or folder in the package."""
    base = ROOT if parts[:1] == ("data_prep",) else PACKAGE
    path = base.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").exists()


def imports(path, parts):
    """[(line, the imported module as parts, names)] of every import of our own, wherever it stands in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found += [(node.lineno, tuple(name[1:]), []) for name in names if name[0] == "labo_fairseq"]
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                module = parts[: len(parts) - node.level] + module
            elif module[0] != "labo_fairseq":
                continue
            else:
                module = module[1:]
            submodules = [alias.name for alias in node.names if exists((*module, alias.name))]
            found += [(node.lineno, (*module, name), []) for name in submodules]
            others = [alias.name for alias in node.names if alias.name not in submodules]
            found += [(node.lineno, module, others)] if others else []
    return found


def crossings():
    """[(path, line, room, imported room, module, names)] of the imports that leave their room."""
    return [
        (path.relative_to(ROOT), line, room, module[0] if module else "__init__", module, names)
        for path, room, parts in files()
        for line, module, names in imports(path, parts)
        if (module[0] if module else "__init__") != room
    ]


def test_every_room_is_known():
    unknown = {room for _, room, _ in files()} - set(ALLOWED)
    assert not unknown, f"add them to ALLOWED, and to the table in CONTRIBUTING.md: {unknown}"
    assert len({room for _, room, parts in files() if len(parts) > 1}) <= 20


def test_what_is_imported_exists():
    missing = [(str(p), line, module) for p, line, _, _, module, _ in crossings() if not exists(module)]
    missing += [
        (str(path.relative_to(ROOT)), line, module)
        for path, _, parts in files()
        for line, module, _ in imports(path, parts)
        if not exists(module)
    ]
    assert not missing


def test_no_import_goes_upwards():
    wrong = [
        f"{path}:{line}: {room} imports {'.'.join(module)}"
        for path, line, room, other, module, names in crossings()
        if other not in ALLOWED[room] and names != ["__version__"] and names != ["register"]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle():
    order = list(ALLOWED)
    wrong = [(room, other) for room in order for other in ALLOWED[room] if order.index(other) > order.index(room)]
    assert not [pair for pair in wrong if pair[0] not in ("commands", "__init__")]


def test_no_arrow_is_allowed_in_vain():
    """A row of the table that nothing needs would let a wrong import in one day."""
    used = {(room, other) for _, _, room, other, _, _ in crossings()}
    spare = [(room, other) for room, others in ALLOWED.items() for other in others if (room, other) not in used]
    assert not [pair for pair in spare if pair[0] != "commands"]


def test_private_names_stay_in_their_room():
    wrong = [
        f"{path}:{line}: {'.'.join(module)}: {', '.join(names)}"
        for path, line, _, _, module, names in crossings()
        if any(map(is_private, (*module, *names)))
    ]
    assert not wrong, "\n".join(wrong)


def test_contributing_has_the_same_table():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(?:labo_fairseq/)?(\w+)(?:/|\.py)?` \|[^|]*\| ([^|]*) \|$", text, re.MULTILINE))
    told = {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in rows.items()}
    wanted = {
        room: set(others) for room, others in ALLOWED.items() if room not in ("commands", "cli", "recipe", "__init__")
    }
    assert {room: told.get(room) for room in wanted} == wanted


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


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


@pytest.mark.parametrize("path", sorted((PACKAGE / "functional").rglob("*.py")), ids=lambda p: p.name)
def test_functional_is_torch_alone(path):
    assert_only(path, "torch", *(["triton"] if path.name == "triton_rows.py" else []))


@pytest.mark.parametrize("module", ["losses", "calibrate", "huggingface"])
def test_modules_for_every_pytorch_program_are_torch_alone(module):
    assert_only(PACKAGE / f"{module}.py", "torch")


@pytest.mark.parametrize("path", sorted((PACKAGE / "measures").rglob("*.py")), ids=lambda p: p.name)
def test_measures_are_numpy_and_scipy(path):
    assert_only(path, "numpy", "scipy", "sacrebleu")


@pytest.mark.parametrize("room", ["analysis", "figures", "records"])
def test_no_torch_where_results_are_read(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        assert not {"torch", "fairseq"} & set(foreign(path)), path


def assert_only(path, *allowed):
    assert set(foreign(path)) <= {*sys.stdlib_module_names, *allowed}, path


def foreign(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
