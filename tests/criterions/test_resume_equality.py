"""40 updates in one go and 20 + 20 after a kill: the same parameters, bit for bit, with the warm-up's end between."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import labo_fairseq

USER_DIR = Path(labo_fairseq.__file__).parent
TRAIN = Path(sys.executable).with_name("fairseq-train")
MODEL = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--dropout 0.1 --optimizer adam --lr 0.01 --lr-scheduler inverse_sqrt --warmup-updates 10 --max-tokens 100 --cpu "
    "--source-lang de --target-lang en --save-interval-updates 20 --log-interval 1 --log-format json --num-workers 0 "
    "--disable-validation --share-all-embeddings --distributed-world-size 1 --seed 3 --max-update 40"
).split()

# what depends on the number of updates, on counted data or on dropout
METHODS = {
    "labo adaptive": "--criterion labo --smoothing-warmup-updates 25",
    "labo fixed": "--criterion labo --smoothing-mass fixed --smoothing-warmup-updates 25",
    "labo, warm-up over before": "--criterion labo --smoothing-warmup-updates 10",
    "unigram": "--criterion label_smoothing --smoothing-prior unigram",
    "R-Drop": "--criterion label_smoothing --rdrop-weight 1",
}


def command(data, folder, method):
    return [data, "--user-dir", USER_DIR, *MODEL, *METHODS[method].split(), "--save-dir", folder]


def parameters(folder):
    state = torch.load(folder / "checkpoint_last.pt", weights_only=False)
    assert state["optimizer_history"][-1]["num_updates"] == 40
    return {**state["model"], **{f"adam {i}": s["exp_avg"] for i, s in state["last_optimizer_state"]["state"].items()}}


def train_and_kill(data, folder, method, kill_at):
    """Train until the log shows update `kill_at`, then kill: what stands on disk is the checkpoint of update 20."""
    arguments = [str(argument) for argument in command(data, folder, method)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [TRAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if f'"num_updates": "{kill_at}"' in line:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_uninterrupted(method, tiny_bin, tmp_path, run_cli):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run_cli("fairseq-train", *command(tiny_bin, whole, method))
    assert done.returncode == 0, done.stderr
    train_and_kill(tiny_bin, broken, method, 22)

    half = torch.load(broken / "checkpoint_last.pt", weights_only=False)
    assert half["optimizer_history"][-1]["num_updates"] == 20
    done = run_cli("fairseq-train", *command(tiny_bin, broken, method))
    assert done.returncode == 0, done.stderr
    if method.startswith("labo") and "before" not in method:
        assert "warm-up of 25 updates is over, P* in use from update 25" in done.stdout + done.stderr
    wanted, found = parameters(whole), parameters(broken)
    assert wanted.keys() == found.keys()
    for name, tensor in wanted.items():
        assert torch.equal(tensor, found[name]), name


LANGUAGE_MODEL = (
    "--task language_modeling --tokens-per-sample 20 --arch transformer_lm "
    "--decoder-layers 1 --decoder-embed-dim 16 --decoder-ffn-embed-dim 16 --decoder-attention-heads 2"
)
# models with each kind of tensor that fairseq makes without a value
EQUAL = {
    "translation": "--criterion labo --smoothing-warmup-updates 1",
    "sinusoids, two layers": "--criterion label_smoothing --encoder-layers 2 --share-decoder-input-output-embed",
    "adaptive softmax": "--criterion adaptive_loss --adaptive-softmax-cutoff 8,16 --ddp-backend legacy_ddp",
    "language model": f"{LANGUAGE_MODEL} --criterion cross_entropy",
    "adaptive input": f"{LANGUAGE_MODEL} --adaptive-input "
    "--adaptive-input-cutoff 8,16 --adaptive-softmax-cutoff 8,16 --criterion adaptive_loss "
    "--ddp-backend legacy_ddp",
    "masked language model": "--task masked_lm --arch masked_lm --criterion masked_lm --tokens-per-sample 20 "
    "--encoder-layers 1 "
    "--encoder-embed-dim 16 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2",
}


def without_clocks(state):
    """The content of a checkpoint with 0 for every number that a clock gave; no file of two runs has equal ones."""
    state["extra_state"]["previous_training_time"] = 0
    for meters in state["extra_state"]["metrics"].values():
        for _, name, kind, content in meters:
            if kind in ("TimeMeter", "StopwatchMeter") or name in ("wall", "train_wall"):
                content.update(dict.fromkeys(content.keys() & {"init", "sum", "start", "n"}, 0))
    return state


def as_bytes(path):
    stream = io.BytesIO()
    torch.save(without_clocks(torch.load(path, weights_only=False)), stream)
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [*list(EQUAL)[:1], *(pytest.param(k, marks=pytest.mark.slow) for k in list(EQUAL)[1:])]
)
def test_equal_runs_write_equal_files(kind, tiny_bin, tiny_text, tmp_path, run_cli):
    """All of it: parameters, unused tensors, optimizer, settings, counts, the order and the layout of everything."""
    files, data = [], tiny_bin
    if "--task" in EQUAL[kind]:
        data = tmp_path / "bin"
        done = run_cli(
            *("fairseq-preprocess", "--only-source", "--trainpref", tiny_text / "train.en"),
            *("--validpref", tiny_text / "valid.en", "--destdir", data),
        )
        assert done.returncode == 0, done.stderr
    for run in ("one", "other"):
        (tmp_path / run).mkdir()
        arguments = [data, "--user-dir", USER_DIR, *MODEL, "--save-dir", "run", "--max-update", 3]
        # what malloc hands out is filled with a byte of choice, another one in each run
        environment = {"MALLOC_PERTURB_": {"one": "85", "other": "170"}[run]}
        done = run_cli("fairseq-train", *chosen(arguments, EQUAL[kind]), cwd=tmp_path / run, env=environment)
        assert done.returncode == 0, done.stderr
        files.append(as_bytes(tmp_path / run / "run" / "checkpoint_last.pt"))
    assert files[0] == files[1]


def chosen(arguments, flags):
    """The arguments with other flags; those of encoders and of two languages go where a model has none."""
    arguments = [str(argument) for argument in arguments]
    if "--task" in flags:
        sides = [f for f in arguments if f.startswith(("--encoder-", "--decoder-"))]
        for flag in ("--source-lang", "--target-lang", *sides):
            at = arguments.index(flag)
            del arguments[at : at + 2]
        arguments.remove("--share-all-embeddings")
    if "adaptive" in flags and "--share-all-embeddings" in arguments:
        arguments.remove("--share-all-embeddings")
    return [*arguments, *flags.split()]


@pytest.mark.slow
def test_the_method_matters(tiny_bin, tmp_path, run_cli):
    """The comparison above can fail: another length of the warm-up gives other parameters."""
    folders = {updates: tmp_path / str(updates) for updates in (25, 26)}
    for updates, folder in folders.items():
        arguments = [*command(tiny_bin, folder, "labo adaptive"), "--smoothing-warmup-updates", updates]
        assert run_cli("fairseq-train", *arguments).returncode == 0
    one, other = (parameters(folder) for folder in folders.values())
    assert any(not torch.equal(one[name], other[name]) for name in one)
