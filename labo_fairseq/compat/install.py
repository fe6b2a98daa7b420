"""How to install what is missing: one command, the same in every message. Standard library only."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
#: the tested versions: beside the package in a clone, inside it where a wheel was installed (setup.py copies it)
CONSTRAINTS = next(
    (path for path in (_PACKAGE / "constraints.txt", _PACKAGE.parent / "constraints.txt") if path.exists()),
    Path("constraints.txt"),
)
#: fairseq's own pins cannot be met by any current pip, so that it comes without what it wants
INSTALL_FAIRSEQ = "pip install --no-deps fairseq==0.12.2"


def install_command(package: str) -> str:
    """The command that installs a package beside this one, of the tested version.

    It names the package itself and not an extra of this one, so that an editable install stays what it is; the
    constraints keep pip from replacing torch.
    """
    quoted = f"'{package}'" if set(package) & set("[]<>=~! ") else package
    return f"pip install -c {CONSTRAINTS} {quoted}"
