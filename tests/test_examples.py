"""The example scripts run, and learn; tests/test_huggingface.py has Hugging Face's."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# torchmetrics, which Lightning imports, imports torchvision, and that needs our mend beside a CPU-only torch
RUN = """
import importlib.util, runpy, sys
from labo_fairseq.compat.torchvision_ops import import_torchvision
if importlib.util.find_spec("torchvision"):
    import_torchvision()
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(script, *arguments):
    line = [sys.executable, "-c", RUN, EXAMPLES / script, *arguments]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_plain_loop():
    """Guessing among 1,000 words costs log 1000 = 6.9 nats."""
    assert float(re.search(r"cross entropy (.*)", run("plain_loop.py"))[1]) < 4


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="lightning is not installed: pip install '.[dev]'"
)
def test_lightning():
    """1,347 digits in batches of 64 are 22 updates an epoch; ten classes, so that guessing is right once in ten."""
    out = run("lightning_module.py", "--epochs", 3)
    updates, accuracy, ece, temperature = re.search(
        r"updates (\d+)  accuracy (.*)  ece (.*)  temperature (.*)", out
    ).groups()
    assert int(updates) == 66 and float(accuracy) > 0.8
    assert 0 < float(ece) < 1 and 0.01 < float(temperature) < 10


@pytest.mark.slow
def test_the_optimizers_are_timed():
    heading, *rows = [line.split("\t") for line in run("benchmark_kernels.py", "adam", "--repetitions", 1).splitlines()]
    assert heading == ["optimizer", "ms", "ratio"] and [row[0] for row in rows][:2] == ["adam", "torch_adam"]
    assert rows[0][2] == "1.00" and all(float(row[1]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("table, first", [("row-pass", "bfloat16 to float32"), ("calibrator", "log-softmax")])
def test_single_operations_are_timed(table, first):
    heading, *rows = [line.split("\t") for line in run("benchmark_kernels.py", table, "--repetitions", 1).splitlines()]
    assert heading == ["operation", "least microseconds"] and rows[0][0] == first
    assert all(float(row[1]) > 0 for row in rows)
