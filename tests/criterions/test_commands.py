"""The criterions through the installed fairseq commands."""

import json
import math
import re
import sys
from pathlib import Path

import pytest

import labo_fairseq

USER_DIR = Path(labo_fairseq.__file__).parent
MODEL = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --optimizer adam --lr 0.01 --max-tokens 100 --seed 1 --cpu --num-workers 0 "
    "--log-format json --log-interval 1 --no-epoch-checkpoints"
).split()


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def train(run_cli, tiny_bin):
    """Function: fairseq-train with a criterion, its flags and a save folder -> CompletedProcess."""

    def run(criterion, flags, save_dir, updates, **options):
        args = [tiny_bin, *MODEL, "--user-dir", USER_DIR, "--save-dir", save_dir, "--max-update", updates]
        return run_cli("fairseq-train", *args, "--criterion", criterion, *flags, **options)

    return run


def inner_losses(done):
    """nll_loss by update, from fairseq's JSON log."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    lines = re.findall(r"\| train_inner \| (\{.*\})", done.stdout + done.stderr)
    return {int(line["num_updates"]): float(line["nll_loss"]) for line in map(json.loads, lines)}


def test_the_warm_up_survives_a_resume(train, tmp_path):
    """Two epochs in one go, and one and one after a stop inside the warm-up, are the same run.

    The second part does not name the number: a resumed training keeps the one with which it began.
    """
    flags = ["--smoothing-warmup-updates", 8, "--max-epoch"]
    whole = train("labo", [*flags, 2], tmp_path / "whole", 100)
    first = train("labo", [*flags, 1], tmp_path / "parts", 100)
    second = train("labo", ["--max-epoch", 2], tmp_path / "parts", 100)
    assert max(inner_losses(first)) < 8 < max(inner_losses(second))
    assert "P* in use from update 8" in whole.stdout + whole.stderr
    assert "auto: 8 updates, as this training began" in second.stdout + second.stderr
    assert "P* in use" not in first.stdout + first.stderr
    assert "P* in use from update 8" in second.stdout + second.stderr
    assert {**inner_losses(first), **inner_losses(second)} == inner_losses(whole)


@pytest.mark.parametrize(
    "criterion, flags, updates, message",
    [
        ("labo", ["--rho", "1.5"], 6, "--rho: 1.5 is out of range"),
        slow("labo", ["--smoothing-temperature", "0"], 6, "--smoothing-temperature: 0.0 is out of range"),
        (
            "labo",
            ["--smoothing-warmup-updates", 5000],
            6,
            "--smoothing-warmup-updates: 5000 is not below --max-update 6",
        ),
        slow("label_smoothing", ["--label-smoothing", "2"], 6, "--label-smoothing: 2.0 is out of range"),
        ("label_smoothing", ["--smoothing-prior", "unigram", "--prior-counts", "nowhere"], 6, "--prior-counts nowhere"),
    ],
)
def test_bad_values_end_with_one_line_and_exit_code_2(train, tmp_path, criterion, flags, updates, message):
    done = train(criterion, flags, tmp_path, updates)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_priors_are_counted_on_the_target_side(train, tmp_path, tiny_bin):
    """The dictionary is joined: source types and the sentence ends must not be counted from it."""
    from types import SimpleNamespace

    from fairseq.data import Dictionary

    from labo_fairseq.fairseq_models.target_counts import target_counts

    dictionary = Dictionary.load(str(tiny_bin / "dict.en.txt"))
    cfg = SimpleNamespace(data=str(tiny_bin), source_lang="de", target_lang="en", train_subset="train")
    counts = target_counts(SimpleNamespace(cfg=cfg, target_dictionary=dictionary))
    assert counts[dictionary.eos()] == 60
    assert all(counts[dictionary.index(f"d{i}")] == 0 for i in range(20))
    assert sum(counts[dictionary.index(f"e{i}")] for i in range(20)) == counts.sum() - 60
    assert counts[dictionary.index("e3")] == dictionary.count[dictionary.index("e3")]
    for prior in ("unigram", "masked"):
        inner_losses(train("label_smoothing", ["--smoothing-prior", prior, "--report-accuracy"], tmp_path / prior, 1))


# stands in for Weights & Biases: it keeps what fairseq logs
WANDB = """
import json, os, types
config = types.SimpleNamespace(update=lambda *args, **kwargs: None)
def init(**kwargs):
    pass
def log(values, step):
    with open(os.path.join(os.path.dirname(__file__), "wandb.jsonl"), "a") as stream:
        stream.write(json.dumps([step, values]) + "\\n")
"""


def check_curves(folder, types):
    """α, entropy, the share under P* and the ECE, in TensorBoard's event files and as Weights & Biases gets them."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = {}
    for kind in ("train_inner", "train", "valid"):
        reader = events.EventAccumulator(str(folder / "curves" / kind))
        reader.Reload()
        for name in reader.Tags()["scalars"]:
            found[kind, name] = {event.step: event.value for event in reader.Scalars(name)}
    assert found["train_inner", "under_p_star"] == {1: 0, 2: 1, 3: 1}
    alpha, entropy = found["train_inner", "alpha"], found["train_inner", "entropy"]
    assert alpha[1] == pytest.approx(0.1) and entropy.keys() == {2, 3}
    for step, bits in entropy.items():
        assert alpha[step] == pytest.approx(1 - 0.5 * bits * math.log(2) / math.log(types), abs=1e-3)
    assert 0 <= found["valid", "ece"][3] <= 1
    sent = [json.loads(line) for line in (folder / "wandb.jsonl").read_text().splitlines()]
    for kind, name in (("train_inner", "alpha"), ("train_inner", "under_p_star"), ("valid", "ece")):
        values = {step: values[f"{kind}/{name}"] for step, values in sent if f"{kind}/{name}" in values}
        assert values == pytest.approx(found[kind, name])


def test_validation_and_generation(train, run_cli, tiny_bin, tmp_path):
    """A checkpoint of ours validates with --user-dir, and translates without it; the training drew its curves."""
    flags = ["--smoothing-warmup-updates", 1, "--report-accuracy", "--report-calibration"]
    flags += ["--tensorboard-logdir", tmp_path / "curves", "--wandb-project", "labo"]
    (tmp_path / "wandb.py").write_text(WANDB)
    inner_losses(train("labo", flags, tmp_path, 3, env={"PYTHONPATH": str(tmp_path)}))
    check_curves(tmp_path, 4 + len((tiny_bin / "dict.en.txt").read_text().splitlines()))  # 4: <s>, <pad>, </s>, <unk>
    path = tmp_path / "checkpoint_best.pt"
    valid = run_cli(
        *("fairseq-validate", tiny_bin, "--path", path, "--user-dir", USER_DIR, "--task", "translation"),
        *("--valid-subset", "valid", "--max-tokens", 300, "--cpu"),
    )
    assert re.search(r"valid on 'valid' subset \| loss \d.*\| ppl \d.*\| accuracy \d", valid.stdout + valid.stderr)
    generated = run_cli("fairseq-generate", tiny_bin, "--path", path, "--beam", 2, "--batch-size", 12, "--cpu")
    assert generated.returncode == 0 and "BLEU4" in generated.stdout


@pytest.mark.slow
def test_language_modeling(run_cli, tiny_text, tmp_path):
    splits = [word for split in ("train", "valid") for word in (f"--{split}pref", tiny_text / f"{split}.en")]
    done = run_cli("fairseq-preprocess", "--only-source", *splits, "--destdir", tmp_path / "bin")
    assert done.returncode == 0, done.stderr
    args = "--task language_modeling --arch transformer_lm --decoder-layers 1 --decoder-embed-dim 16 --cpu".split()
    args += "--decoder-attention-heads 2 --optimizer adam --lr 0.01 --tokens-per-sample 50 --max-tokens 100".split()
    args += ["--num-workers", 0, "--log-format", "json", "--log-interval", 1, "--max-update", 2, "--no-save"]
    for flags in (["labo", "--smoothing-warmup-updates", 1], ["label_smoothing", "--smoothing-prior", "unigram"]):
        losses = inner_losses(
            run_cli("fairseq-train", tmp_path / "bin", *args, "--user-dir", USER_DIR, "--criterion", *flags)
        )
        assert len(losses) == 2


@pytest.mark.slow
def test_a_stock_run_resumes_under_labo_and_back(train, tmp_path):
    """Same parameters, same optimizer groups: a run of fairseq's own criterion goes on under ours."""
    inner_losses(train("label_smoothed_cross_entropy", ["--label-smoothing", 0.1], tmp_path, 2))
    labo = ["--smoothing-warmup-updates", 0, "--update-freq", 2, "--rdrop-weight", 1, "--z-loss", 1e-4]
    assert set(inner_losses(train("labo", labo, tmp_path, 4))) == {3, 4}
    assert set(inner_losses(train("label_smoothed_cross_entropy", [], tmp_path, 5))) == {5}


@pytest.mark.parametrize(
    "options",
    [["--bf16"], pytest.param(["--checkpoint-activations", "--bf16-products"], marks=pytest.mark.slow)],
)
def test_precision_and_memory_options(train, tmp_path, options):
    losses = inner_losses(train("labo", ["--smoothing-warmup-updates", 1, *options], tmp_path, 3))
    assert len(losses) == 3 and max(losses.values()) < 10


@pytest.mark.slow
def test_two_processes_train_as_one(run_cli, tiny_bin, tmp_path):
    """torchrun over gloo with legacy_ddp, the documented way on a CPU: the warm-up ends on both, losses are shared."""
    args = [tiny_bin, *MODEL, "--user-dir", USER_DIR, "--save-dir", tmp_path, "--max-update", 3, "--criterion", "labo"]
    args += ["--smoothing-warmup-updates", 1, "--report-accuracy", "--distributed-world-size", 2]
    args += ["--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    script = Path(sys.executable).with_name("fairseq-train")
    done = run_cli("torchrun", "--standalone", "--nproc_per_node", 2, script, *args)
    assert set(inner_losses(done)) == {1, 2, 3}
    assert "P* in use from update 1" in done.stdout + done.stderr


@pytest.mark.slow
def test_two_workers_log_the_ece_of_one(run_cli, tiny_bin, tmp_path):
    """Three validation batches on two workers: one of them has an empty batch in the second step."""
    args = [tiny_bin, *MODEL, "--user-dir", USER_DIR, "--save-dir", tmp_path, "--max-update", 2]
    args += ["--criterion", "label_smoothing", "--report-calibration", "--batch-size-valid", 5, "--max-epoch", 1]
    args += ["--distributed-world-size", 2, "--ddp-backend", "legacy_ddp", "--distributed-backend", "gloo"]
    script = Path(sys.executable).with_name("fairseq-train")
    done = run_cli("torchrun", "--standalone", "--nproc_per_node", 2, script, *args)
    assert done.returncode == 0, done.stderr[-4000:]
    (two,) = (json.loads(line) for line in re.findall(r"\| valid \| (\{.*\})", done.stdout + done.stderr))
    assert not [key for key in two if "calibration" in key], "the sums themselves are not shown"

    alone = run_cli(
        *("fairseq-validate", tiny_bin, "--path", tmp_path / "checkpoint_best.pt", "--user-dir", USER_DIR, "--cpu"),
        *("--task", "translation", "--valid-subset", "valid", "--batch-size", 12, "--log-format", "json"),
    )
    one = json.loads(re.search(r"\| valid \| (\{.*\})", alone.stdout + alone.stderr)[1])
    assert 0 < float(two["valid_ece"]) < 1
    assert float(two["valid_ece"]) == pytest.approx(float(one["valid_ece"]), abs=1.1e-4)  # logged with 4 digits
