"""scripts/evaluate_bleu.sh and scripts/frequency_splits.sh, with a stand-in for fairseq-generate."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from _analysis import ROOT, finished_run, labo, prepared_corpus, write

GENERATE = '#!/bin/sh\necho "$@" >>calls\ncat log\n'


@pytest.fixture
def folder(tmp_path):
    """A corpus `data`, translations `ls.txt`, a `model.pt`, and a fairseq-generate that prints `log`."""
    corpus = prepared_corpus(tmp_path / "data")
    for name, errors in (("ls", 0.3), ("labo", 0.2)):
        finished_run(tmp_path / name, corpus, errors, seed=len(name))
    (tmp_path / "ls/generate-test.txt").rename(tmp_path / "ls.txt")
    (tmp_path / "labo/generate-test.txt").rename(tmp_path / "log")
    write(tmp_path / "model.pt", "")
    (tmp_path / "bin").mkdir()
    write(tmp_path / "bin/fairseq-generate", GENERATE)
    write(tmp_path / "bin/labo", f'#!/bin/sh\nexec "{sys.executable}" -m labo_fairseq.cli "$@"\n')
    write(tmp_path / "bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for path in (tmp_path / "bin").iterdir():
        path.chmod(0o755)
    return tmp_path


def script(name, *arguments, cwd, **environment):
    path = f"{Path(cwd) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment}
    command = ["bash", str(ROOT / "scripts" / f"{name}.sh"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8")


SYSTEMS = ("--system", "ls=ls.txt", "--system", "labo=runs/evaluation/labo/generate-test.txt")


def test_bleu_from_a_checkpoint_and_a_translation(folder):
    result = script("evaluate_bleu", "data", "ls=ls.txt", "labo=model.pt", "--", "--lenpen", "0.6", cwd=folder)
    assert result.returncode == 0, result.stderr
    call = (folder / "calls").read_text()
    assert call.startswith("data/bin --task translation --source-lang de --target-lang en --path model.pt --beam 5")
    assert call.endswith("--remove-bpe --tokenizer moses --lenpen 0.6\n")
    first, second = result.stdout.split("\n\n")
    arguments = ("--lowercase", "--significance", "both", *SYSTEMS)
    assert first + "\n" == labo("score", "--reference", "data/raw/test.en", *arguments, cwd=folder).stdout
    expected = labo("score", "--compound-split", "--reference", "data/tok/test.en", *arguments, cwd=folder).stdout
    assert second == expected
    # a second call translates again: the checkpoint may be another one by now
    script("evaluate_bleu", "data", "labo=model.pt", cwd=folder)
    assert len((folder / "calls").read_text().splitlines()) == 2


def test_frequency_splits(folder):
    result = script("frequency_splits", "data", "ls=ls.txt", "labo=model.pt", cwd=folder, OUT="elsewhere")
    assert result.returncode == 0, result.stderr
    assert (folder / "elsewhere/labo/generate-test.txt").exists()
    for title in ("# BLEU by split", "# word F1", "# probabilities of the chosen tokens"):
        assert title in result.stdout


def test_dry_run_shows_the_commands_and_does_nothing(folder):
    result = script("frequency_splits", "data", "labo=model.pt", cwd=folder, DRY_RUN="1")
    assert result.returncode == 0 and result.stdout.strip() == ""
    commands = result.stderr.splitlines()
    assert [line.split()[:2] for line in commands] == [["python", "-m"], ["labo", "splits"], ["labo", "confidence"]]
    assert not (folder / "runs").exists() and not (folder / "calls").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data"], "evaluate_bleu: no system"),
        (["data", "model.pt"], "evaluate_bleu: model.pt: must read NAME=FILE"),
        (["data", "a=none.pt"], "evaluate_bleu: none.pt: no such file"),
        (["bin", "a=ls.txt"], "evaluate_bleu: bin/manifest.json: No such file"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(folder, arguments, message):
    result = script("evaluate_bleu", *arguments, cwd=folder)
    assert result.returncode == 2 and result.stderr.startswith(message) and len(result.stderr.splitlines()) == 1


def test_help(folder):
    result = script("evaluate_bleu", "--help", cwd=folder)
    assert result.returncode == 0 and result.stdout.startswith("usage: scripts/evaluate_bleu.sh DATA")
    assert script("frequency_splits", cwd=folder).returncode == 2


def test_a_failed_translation_leaves_no_file(folder):
    write(folder / "bin/fairseq-generate", "#!/bin/sh\ncat log\nexit 3\n")
    result = script("evaluate_bleu", "data", "labo=model.pt", cwd=folder)
    assert result.returncode == 1 and "exit code 3" in result.stderr and result.stdout == ""
    assert not (folder / "runs/evaluation/labo/generate-test.txt").exists()
