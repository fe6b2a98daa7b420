"""Two workers give what one gives: parameters after ten updates and every logged number, for every criterion.

One worker that accumulates 2·n batches (--update-freq) sees in each update what two workers with n batches each see.
The number of batches is such that the last update of an epoch is uneven: one of the two has a batch less.
"""

import itertools
import json
import sys
from pathlib import Path

import pytest
from _cases import CASES

from labo_fairseq.compat.checkpoints import load_safely

SCRIPT = Path(__file__).with_name("train_all.py")
FAIRSEQ_TRAIN = Path(sys.executable).with_name("fairseq-train")
# no Adam: it turns the rounding error of a gradient that is zero (that of a key's bias) into a step of full size
TRAIN = (
    "--user-dir labo_fairseq --arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 "
    "--decoder-embed-dim 16 --encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 "
    "--decoder-attention-heads 2 --dropout 0 --optimizer sgd --momentum 0.9 --lr 0.05 --max-update 10 --seed 1 --cpu "
    "--batch-size 9 --batch-size-valid 5 --required-batch-size-multiple 1 --num-workers 0 "
    "--log-format json --log-interval 1 --no-epoch-checkpoints "
    "--validate-interval 100 --save-interval 100 --report-accuracy --report-calibration"
).split()
TIED = ["--share-all-embeddings"]
GLOO = ["--distributed-backend", "gloo", "--ddp-backend"]
BACKENDS = {
    "legacy_ddp": [*GLOO, "legacy_ddp"],
    "pytorch_ddp": [*GLOO, "pytorch_ddp"],  # fairseq's default
    "find_unused": [*GLOO, "pytorch_ddp", "--find-unused-parameters"],
}
TIMES = {"wps", "ups", "wall", "train_wps", "train_ups", "train_wall", "train_train_wall", "valid_wps"}
# means over the steps of a validation, of which two workers need fewer
MEANS = {"valid_wpb", "valid_bsz", "valid_total", "valid_n_correct"}


def flags(criterion, settings):
    words = ["--criterion", criterion]
    if criterion == "labo":
        words += ["--smoothing-warmup-updates", "4"]
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


ROWS = {case.name: TIED + flags(case.criterion, case.flags) for case in CASES if case.criterion}
ROWS |= {
    f"label_smoothing_{prior}": TIED + flags("label_smoothing", {"smoothing_prior": prior})
    for prior in ("unigram", "masked")
}
ROWS |= {
    f"rdrop_{name}": [*ROWS[name], "--rdrop-weight", "2"]
    for name in ("labo_adaptive", "label_smoothing_unigram", "confidence_penalty", "focal", "generalized_entropy_0.5")
}
ROWS |= {
    "sentence_avg": [*ROWS["labo_fixed"], "--sentence-avg"],
    "ignore_prefix": [*ROWS["labo_fixed"], "--ignore-prefix-size", "1"],
    "untied": [word for word in ROWS["labo_adaptive"] if word not in TIED],
    "untied_unigram": [word for word in ROWS["label_smoothing_unigram"] if word not in TIED],
}


@pytest.fixture
def train(run_cli, tiny_bin, tmp_path):
    """Function: run {name: arguments} in one process or in two; returns {name: (log, parameters)} and all output."""

    def run(folder, table, workers):
        command = ["python"] if workers == 1 else ["torchrun", "--standalone", "--nproc_per_node", workers]
        table = {
            name: [str(tiny_bin), *TRAIN, *arguments, "--save-dir", str(tmp_path / folder / name)]
            for name, arguments in table.items()
        }
        file = tmp_path / f"{folder}.json"
        file.write_text(json.dumps(table))
        done = run_cli(*command, SCRIPT, file, timeout=1800)
        assert done.returncode == 0, done.stderr[-4000:]
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name": ')]
        assert [row["name"] for row in found] == list(table)
        return {
            row["name"]: (row["log"], parameters(tmp_path / folder / row["name"])) for row in found
        }, done.stdout + done.stderr

    return run


def parameters(folder):
    saved = load_safely(folder / "checkpoint_last.pt")["model"]
    # the sinusoidal positions keep a tensor of unset memory, which tells them their type
    return {name: value for name, value in saved.items() if not name.endswith("_float_tensor")}


def assert_two_train_as_one(train, settings):
    """settings: (row, projection, update frequency, backend) of each training; returns those of one and all output."""
    one, two = {}, {}
    for row, projection, freq, backend in settings:
        arguments = [*ROWS[row], "--projection", projection, "--update-freq"]
        one[f"{row} {projection} {freq}"] = [*arguments, str(2 * freq)]
        two[f"{row} {projection} {freq} {backend}"] = [*arguments, str(freq), *BACKENDS[backend]]
    expected, _ = train("one", one, 1)
    got, output = train("two", two, 2)
    for row, projection, freq, backend in settings:
        log_of_one, weights_of_one = expected[f"{row} {projection} {freq}"]
        log, weights = got[name := f"{row} {projection} {freq} {backend}"]
        assert weights.keys() == weights_of_one.keys()
        error = max((weights[key] - weights_of_one[key]).abs().max().item() for key in weights)
        assert error < 1e-6, (name, error)
        assert [tag for tag, _ in log] == [tag for tag, _ in log_of_one], name
        for (tag, numbers), (_, numbers_of_one) in zip(log, log_of_one, strict=True):
            assert rounded_alike(numbers, numbers_of_one), (name, tag, numbers, numbers_of_one)
    return expected, output


def rounded_alike(numbers, others):
    return numbers.keys() == others.keys() and all(
        abs(float(numbers[key]) - float(others[key])) <= 0.0011 for key in numbers.keys() - TIMES - MEANS
    )


def test_two_workers_train_as_one(train):
    settings = [
        ("labo_adaptive", "fused", 2, "legacy_ddp"),
        ("labo_adaptive", "fused", 2, "pytorch_ddp"),
        ("labo_adaptive", "dense", 2, "pytorch_ddp"),
        ("rdrop_label_smoothing_unigram", "fused", 1, "pytorch_ddp"),
        ("untied", "auto", 1, "pytorch_ddp"),
        ("untied", "auto", 1, "find_unused"),
    ]
    _, output = assert_two_train_as_one(train, settings)
    assert output.count("output projection and loss are fused") == 4
    assert output.count("dense path (--projection dense)") == 1
    # DDP marks a parameter outside its own forward as ready at once, and again when its gradient arrives
    assert output.count("dense path (--find-unused-parameters: torch's DistributedDataParallel would take") == 1


@pytest.mark.slow
def test_the_commands_themselves(run_cli, tiny_bin, tmp_path):
    found = {}
    for workers, freq, command in ((1, 4, []), (2, 2, ["--standalone", "--nproc_per_node", 2, FAIRSEQ_TRAIN])):
        arguments = [tiny_bin, *TRAIN, *ROWS["labo_adaptive"], *BACKENDS["legacy_ddp"], "--update-freq", freq]
        arguments += ["--save-dir", tmp_path / str(workers)]
        done = run_cli("torchrun" if command else "fairseq-train", *command, *arguments)
        assert done.returncode == 0, done.stderr[-4000:]
        assert f"training on {workers} devices" in done.stdout + done.stderr
        found[workers] = parameters(tmp_path / str(workers))
    assert max((found[2][key] - weights).abs().max().item() for key, weights in found[1].items()) < 1e-6


@pytest.mark.slow
def test_every_criterion_trains_as_one(train):
    backends = ("legacy_ddp", "pytorch_ddp")
    settings = [*itertools.product(ROWS, ("auto", "dense"), (1, 2), backends), ("untied", "auto", 2, "find_unused")]
    expected, output = assert_two_train_as_one(train, settings)
    assert output.count("output projection and loss are fused") == 4 * len(ROWS)
    trained = [expected[f"{row} auto 1"][1]["decoder.embed_tokens.weight"] for row in ROWS]
    alike = [(a - b).abs().max() < 1e-4 for i, a in enumerate(trained) for b in trained[:i]]
    assert not any(alike), "a comparison means something only where each criterion trains another model"
