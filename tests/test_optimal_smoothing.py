"""`labo optimal-smoothing`: the printed numbers, the files, mistakes."""

import json

import pytest
import torch

from labo_fairseq import cli
from labo_fairseq.noise.transition import pair, read_matrix


def rows(capsys, *args):
    assert cli.main(["optimal-smoothing", *map(str, args), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_numbers_of_beta_type(capsys, run_cli):
    (row,) = rows(capsys, "--type", "beta", "--clean-rate", 0.8, "--classes", 10)
    p = (1 - 1.6 + 0.64 * 10) / 9
    assert row["p"] == pytest.approx(p)
    assert row["fairseq"] == pytest.approx(1 - p) and row["torch"] == pytest.approx((1 - p) * 10 / 9)
    done = run_cli("labo", "optimal-smoothing", "--clean-rate", 0.8, "--classes", 10)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    heading = "type/smoothing/clean rate/classes/p/α torch/ε fairseq/ε joeynmt/loss"
    assert lines[1] == heading.split("/")
    assert lines[2] == "alpha uniform 0.8000 10 0.8000 0.2222 0.2000 0.2000 0.9398".split()
    assert lines[3][4] == "0.6444"


def test_a_matrix_is_at_least_as_good_as_uniform_smoothing(capsys, tmp_path):
    file, out = tmp_path / "t.txt", tmp_path / "out"
    file.write_text("".join(" ".join(map(str, row)) + "\n" for row in pair(4, 0.3).tolist()))
    found = rows(capsys, "--transition", file, "--out", out)
    loss = {(row["type"], row["smoothing"]): row["loss"] for row in found}
    for kind in ("alpha", "beta"):
        assert loss[kind, "matrix"] < loss[kind, "uniform"]
    torch.testing.assert_close(read_matrix(out / "matrix.alpha.txt", 4), pair(4, 0.3).T)
    names = ("landscape.png", "optimum.png", "optimum_classes.png", "optimal.tsv", "matrix.beta.txt")
    assert all((out / name).stat().st_size for name in names)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--clean-rate 1.2 --classes 10", "--clean-rate: 1.2 is out of range"),
        ("--clean-rate 0.9 --classes 1", "--classes: 1: label noise needs 2 or more"),
        ("--clean-rate 0.9", "--clean-rate, --classes: both are needed"),
        ("--clean-rate 0.9 --transition t.txt", "--transition: holds the clean rate"),
    ],
)
def test_mistakes_are_one_line(capsys, args, message):
    assert cli.main(["optimal-smoothing", *args.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
