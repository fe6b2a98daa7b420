"""Distillation through the installed commands: word level on one and two processes, sequence level, bad input."""

import json
import re
import sys
from pathlib import Path

import _teachers
import pytest
import torch
from fairseq.data import Dictionary, data_utils

import labo_fairseq
from labo_fairseq.cli import main
from labo_fairseq.compat.checkpoints import load_safely
from labo_fairseq.records.generate_log import read_generate_log

USER_DIR = Path(labo_fairseq.__file__).parent
STUDENT = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --dropout 0 --optimizer adam --lr 0.01 --max-tokens 100 --seed 1 --cpu --num-workers 0 "
    "--log-format json --log-interval 1 --no-epoch-checkpoints --criterion knowledge_distillation"
).split()


@pytest.fixture(scope="module")
def teacher(tiny_bin, tmp_path_factory):
    cfg, _, model = _teachers.make(tiny_bin, seed=2, width=24)
    return _teachers.save(tmp_path_factory.mktemp("teacher") / "teacher.pt", cfg, model)


@pytest.fixture(scope="module")
def trained(run_cli, tiny_bin, teacher, tmp_path_factory):
    """A student, trained for three updates of two batches: (its log, its folder)."""
    folder = tmp_path_factory.mktemp("student")
    args = [tiny_bin, *STUDENT, "--user-dir", USER_DIR, "--save-dir", folder, "--teacher-path", teacher]
    done = run_cli("fairseq-train", *args, "--max-update", 3, "--update-freq", 2, "--report-accuracy")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr, folder


def losses(log):
    lines = map(json.loads, re.findall(r"\| train_inner \| (\{.*\})", log))
    return {int(line["num_updates"]): (float(line["loss"]), float(line["nll_loss"])) for line in lines}


@pytest.mark.slow
def test_the_students_checkpoint_holds_the_student_alone(trained, tiny_bin):
    log, folder = trained
    assert len(losses(log)) == 3
    state = load_safely(folder / "checkpoint_last.pt")
    _, _, alike = _teachers.make(tiny_bin)
    assert state["model"].keys() == alike.state_dict().keys()
    assert state.get("criterion") is None
    sizes = sum(tensor.numel() for tensor in state["model"].values())
    assert sizes == sum(tensor.numel() for tensor in alike.state_dict().values())


@pytest.mark.slow
def test_two_processes_train_as_one(run_cli, trained, tiny_bin, teacher, tmp_path):
    """A batch each, against one process that accumulates both: the same losses, the same parameters."""
    log, folder = trained
    args = [tiny_bin, *STUDENT, "--user-dir", USER_DIR, "--save-dir", tmp_path, "--teacher-path", teacher]
    args += ["--max-update", 3, "--report-accuracy", "--distributed-world-size", 2]
    args += ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    script = Path(sys.executable).with_name("fairseq-train")
    done = run_cli("torchrun", "--standalone", "--nproc_per_node", 2, script, *args)
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(done.stdout + done.stderr) == losses(log)
    one, two = (load_safely(at / "checkpoint_last.pt")["model"] for at in (folder, tmp_path))
    for name, tensor in one.items():
        if name.endswith("_float_tensor"):  # fairseq's mark of the device, never initialized
            continue
        torch.testing.assert_close(two[name], tensor, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--teacher-temperature", "0"], "--teacher-temperature: 0.0 is out of range"),
        (["--save-dir", "SAME"], "lies in --save-dir"),
    ],
)
def test_mistakes_end_with_one_line_and_exit_code_2(run_cli, tiny_bin, teacher, tmp_path, flags, message):
    flags = [str(Path(teacher).parent) if word == "SAME" else word for word in ["--save-dir", tmp_path, *flags]]
    args = [tiny_bin, *STUDENT, "--user-dir", USER_DIR, "--teacher-path", teacher, "--max-update", 1]
    done = run_cli("fairseq-train", *args, *flags)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()) and [path.name for path in Path(teacher).parent.iterdir()] == ["teacher.pt"]


# --- sequence level ---


@pytest.fixture(scope="module")
def translations(run_cli, tiny_bin, teacher, tmp_path_factory):
    """The teacher's translations of the training set, as fairseq-generate prints them."""
    log = tmp_path_factory.mktemp("sequence") / "generate-train.txt"
    done = run_cli(
        *("fairseq-generate", tiny_bin, "--path", teacher, "--gen-subset", "train", "--beam", 2, "--cpu"),
        *("--max-tokens", 300, "--max-len-b", 12, "--required-batch-size-multiple", 1),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    log.write_text(done.stdout, encoding="utf-8")
    return log


def test_the_new_training_set_holds_the_translations(run_cli, translations, tiny_bin, tmp_path):
    out = tmp_path / "new" / "bin"
    done = run_cli("labo", "distill-corpus", tiny_bin, translations, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n" and "60 sentences" in done.stderr
    old_names = {path.name for path in tiny_bin.iterdir()}
    assert {path.name for path in out.iterdir()} == old_names
    new = {"train.de-en.en.bin", "train.de-en.en.idx"}
    assert all((out / name).read_bytes() == (tiny_bin / name).read_bytes() for name in old_names - new)
    assert [path.name for path in out.parent.iterdir()] == ["bin"]

    dictionary = Dictionary.load(str(out / "dict.en.txt"))
    targets = data_utils.load_indexed_dataset(str(out / "train.de-en.en"), dictionary)
    expected = [" ".join(sentence.hypotheses[0].tokens) for sentence in read_generate_log(translations)]
    assert [dictionary.string(tokens) for tokens in targets] == expected
    assert all(tokens[-1] == dictionary.eos() for tokens in targets)
    _, task, model = _teachers.make(out)  # fairseq reads it
    assert model(**_teachers.batch_of(task)["net_input"])[0].isfinite().all()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda text: re.sub(r"([HD]-7\t\S+\t)", r"\1x ", text),
            "'x' is not in the dictionary: generate without --remove-bpe",
        ),
        (lambda text: re.sub(r"(S-7\t)\S+", r"\1d0 d0 d0", text), "S-7: is not sentence 7"),
        (lambda text: re.sub(r"[STHDP]-59\t.*\n", "", text), "has 59 sentences, the training set 60"),
        (lambda text: re.sub(r"S-\d+\t.*\n", "", text), "has no S- lines"),
    ],
)
def test_a_log_of_something_else_is_refused(translations, tiny_bin, tmp_path, capsys, change, message):
    text = translations.read_text(encoding="utf-8")
    other = tmp_path / "other.txt"
    other.write_text(change(re.sub(r"P-.*\n", "", text)), encoding="utf-8")
    assert main(["distill-corpus", str(tiny_bin), str(other), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error and str(other) in error
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_nothing_is_overwritten(translations, tiny_bin, tmp_path, capsys):
    assert main(["distill-corpus", str(tiny_bin), str(translations), "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["distill-corpus", str(tmp_path), str(translations), "--out", str(tmp_path / "out")]) == 2
    assert "no binarized pair of languages" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--top-k", "0"], "--top-k: 0: must be 1 or more"),
        (["--top-k", "9999"], "--top-k: 9999: the dictionary has"),
        (["--subset", "nowhere"], "nowhere"),
        (["--path", "nowhere.pt"], "nowhere.pt: no such file"),
    ],
)
def test_distill_targets_refuses(tiny_bin, teacher, tmp_path, capsys, flags, message):
    out = tmp_path / "out.probs"
    assert main(["distill-targets", str(tiny_bin), "--path", teacher, "--out", str(out), "--cpu", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists()
