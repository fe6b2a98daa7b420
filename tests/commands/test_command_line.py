"""The command `labo` itself: its overview, versions, completion, and what every parser has in common."""

import argparse
import ast
import importlib.metadata
import subprocess
from pathlib import Path

import pytest

from labo_fairseq import cli
from labo_fairseq.cli import SUBCOMMANDS, main
from labo_fairseq.compat.install import install_command
from labo_fairseq.files import PACKAGE

ROOT = Path(__file__).parents[2]


def parsers(parser):
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_no_flag_can_be_abbreviated(name):
    """--tokenize is not --tokenized."""
    _, parser = cli.command(name)
    assert all(one.allow_abbrev is False for one in parsers(parser))


@pytest.mark.parametrize(
    "line, near",
    [
        ("score --sytem a=b --reference r", "--sytem: did you mean --system?"),
        ("score --signifcance both --reference r --system a=b", "--signifcance: did you mean --significance?"),
        ("scor", "scor: did you mean score?"),
        ("prepare file", "file: did you mean files?"),
        ("experiment run x --jbos=2", "--jbos: did you mean --jobs?"),
        ("calibrate data --path x --calibrator temprature", "temprature: did you mean temperature?"),
    ],
)
def test_a_typo_is_named_with_what_was_meant(capsys, line, near):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2 and capsys.readouterr().err.splitlines()[-1].endswith(f"; {near}")


def test_no_other_parser_takes_abbreviations():
    """Of the modules that scripts call, and of the examples: every ArgumentParser says so."""
    calls = [
        (path, node)
        for folder in ("labo_fairseq", "data_prep", "examples", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("ArgumentParser", "add_parser")
    ]
    assert len(calls) > 8
    for path, call in calls:
        # parsers below a cli.Parser are of its class
        if "commands" not in path.parts:
            flags = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
            assert flags.get("allow_abbrev", True) is False, f"{path}:{call.lineno}"


def test_the_overview_is_grouped_by_subject(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    places = [out.index(f"\n{subject}") for subject in ("text:", "calibration:", "images:", "research:")]
    assert places == sorted(places) and all(out.count(f"\n  {name} ") == 1 for name in SUBCOMMANDS)


def test_the_version_tells_that_of_fairseq_torch_and_sacrebleu(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert end.value.code == 0 and list(lines) == ["labo_fairseq", "fairseq", "torch", "sacrebleu"]
    assert all(lines[name] == importlib.metadata.version(name) for name in lines)


def test_the_user_dir_is_the_package(capsys):
    assert main(["user-dir"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == PACKAGE and (folder / "criterions/labo.py").exists()


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Function: what bash would complete a line with, whose last word may be empty."""
    pytest.importorskip("shtab")
    from shtab import complete

    from labo_fairseq.commands.completion import parser_of_all

    script = tmp_path_factory.mktemp("completion") / "labo.bash"
    script.write_text(complete(parser_of_all(), "bash"))
    program = (
        f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_labo; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )

    def completed(*words, cwd="/"):
        done = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, encoding="utf-8", cwd=cwd)
        return set(done.stdout.split())

    return completed


def test_bash_completes_subcommands_flags_choices_and_files(bash, tmp_path):
    (tmp_path / "reference.en").touch()
    assert {*SUBCOMMANDS} <= bash("labo", "")
    assert bash("labo", "cal") == {"calibrate"}
    assert {"--tokenize", "--tokenized"} <= bash("labo", "score", "--tok")
    assert {"bootstrap", "randomization", "both"} <= bash("labo", "score", "--significance", "")
    assert bash("labo", "noise", "est") == {"estimate"}
    assert bash("labo", "splits", "--source", "ref", cwd=tmp_path) == {"reference.en"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_is_printed(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "inference-calibration" in out and ("#compdef labo" in out) == (shell == "zsh")


def test_completion_without_shtab_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert install_command("shtab") in capsys.readouterr().err
