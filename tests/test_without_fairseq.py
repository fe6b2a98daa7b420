"""What works where neither fairseq nor hydra and omegaconf are installed, and what says so in one line."""

import os
import subprocess
import sys

import pytest
from _analysis import finished_run, prepared_corpus

BRIDGE = ("fairseq", "hydra", "omegaconf")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function: run(*arguments, missing=, cwd=) -> CompletedProcess of `labo` in a Python that lacks some packages."""
    folder = tmp_path_factory.mktemp("without")
    # a finder that refuses them, in subprocesses too
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Refuse:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] in os.environ['MISSING'].split():\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refuse)\n"
    )

    def call(*arguments, missing=BRIDGE, cwd=None):
        env = {**os.environ, "PYTHONPATH": str(folder), "MISSING": " ".join(missing)}
        line = [sys.executable, "-m", "labo_fairseq.cli", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, env=env, cwd=cwd)

    return call


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "reference.txt").write_text("a man rides a horse\nthe dog sleeps\ntwo children play football\n")
    (folder / "one.txt").write_text("a man rides a horse\nthe dog sleeps\ntwo boys play football\n")
    (folder / "two.txt").write_text("a man is on a horse\nthe dog is asleep\ntwo children play\n")
    (folder / "source.txt").write_text("ein Mann reitet\nder Hund schläft\nzwei Kinder spielen\n")
    (folder / "dict.txt").write_text("ein 9\nder 8\nzwei 7\nMann 5\nHund 4\nKinder 3\nreitet 2\nschläft 2\nspielen 1\n")
    return folder


SYSTEMS = ["--reference", "reference.txt", "--system", "one=one.txt", "--system", "two=two.txt"]


@pytest.mark.parametrize(
    "arguments, shows",
    [
        (["score", *SYSTEMS], "one\t"),
        (["splits", "--dict", "dict.txt", "--source", "source.txt", *SYSTEMS], "one"),
        (["compare", *SYSTEMS], "horse"),
        (["optimal-smoothing", "--clean-rate", "0.9", "--classes", "10"], "0.9"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_analyses_work(run, texts, arguments, shows):
    done = run(*arguments, cwd=texts)
    assert done.returncode == 0, done.stderr
    assert shows in done.stdout


def test_losses_and_calibration_work():
    code = (
        f"import sys\nfor name in {BRIDGE}: sys.modules[name] = None\n"
        "import torch\nfrom labo_fairseq import calibrate, huggingface, losses\n"
        "z, k = torch.randn(50, 5), torch.randint(5, (50,))\n"
        "print(float(losses.Labo()(z, k)) > 0, calibrate.fit_temperature(z * 5, k) > 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.parametrize("missing", BRIDGE)
def test_what_needs_fairseq_says_so_in_one_line(run, tmp_path, missing):
    done = run("calibrate", tmp_path, "--path", "model.pt", "--out", "out", missing=[missing], cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"labo calibrate: {missing}: is not installed: ") and "pip install" in done.stderr


def test_the_report_works(run, tmp_path):
    pytest.importorskip("matplotlib", reason="the report needs matplotlib")
    corpus = prepared_corpus(tmp_path / "data", 20)
    runs = [finished_run(tmp_path / "runs" / name, corpus, errors) for name, errors in (("a", 0.4), ("b", 0.2))]
    done = run("report", *runs, "--out", tmp_path / "out", "--samples", 20, "--trials", 20)
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
