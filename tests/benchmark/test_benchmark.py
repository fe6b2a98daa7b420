"""labo benchmark: every candidate runs, the table is whole, memory and gradient error are measured."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from _vision import needs_torchvision

from labo_fairseq.cli import main

SMALL = ["--rows", 64, "--width", 16, "--vocabulary", 300, "--repetitions", 2, "--threads", 1]


def refused(*arguments):
    """The exit code of `labo benchmark` in this process."""
    try:
        return main(["benchmark", *map(str, arguments)])
    except SystemExit as end:  # argparse's
        return end.code


def benchmark(*arguments):
    command = [sys.executable, "-m", "labo_fairseq.cli", "benchmark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_loss_is_there_fused_and_dense():
    done = benchmark("loss", *SMALL, "--no-memory", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = {row["candidate"]: row for row in result["rows"]}
    assert rows["fairseq label_smoothed_cross_entropy"]["ratio"] == 1
    for name in ("labo adaptive", "label smoothing unigram", "focal", "generalized entropy", "r-drop labo adaptive"):
        assert rows[f"fused {name}"]["gradient_error"] < 3e-6 and rows[f"dense {name}"]["median_ms"] > 0
    assert {"floor: three products", "labo as the paper writes it", "F.cross_entropy label_smoothing"} <= rows.keys()
    assert result["setting"]["threads"] == 1 and result["setting"]["torch"]


@pytest.mark.slow
def test_memory_and_table():
    done = benchmark("loss", *SMALL, "--only", "fused labo fixed", "--matmul-bf16")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines[1:]] == [
        "fairseq label_smoothed_cross_entropy",
        "fused labo fixed",
        "fused labo fixed, bf16 products",
    ]
    assert {len(line) for line in lines} == {7} and float(lines[2][5]) >= 0


def test_half_precision_beside_float32():
    flags = ["--dtype", "bfloat16", "--only", "labo adaptive", "float32", "--no-memory", "--json"]
    done = benchmark("loss", *SMALL, *flags)
    assert done.returncode == 0, done.stderr
    rows = {row["candidate"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["fused labo adaptive in float32"]["gradient_error"] < 3e-6
    assert 1e-4 < rows["fused labo adaptive"]["gradient_error"] < 0.02
    assert rows["fairseq label_smoothed_cross_entropy in float32"]["median_ms"] > 0


@pytest.mark.slow
def test_steps():
    done = benchmark("step", *SMALL, "--layers", 1, "--json")
    assert done.returncode == 0, done.stderr
    names = [row["candidate"] for row in json.loads(done.stdout)["rows"]]
    assert "labo adaptive, fused" in names and "labo adaptive, dense" in names


@pytest.mark.slow
def test_steps_in_half_precision_beside_float32():
    done = benchmark("step", *SMALL, "--layers", 1, "--dtype", "bfloat16", "--clock", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = {row["candidate"]: row["ratio"] for row in result["rows"]}
    assert rows["fairseq label_smoothed_cross_entropy"] == 1 and result["setting"]["clock"] == "cpu"
    assert {"labo adaptive, fused, torch_adam", "labo adaptive, fused in float32"} <= rows.keys()
    assert "fairseq label_smoothed_cross_entropy in float32" in rows


@pytest.mark.slow
def test_the_profile_of_a_step_adds_up():
    done = benchmark("step", *SMALL, "--layers", 1, "--profile", "--only", "labo adaptive", "--json")
    assert done.returncode == 0, done.stderr
    tables = {}
    for row in json.loads(done.stdout)["rows"]:
        tables.setdefault(row["candidate"], {})[row["module"]] = row
    for name, table in tables.items():
        total = table.pop("all")
        assert total["share"] == pytest.approx(100)
        kinds = [key for key in total if key not in ("candidate", "module", "share")]
        for row in table.values():
            assert row["share"] == pytest.approx(sum(row[kind] for kind in kinds))
        # every part of a Transformer and of a step is there, and products are where they must be
        parts = {"attention", "feed-forward", "projection and loss", "layer norms", "embeddings", "optimizer"}
        assert parts <= table.keys(), name
        for part in ("attention", "feed-forward", "projection and loss"):
            assert table[part]["matrix products"] > 0, (name, part)
        assert table["optimizer"]["matrix products"] == table["layer norms"]["matrix products"] == 0
        assert table["layers: rest"]["dropout"] == pytest.approx(total["dropout"]) and total["dropout"] > 0


@needs_torchvision
@pytest.mark.slow
def test_image_updates():
    flags = ["--batch-size", 64, "--repetitions", 2, "--threads", 1, "--arch", "fully_connected"]
    done = benchmark("images", *flags, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["candidate"]: row for row in json.loads(done.stdout)["rows"]}
    # every method that LABO's Table 3 compares, and what is asked beside them
    assert len(rows) == 11 and rows["cross entropy"]["ratio"] == 1
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows.values())


@needs_torchvision
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--arch", "resnet99"], "--arch: resnet99: "),
        (["--image-dataset", "numbers"], "--image-dataset: numbers: "),
        (["--only", "nothing"], "--only nothing: no such candidate"),
    ],
)
def test_bad_image_settings(capsys, arguments, message):
    levels = [logging.getLogger(package).level for package in ("fairseq", "labo_fairseq")]
    assert refused("images", *arguments) == 2
    assert message in capsys.readouterr().err
    # the information that other code of the process logs is left alone
    assert [logging.getLogger(package).level for package in ("fairseq", "labo_fairseq")] == levels


def test_the_interval_of_a_median_holds_it_19_times_of_20():
    from labo_fairseq.benchmark.images import median_interval

    rng = np.random.default_rng(1)
    samples = rng.exponential(size=(2000, 30))
    held = [low <= np.log(2) <= high for low, high in map(median_interval, samples)]
    # binomial: 30 fair coins lie in the ranks with 95.7 %
    assert 0.94 < np.mean(held) < 0.975


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["loss", "--only", "nothing"], "--only nothing: no such candidate"),
        (["loss", "--repetitions", 0], "--repetitions: 0"),
        (["loss", "--rows", -1], "--rows: -1"),
        (["loss", "--device", "cuda"], "--device cuda"),
    ],
)
def test_bad_settings(capsys, arguments, message):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert refused(*arguments) == 2
    assert message in capsys.readouterr().err
