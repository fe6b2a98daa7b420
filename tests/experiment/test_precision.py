"""`train: {precision: auto}`: chosen by what the machine has, kept in the cell, said aloud."""

import json
from pathlib import Path

import pytest
import torch

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError
from labo_fairseq.experiment import cells, precision, spec


@pytest.fixture(autouse=True)
def forget():
    """Choices are kept for the process."""
    precision.chosen.cache_clear()
    yield
    precision.chosen.cache_clear()


@pytest.fixture
def cpu(monkeypatch):
    """Function: cpu(**capabilities) makes torch tell of them."""
    return lambda **has: monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)


@pytest.fixture
def gpu(monkeypatch):
    """Function: gpu(bf16) makes torch see a GPU with or without bfloat16."""

    def see(bf16):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bf16 is not None)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation
        )

    return see


def command(content, write, folder, on_cpu=True):
    """fairseq-train of the first cell, as it begins in a folder."""
    cell = cells.first_cells(spec.read(write(content)))[0]
    folder.mkdir(exist_ok=True)
    return cells.claim(folder, cell, on_cpu), cell.train(on_cpu)


@pytest.mark.parametrize(
    ("has", "wanted", "reason"),
    [
        ({"avx512_bf16": True}, "bf16", "this CPU has AVX512-BF16"),
        ({"amx_bf16": True}, "bf16", "this CPU has AMX"),
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16", "AVX512-BF16 and AMX"),
        ({"avx512_f": True, "avx512_bf16": False}, "float32", "neither AVX512-BF16 nor AMX"),
        ({}, "float32", "neither"),  # another architecture
    ],
)
def test_a_cpu(cpu, has, wanted, reason):
    cpu(**has)
    chosen, why = precision.chosen("auto", True)
    assert chosen == wanted and reason in why


@pytest.mark.parametrize(("bf16", "wanted"), [(True, "bf16"), (False, "float32"), (None, "float32")])
def test_a_gpu(cpu, gpu, bf16, wanted):
    cpu(avx512_bf16=True)  # says nothing about the GPU
    gpu(bf16)
    assert precision.chosen("auto", False)[0] == wanted


def test_an_older_torch_tells_nothing(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.chosen("auto", True)[0] == "float32"


@pytest.mark.parametrize("asked", ["bf16", "float32"])
def test_what_is_asked_for_is_taken(cpu, asked):
    cpu(avx512_bf16=asked == "float32")
    assert precision.chosen(asked, True)[0] == asked


def test_the_flag_and_the_record(content, write, cpu, tmp_path):
    cpu(avx512_bf16=True)
    content["train"]["precision"] = "auto"
    note, line = command(content, write, tmp_path / "cell")
    assert note is None and "--bf16" in line and "--precision" not in line
    assert json.loads((tmp_path / "cell/command.json").read_text()) == line
    record = json.loads((tmp_path / "cell/precision.json").read_text())
    assert record == {"precision": "bf16", "asked": "auto", "reason": "this CPU has AVX512-BF16"}


def test_without_the_key_nothing_changes(content, write, cpu, tmp_path):
    cpu(avx512_bf16=True)
    _, line = command(content, write, tmp_path / "cell")
    assert "--bf16" not in line and not (tmp_path / "cell/precision.json").exists()


@pytest.mark.parametrize(("begun", "here"), [({"avx512_bf16": True}, {}), ({}, {"avx512_bf16": True})])
def test_a_cell_goes_on_in_its_precision_on_another_machine(content, write, cpu, tmp_path, begun, here):
    content["train"]["precision"] = "auto"
    cpu(**begun)
    _, before = command(content, write, tmp_path / "cell")
    precision.chosen.cache_clear()
    cpu(**here)
    note, after = command(content, write, tmp_path / "cell")
    assert after == before  # otherwise it would be another experiment's
    kept, other = ("bf16", "float32") if begun else ("float32", "bf16")
    assert f"began in {kept}" in note and f"here it would be {other}, because " in note and "\n" not in note


def test_another_precision_asked_for_is_another_experiment(content, write, cpu, tmp_path):
    cpu(avx512_bf16=True)
    content["train"]["precision"] = "auto"
    command(content, write, tmp_path / "cell")
    content["train"]["precision"] = "float32"
    with pytest.raises(UserError, match="belongs to another experiment"):
        command(content, write, tmp_path / "cell")


@pytest.mark.parametrize("damaged", ["", "[]", '{"precision": 3}', '{"precision": "int8"}', "\x00"])
def test_a_damaged_record_is_no_choice(content, write, cpu, tmp_path, damaged):
    cpu()
    content["train"]["precision"] = "auto"
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/precision.json").write_text(damaged)
    assert "--bf16" not in command(content, write, tmp_path / "cell")[1]


def test_the_dry_run_says_it(content, write, cpu, capsys):
    cpu(amx_bf16=True)
    content["train"]["precision"] = "auto"
    assert main(["experiment", "run", str(write(content)), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "# precision bf16: this CPU has AMX"
    trained = [line for line in lines if line.startswith("fairseq-train")]
    assert len(trained) == 4 and all(" --bf16 " in line for line in trained)


@pytest.mark.parametrize(
    ("where", "flags", "key"),
    [
        ("train", {"precision": "half"}, "train.precision"),
        ("train", {"precision": True}, "train.precision"),
        ("train", {"precision": "auto", "bf16": True}, "train.bf16"),
        ("train", {"precision": "float32", "memory-efficient-fp16": True}, "train.memory-efficient-fp16"),
        ("labo", {"precision": "auto"}, "methods.labo.precision"),
    ],
)
def test_mistakes(content, write, where, flags, key):
    (content["train"] if where == "train" else content["methods"][where]).update(flags)
    file = write(content)
    with pytest.raises(UserError) as caught:
        spec.read(file)
    assert str(caught.value).startswith(f"{Path(file)}: {key}: ")


def test_a_method_with_a_precision_of_its_own_beside_it(content, write):
    content["train"]["precision"] = "auto"
    content["methods"]["labo"]["fp16"] = True
    with pytest.raises(UserError, match=r"methods\.labo\.fp16: is chosen by `precision`"):
        spec.read(write(content))
