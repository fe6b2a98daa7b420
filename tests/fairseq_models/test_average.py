"""`labo average` beside fairseq's own script, whose text is small enough to be written out here as a formula."""

import argparse
import pickle

import pytest
import torch

from labo_fairseq.cli import main
from labo_fairseq.commands.average import average_checkpoints, last_checkpoints
from labo_fairseq.errors import UserError


def checkpoint(path, seed, dtype=torch.float32, **more):
    generator = torch.Generator().manual_seed(seed)
    tied = torch.randn(7, 5, generator=generator).to(dtype)
    model = {
        "encoder.embed_tokens.weight": tied,
        "decoder.embed_tokens.weight": tied,
        "decoder.fc.weight": torch.randn(3, 5, generator=generator).to(dtype),
        "steps": torch.tensor([seed, -seed]),
        **more,
    }
    cfg = {"model": argparse.Namespace(arch="transformer")}
    torch.save({"model": model, "cfg": cfg, "extra_state": {"epoch": seed}}, path)
    return path


def as_fairseq_does(paths):
    """scripts/average_checkpoints.py: float16 as float32, others in their own type, integers with floor division."""
    total = {}
    for path in paths:
        for name, tensor in torch.load(path, weights_only=False)["model"].items():
            tensor = tensor.float() if tensor.dtype == torch.float16 else tensor
            total[name] = total[name] + tensor if name in total else tensor.clone()
    return {n: t / len(paths) if t.is_floating_point() else t // len(paths) for n, t in total.items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_numbers_of_fairseqs_script(tmp_path, dtype):
    paths = [checkpoint(tmp_path / f"checkpoint{i}.pt", i, dtype) for i in (3, 2, 1)]
    output = tmp_path / "average.pt"
    assert main(["average", "--inputs", *map(str, paths), "--output", str(output)]) == 0
    found = torch.load(output, weights_only=False)
    wanted = as_fairseq_does(paths)
    assert list(found["model"]) == list(wanted)
    for name, tensor in wanted.items():
        assert found["model"][name].dtype == tensor.dtype
        assert torch.equal(found["model"][name], tensor), name
    assert found["extra_state"] == {"epoch": 3}
    assert found["cfg"]["model"].arch == "transformer"


def test_bfloat16_is_summed_as_float32(tmp_path):
    paths = [checkpoint(tmp_path / f"{i}.pt", i, torch.bfloat16) for i in (1, 2, 3)]
    found = average_checkpoints(paths)["model"]["decoder.fc.weight"]
    wanted = sum(torch.load(path, weights_only=False)["model"]["decoder.fc.weight"].float() for path in paths) / 3
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_tied_parameters_share_memory(tmp_path):
    paths = [checkpoint(tmp_path / f"{i}.pt", i) for i in (1, 2)]
    output = tmp_path / "average.pt"
    main(["average", "--inputs", *map(str, paths), "--output", str(output)])
    model = torch.load(output, weights_only=False)["model"]
    first, second = model["encoder.embed_tokens.weight"], model["decoder.embed_tokens.weight"]
    assert first.data_ptr() == second.data_ptr()
    assert model["decoder.fc.weight"].data_ptr() != first.data_ptr()


def test_tied_in_one_file_only(tmp_path):
    tied = checkpoint(tmp_path / "tied.pt", 1)
    untied = checkpoint(tmp_path / "untied.pt", 2, **{"decoder.embed_tokens.weight": torch.zeros(7, 5)})
    model = average_checkpoints([tied, untied])["model"]
    wanted = as_fairseq_does([tied, untied])
    for name in wanted:
        assert torch.equal(model[name], wanted[name]), name


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--num-epoch-checkpoints", "2"], ["checkpoint10.pt", "checkpoint9.pt"]),
        (["--num-epoch-checkpoints", "1", "--checkpoint-upper-bound", "9"], ["checkpoint9.pt"]),
        (["--num-update-checkpoints", "2"], ["checkpoint_2_1000.pt", "checkpoint_1_900.pt"]),
    ],
)
def test_the_last_ones_of_a_folder(tmp_path, capsys, flags, wanted):
    for name in ("checkpoint8", "checkpoint9", "checkpoint10", "checkpoint_best", "checkpoint_1_900"):
        checkpoint(tmp_path / f"{name}.pt", 1)
    checkpoint(tmp_path / "checkpoint_2_1000.pt", 1)
    assert main(["average", "--inputs", str(tmp_path), *flags, "--output", str(tmp_path / "out.pt")]) == 0
    assert capsys.readouterr().err.split("\n")[:-1] == [f"averaged {tmp_path / name}" for name in wanted]


def test_too_few(tmp_path):
    checkpoint(tmp_path / "checkpoint1.pt", 1)
    with pytest.raises(UserError, match="has 1 epoch checkpoints, not 2"):
        last_checkpoints(tmp_path, "epoch", 2)


class Code:
    def __reduce__(self):
        return (print, ("code was run",))


def damaged(folder):
    """{name: (file to average with a good one, what the message says)}."""
    good = checkpoint(folder / "good.pt", 1)
    torch.save({"model": {"w": torch.zeros(2)}, "extra_state": Code()}, folder / "code.pt")
    (folder / "cut.pt").write_bytes(good.read_bytes()[:900])
    (folder / "text.pt").write_text("no checkpoint\n")
    (folder / "pickle.pt").write_bytes(pickle.dumps([1]))
    torch.save([torch.zeros(2)], folder / "list.pt")
    checkpoint(folder / "more.pt", 1, extra=torch.zeros(1))
    checkpoint(folder / "shape.pt", 1, **{"decoder.fc.weight": torch.zeros(4, 5)})
    return {
        "code.pt": "contains code",
        "cut.pt": "damaged or cut short",
        "text.pt": "text.pt: ",
        "pickle.pt": "pickle.pt: ",
        "list.pt": "holds no parameters",
        "more.pt": "has no parameter extra",
        "shape.pt": "(4, 5)",
        "missing.pt": "no such file",
    }


@pytest.mark.parametrize("order", [1, -1])
def test_bad_files_are_one_line(tmp_path, capsys, order):
    for name, reason in damaged(tmp_path).items():
        inputs = [str(tmp_path / "good.pt"), str(tmp_path / name)][::order]
        assert main(["average", "--inputs", *inputs, "--output", str(tmp_path / "out.pt")]) == 2, name
        out, err = capsys.readouterr()
        assert reason in err and err.count("\n") == 1, err
        assert not out
        assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--num-epoch-checkpoints", "0"], "must be 1 or more"),
        (["--checkpoint-upper-bound", "3"], "needs --num-epoch-checkpoints"),
        (["--num-update-checkpoints", "1"], "has 0 update checkpoints"),
    ],
)
def test_bad_flags(tmp_path, capsys, flags, reason):
    assert main(["average", "--inputs", str(tmp_path), *flags, "--output", str(tmp_path / "out.pt")]) == 2
    assert reason in capsys.readouterr().err


def test_an_output_that_cannot_be_written(tmp_path, capsys):
    path = str(checkpoint(tmp_path / "1.pt", 1))
    assert main(["average", "--inputs", path, "--output", str(tmp_path / "nowhere" / "out.pt")]) == 2
    assert "--output" in capsys.readouterr().err


def test_no_file_is_left_where_saving_fails(tmp_path, monkeypatch):
    path = str(checkpoint(tmp_path / "1.pt", 1))

    def full(state, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert main(["average", "--inputs", path, "--output", str(tmp_path / "out.pt")]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.pt"]


@pytest.mark.parametrize(
    "files, flags, advice",
    [
        # the quickstart's: --no-epoch-checkpoints --save-interval-updates 200 --keep-interval-updates 1
        (
            ["checkpoint_6_1200.pt", "checkpoint_best.pt", "checkpoint_last.pt"],
            ["--num-epoch-checkpoints", "5"],
            "name them, --inputs {0}/checkpoint_6_1200.pt {0}/checkpoint_best.pt {0}/checkpoint_last.pt, or train with",
        ),
        (["checkpoint_6_1200.pt"], ["--num-update-checkpoints", "2"], "train with --save-interval-updates"),
        (
            ["checkpoint_1_200.pt", "checkpoint_2_400.pt"],
            ["--num-epoch-checkpoints", "2"],
            "it has 2 by update: --num-update-checkpoints 2",
        ),
        (["checkpoint1.pt", "checkpoint2.pt"], ["--num-update-checkpoints", "2"], "--num-epoch-checkpoints 2"),
        (["checkpoint1.pt", "checkpoint2.pt"], ["--num-epoch-checkpoints", "3"], "ask for 2, or fewer"),
        (
            ["checkpoint5.pt", "checkpoint6.pt"],
            ["--num-epoch-checkpoints", "2", "--checkpoint-upper-bound", "4"],
            "give a higher --checkpoint-upper-bound",
        ),
    ],
)
def test_too_few_checkpoints_and_what_works_there(tmp_path, capsys, files, flags, advice):
    for name in files:
        (tmp_path / name).touch()
    assert main(["average", "--inputs", str(tmp_path), *flags, "--output", str(tmp_path / "out.pt")]) == 2
    err = capsys.readouterr().err
    assert advice.format(tmp_path) in err and len(err.splitlines()) == 1
