"""Every message about a missing package names one command: constrained, and nothing of it touches this package."""

import re
import shlex
from pathlib import Path

import pytest

from labo_fairseq.compat import install

CLONE = Path(__file__).parents[2]
HINT = re.compile(r"pip install[^\n`\"]*")


@pytest.mark.parametrize("package", ["matplotlib", "sacrebleu[ja]", "torch>=2.6", "hydra-core>=1.3,<1.4"])
def test_the_command_can_be_pasted(package):
    words = shlex.split(install.install_command(package))
    assert words == ["pip", "install", "-c", str(CLONE / "constraints.txt"), package]
    assert Path(words[3]).is_file()


def test_no_other_command_stands_anywhere_in_the_code():
    """`.[extra]` makes an editable install a copy, and a bare name lets pip replace torch."""
    wrong = []
    for path in [*(CLONE / "labo_fairseq").rglob("*.py"), *(CLONE / "data_prep").rglob("*.py")]:
        for line in path.read_text(encoding="utf-8").splitlines():
            for hint in HINT.findall(line):
                known = hint.startswith(("pip install --no-deps", "pip install -c {CONSTRAINTS}", "pip install -c …"))
                if not known and path.name != "build_tools.py":
                    wrong.append(f"{path.relative_to(CLONE)}: {hint}")
    assert not wrong


def test_nor_in_the_documentation():
    """The docs stand in the clone, so that the file needs no folder; `pip install labo_fairseq` is the package."""
    wrong = [
        f"{path.name}: {hint}"
        for path in (CLONE / "docs").glob("*.md")
        for hint in HINT.findall(path.read_text(encoding="utf-8"))
        if not re.match(r"pip install(?:$| -c constraints\.txt \S| --target| labo_fairseq$| --no-deps)", hint.strip())
    ]
    assert not wrong
