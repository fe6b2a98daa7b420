"""Numbers of flags that are too small, giant or no numbers: a line of argparse or of ours and exit code 2."""

import pytest
from _analysis import write

from labo_fairseq.cli import SUBCOMMANDS, main, whole_number
from labo_fairseq.commands.numbers import count, seed

DATA = ["nowhere", "--path", "none.pt", "--out", "out"]
GIVEN = {
    "calibrate": DATA,
    "distill-targets": DATA,
    "penultimate": ["run", "--classes", "a", "b", "c", "--out", "out"],
    "mutual-information": ["run", "--classes", "a", "b", "--out", "out"],
    "benchmark": ["step"],
    "optimal-smoothing": ["--clean-rate", "0.8"],
    "padding-calibration": ["nowhere", "--path", "none.pt", "--out", "out"],
    "translate": ["model"],
    "score": ["--reference", "ref", "--system", "a=ref"],
    "splits": ["--dict", "dict", "--source", "ref", "--reference", "ref", "--system", "a=ref"],
    "compare": ["--reference", "ref", "--system", "a=ref", "--system", "b=ref"],
    "confidence": ["--system", "a=gen"],
    "inference-calibration": ["gen"],
    "targets": ["nowhere", "--sentence", "0", "--position", "1"],
}
FLAGS = [
    *((command, "--max-tokens") for command in ("calibrate", "distill-targets", "penultimate", "translate")),
    *(("calibrate", flag) for flag in ("--sweep-beam", "--sweep-beams")),
    ("distill-targets", "--top-k"),
    *(("benchmark", flag) for flag in ("--rows", "--width", "--vocabulary", "--layers", "--repetitions")),
    *(("mutual-information", flag) for flag in ("--images", "--draws")),
    *(("optimal-smoothing", flag) for flag in ("--classes",)),
    *(("translate", flag) for flag in ("--beam", "--nbest", "--batch-size")),
    ("padding-calibration", "--batch-size"),
    ("penultimate", "--points"),
    ("score", "--num-refs"),
    *(("splits", flag) for flag in ("--parts", "--size")),
    ("confidence", "--bins"),
    ("inference-calibration", "--bins"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write(tmp_path / "ref", "a b c d\nb c\n" * 6)
    write(tmp_path / "dict", "a 4\nb 3\nc 2\nd 1\n")
    write(tmp_path / "gen", "S-0\ta\nT-0\ta\nH-0\t-1.0\ta\nD-0\t-1.0\ta\nP-0\t-1.0 -1.0\n")
    monkeypatch.chdir(tmp_path)


def refusal(arguments, capsys):
    """What a command says where it refuses: the last line on standard error."""
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and "Traceback" not in error
    return error.splitlines()[-1]


@pytest.mark.parametrize("value", ["-1", "0", "-99999999999999999999", "2147483648", "9" * 30, "1e3", "nan", "", "½"])
@pytest.mark.parametrize(("command", "flag"), FLAGS)
def test_a_number_that_cannot_be(command, flag, value, folder, capsys):
    line = refusal([command, *GIVEN[command], f"{flag}={value}"], capsys)
    assert line.startswith(f"labo {command}: ") and flag in line and len(line) < 300


@pytest.mark.parametrize("value", ["-1", "9" * 30, "4294967296", "0.5"])
@pytest.mark.parametrize("command", ["calibrate", "score", "splits", "compare"])
def test_a_seed_that_cannot_be(command, value, folder, capsys):
    more = ["--significance", "bootstrap", "--system", "b=ref"] if command in ("score", "splits") else []
    line = refusal([command, *GIVEN[command], *more, f"--seed={value}"], capsys)
    assert line.startswith(f"labo {command}: ") and "--seed" in line


def test_numbers_that_can_be():
    assert [count("1"), count(" 7 "), count("2147483647"), seed("0"), whole_number("-5")] == [1, 7, 2147483647, 0, -5]


def test_every_command_of_these_is_one():
    assert GIVEN.keys() <= set(SUBCOMMANDS)
