"""F26: torchvision beside a CPU-only torch; and what a user without torchvision is told."""

import subprocess
import sys
from pathlib import Path

import pytest
from _vision import needs_torchvision

import labo_fairseq

USER_DIR = Path(labo_fairseq.__file__).parent
BLOCKED = "import sys; sys.modules['torchvision'] = None\n"


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@needs_torchvision
def test_f21_is_mended_only_where_it_is_there():
    """The plain import fails as the docstring says, or the operators are there already and nothing is declared."""
    done = run_python(
        "from labo_fairseq.compat import torchvision_ops\n"
        "try:\n"
        "    import torchvision.models, torchvision.transforms.v2\n"
        "    plain = 'works'\n"
        "except RuntimeError as error:\n"
        "    plain = str(error)\n"
        "module = torchvision_ops.import_torchvision()\n"
        "from torchvision.transforms import v2\n"
        "from torchvision import datasets\n"
        "import torch\n"
        "assert module.models.resnet18().eval()(torch.rand(1, 3, 32, 32)).shape == (1, 1000)\n"
        "assert torchvision_ops.import_torchvision() is module\n"
        "print(plain, '|', len(torchvision_ops._libraries))\n"
    )
    assert done.returncode == 0, done.stderr
    plain, declared = done.stdout.strip().split(" | ")
    assert (plain, declared) in {("works", "0"), ("operator torchvision::nms does not exist", "1")}


def test_any_other_error_of_the_import_comes_through(monkeypatch):
    from labo_fairseq.compat import torchvision_ops

    def broken(name):
        raise RuntimeError("something else")

    monkeypatch.setattr(torchvision_ops.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="something else"):
        torchvision_ops.import_torchvision()


def test_without_torchvision_all_is_registered_and_the_task_says_what_to_install():
    flags = "--task torchvision_classification --image-dataset digits --arch two_conv --batch-size 8 --cpu"
    done = run_python(
        f"{BLOCKED}sys.argv = ['fairseq-train', '--user-dir', {str(USER_DIR)!r}, *'{flags}'.split()]\n"
        "from fairseq_cli.train import cli_main; cli_main()"
    )
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "needs torchvision, which is not installed: pip install -c " in line and line.endswith(
        "constraints.txt torchvision"
    )
    assert "Traceback" not in done.stderr
