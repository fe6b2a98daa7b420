"""Training through fairseq: every criterion unchanged, the logged measures, resume, EMA, two workers, mistakes."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from _cases import CASES
from _models import build
from _vision import config, make_image_model, make_image_task, needs_torchvision, write_images
from fairseq import checkpoint_utils, metrics, options
from fairseq_cli import train as fairseq_train

import labo_fairseq
from labo_fairseq.compat import console
from labo_fairseq.errors import UserError
from labo_fairseq.vision.models.own import FullyConnectedConfig, WideResNetConfig
from labo_fairseq.vision.models.torchvision_models import TorchvisionConfig
from labo_fairseq.vision.optimizer import TorchSGDConfig
from labo_fairseq.vision.schedule import MultiStepConfig
from labo_fairseq.vision.task import TorchvisionClassificationConfig

pytestmark = needs_torchvision

USER_DIR = Path(labo_fairseq.__file__).parent
DIGITS = "--image-dataset digits --optimizer torch_sgd --nesterov --lr 0.1 --batch-size 64 --cpu --seed 3".split()
RESNET = [*DIGITS, "--arch", "resnet20"]
SMALL = [*DIGITS, *"--arch fully_connected --hidden-size 32".split()]
QUIET = "--log-format none --no-epoch-checkpoints --num-workers 0".split()
CRITERIONS = [case for case in CASES if case.criterion]


def train(folder, *args):
    """fairseq-train in this process; the checkpoint that it leaves."""
    metrics.reset()
    cfg = config(*args, *QUIET, "--save-dir", folder)
    fairseq_train.main(cfg)
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


def digits_batch(count=24, classes=10):
    task = make_image_task(image_dataset="digits")
    task.load_dataset("valid")
    data = task.dataset("valid")
    torch.manual_seed(1)
    model = make_image_model("fully_connected", 1, 8, classes, hidden_size=32, init_std=0.3)
    return task, model, data.collater([data[i] for i in range(count)])


# --- criterions ---


@pytest.mark.parametrize("case", CRITERIONS, ids=str)
def test_every_criterion_takes_a_batch_of_images(case):
    """The loss is the published formula on the logits, one term per image; class 0 counts like any other."""
    task, model, batch = digits_batch()
    assert (batch["target"] == 0).any()
    model = model.double().eval()
    batch["net_input"]["images"] = batch["net_input"]["images"].double()
    criterion = build(task, case.criterion, report_accuracy=True, **case.flags)
    loss, size, log = criterion(model, batch)
    logits = model(**batch["net_input"])
    if str(case.flags.get("smoothing_prior", "uniform")) == "uniform":
        expected = case.reference(logits, batch["target"]).sum()
        torch.testing.assert_close(loss, expected, atol=1e-8, rtol=1e-8)
    nll = torch.nn.functional.cross_entropy(logits, batch["target"], reduction="sum")
    torch.testing.assert_close(log["nll_loss"], nll, atol=1e-8, rtol=1e-8)
    assert size == log["ntokens"] == log["nsentences"] == 24
    assert log["total"] == 24 and log["n_correct"] == (logits.argmax(-1) == batch["target"]).sum()


def test_unigram_smoothing_uses_the_frequencies_of_the_classes():
    task, model, batch = digits_batch()
    task.load_dataset("train")
    counts = torch.bincount(torch.from_numpy(task.dataset("train").images.targets), minlength=10).double()
    loss, _, _ = build(task, "label_smoothing", smoothing_prior="unigram", label_smoothing=0.2)(model.double(), {
        **batch, "net_input": {"images": batch["net_input"]["images"].double()}})  # fmt: skip
    log_probs = model(batch["net_input"]["images"].double()).log_softmax(-1)
    nll = -log_probs.gather(1, batch["target"].unsqueeze(1)).sum()
    expected = 0.8 * nll - 0.2 * (log_probs @ (counts / counts.sum())).sum()
    torch.testing.assert_close(loss, expected, atol=1e-8, rtol=1e-8)
    with pytest.raises(UserError, match="--prior-counts: classes are counted in the training set"):
        build(task, "label_smoothing", smoothing_prior="unigram", prior_counts="file")


def test_two_passes_of_one_image_are_paired():
    """Without dropout R-Drop's divergence is 0 only if the two rows of an image, and not of two, are compared."""
    task, model, batch = digits_batch()
    model.train()
    once = build(task, "label_smoothing")(model, batch)[0]
    twice = build(task, "label_smoothing", rdrop_weight=5.0)(model, batch)[0]
    torch.testing.assert_close(twice, 2 * once)


def test_z_loss_sees_logits_not_log_probabilities():
    task, model, batch = digits_batch()
    plain = build(task, "labo")(model, batch)[0]
    with_z = build(task, "labo", z_loss=0.5)(model, batch)[0]
    expected = plain + 0.5 * model(**batch["net_input"]).logsumexp(-1).square().sum()
    torch.testing.assert_close(with_z, expected)


def test_an_image_has_no_prefix():
    task = make_image_task(image_dataset="digits")
    cfg = config(*SMALL, "--criterion", "labo", "--ignore-prefix-size", 1)
    with pytest.raises(UserError, match="--ignore-prefix-size: an image has one target"):
        task.build_criterion(cfg.criterion)


# --- accuracy, top5, ece ---


def naive_ece(probabilities, target):
    """15 bins, left-closed, 1.0 in the last one (DESIGN, section 5)."""
    confidence, best = probabilities.max(-1)
    total = 0.0
    for b in range(15):
        inside = [i for i, c in enumerate(confidence.tolist()) if min(int(c * 15), 14) == b]
        if inside:
            total += abs(sum(float(best[i] == target[i]) - float(confidence[i]) for i in inside))
    return total / len(target)


@pytest.mark.parametrize("criterion", ["cross_entropy", "label_smoothed_cross_entropy", "labo"])
def test_accuracy_top5_and_ece_are_logged_for_every_criterion(criterion):
    task, model, _ = digits_batch()
    cfg = config(*SMALL, "--criterion", criterion).criterion
    criterion = task.build_criterion(cfg)
    data = task.dataset("valid")
    parts = [data.collater([data[i] for i in rows]) for rows in (range(50), range(50, 144))]
    logs = [task.valid_step(part, model, criterion)[2] for part in parts]
    with metrics.aggregate(new_root=True) as meters:
        task.reduce_metrics(logs, criterion)
    values = meters.get_smoothed_values()
    images, target = (torch.cat(x) for x in ([p["net_input"]["images"] for p in parts], [p["target"] for p in parts]))
    with torch.no_grad():
        p = model(images).softmax(-1)
    ranks = (p > p.gather(1, target.unsqueeze(1))).sum(1)
    assert values["accuracy"] == pytest.approx(100 * float((ranks == 0).float().mean()), abs=1e-3)
    assert values["top5"] == pytest.approx(100 * float((ranks < 5).float().mean()), abs=1e-3)
    assert values["ece"] == pytest.approx(naive_ece(p, target), abs=1e-4)


def test_a_batch_of_skipped_images_counts_nothing():
    task, model, _ = digits_batch()
    assert task.valid_step({}, model, None) == (0.0, 0, {})


# --- runs ---


def test_a_run_leaves_what_evaluation_needs(tmp_path):
    schedule = "--lr-scheduler multi_step --lr-milestones 2 --lr-factor 0.2 --layer-lr classifier=0.5".split()
    best = "--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric".split()
    state = train(tmp_path, *RESNET, "--criterion", "label_smoothing", "--max-epoch", 3, *schedule, *best)
    images = state["task_state"]["images"]
    assert images["classes"] == [str(i) for i in range(10)] and (images["channels"], images["size"]) == (1, 8)
    assert set(images["normalization"]) == {"by", "mean", "std"}
    assert state["extra_state"]["best"] > 80  # percent
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "checkpoint_best.pt")])
    assert task.state.images == images
    task.load_dataset("test")
    data = task.dataset("test")
    batch = data.collater([data[i] for i in range(len(data))])
    accuracy = (models[0].eval()(**batch["net_input"]).argmax(-1) == batch["target"]).float().mean()
    assert accuracy > 0.8


def test_a_resumed_run_equals_one_that_was_not_interrupted(tmp_path):
    """Stopped in the middle of the second epoch: 30 of 21 + 21 updates; with augmentation, dropout and momentum.

    Without worker processes fairseq would fetch in a thread, whose augmentation and this thread's dropout would draw
    from one generator in an order of chance.
    """
    flags = [*SMALL, "--criterion", "labo", "--smoothing-warmup-updates", 25, "--dropout", 0.1]
    straight = train(tmp_path / "straight", *flags, "--max-update", 50)
    train(tmp_path / "stopped", *flags, "--max-update", 30, "--smoothing-warmup-updates", 25)
    resumed = train(tmp_path / "stopped", *flags, "--max-update", 50)
    assert resumed["optimizer_history"][-1]["num_updates"] == 50
    for name, tensor in straight["model"].items():
        assert torch.equal(tensor, resumed["model"][name]), name


def test_ema_of_a_network_with_batch_normalization(tmp_path):
    flags = [*RESNET, "--criterion", "cross_entropy", "--store-ema", "--ema-decay", 0.5, "--bf16"]
    state = train(tmp_path, *flags, "--max-update", 3, "--disable-validation")
    averaged = state["extra_state"]["ema"]
    assert averaged.keys() == state["model"].keys()
    assert all(tensor.isfinite().all() for tensor in averaged.values())
    assert not torch.equal(averaged["classifier.weight"], state["model"]["classifier.weight"])


# --- through the console ---


def assert_one_line(done, *words):
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert all(word in line for word in words), line
    assert "Traceback" not in done.stderr


def test_train_validate_and_too_few_classes(tmp_path, run_cli):
    for split in ("train", "test"):
        write_images(tmp_path / "three" / split, ["a", "b", "c"], count=6)
        write_images(tmp_path / "two" / split, ["a", "b"], count=6)
    flags = "--arch resnet20 --criterion label_smoothing --optimizer torch_sgd --lr 0.1 --batch-size 6 --cpu".split()
    common = ["--user-dir", USER_DIR, "--task", "torchvision_classification", "--num-workers", 1]
    run = [*common, *flags, "--save-dir", tmp_path / "run", "--max-epoch", 1, "--valid-share", 0]
    done = run_cli("fairseq-train", tmp_path / "three", *run)
    assert done.returncode == 0, done.stderr
    evaluate = [*common, "--path", tmp_path / "run" / "checkpoint_last.pt", "--batch-size", 5, "--cpu"]
    done = run_cli("fairseq-validate", tmp_path / "three", *evaluate, "--valid-subset", "test")
    assert done.returncode == 0 and "| accuracy " in done.stderr + done.stdout, done.stderr
    done = run_cli("fairseq-train", tmp_path / "two", *run, "--max-epoch", 2)
    assert_one_line(done, "fairseq-train: the checkpoint has 3 classes, the data have 2")


def test_a_mistake_found_by_a_worker_is_one_line(tmp_path):
    write_images(tmp_path / "train", count=3)
    bad = tmp_path / "train" / "dog" / "1.png"
    bad.write_bytes(b"no image")
    task = make_image_task(tmp_path, valid_share=0, normalization="none")
    task.load_dataset("train", task_cfg=task.cfg)
    loader = torch.utils.data.DataLoader(
        task.dataset("train"), num_workers=1, collate_fn=task.dataset("train").collater
    )
    with pytest.raises(UserError) as error:
        list(loader)
    assert "Traceback" in str(error.value)  # as torch hands it on
    line = console._one_line(error.value)
    assert line.startswith(f"{bad}: cannot be read as an image") and line.endswith("--skip-corrupt-images")


def test_a_mistake_behind_fairseqs_own_exception():
    mistake = UserError("the checkpoint has 3 classes")

    def load(failure, raised):
        try:
            raise failure
        except Exception:
            raise raised  # noqa: B904  as fairseq's trainer

    for failure, raised, found in (
        (mistake, Exception("Cannot load model parameters from checkpoint"), mistake),
        (ValueError("a bug"), Exception("Cannot load model parameters from checkpoint"), None),
        (mistake, KeyError("a bug while handling"), None),
    ):
        with pytest.raises(type(raised)) as error:
            load(failure, raised)
        assert console._mistake_behind(error.value) is found


@pytest.mark.slow
def test_two_workers(tmp_path, run_cli):
    """As one process: the same validation images, each of them once."""
    args = [*SMALL, "--criterion", "labo", "--smoothing-warmup-updates", 5, "--max-epoch", 2, "--log-format", "simple"]
    done = run_cli(
        *("torchrun", "--standalone", "--nproc_per_node", 2, Path(sys.executable).with_name("fairseq-train")),
        *("--user-dir", USER_DIR, "--task", "torchvision_classification", *args, "--save-dir", tmp_path),
        *"--distributed-world-size 2 --ddp-backend legacy_ddp --distributed-backend gloo --num-workers 1".split(),
    )
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 22  # 21 batches, two at a time, in two epochs
    valid = {name: meter for _, name, _, meter in state["extra_state"]["metrics"]["valid"]}
    assert valid["_images"]["sum"] == 2 * 144  # fairseq adds up both epochs; a tenth of 1,438 images


AS_ONE = ["tf_reg", "kr_ls", "beta_smoothing --store-ema", "cs_kd", "forward_correction", "logit_smoothing"]


@pytest.mark.slow
@pytest.mark.parametrize("criterion", AS_ONE)
def test_two_workers_train_as_one(criterion, tmp_path, run_cli):
    """Parameters after ten updates, those of the criterion and of the EMA model too."""
    args = [*SMALL, "--criterion", *criterion.split(), "--augmentation", "none", "--max-update", 10]
    args += ["--user-dir", USER_DIR, "--task", "torchvision_classification", "--disable-validation", "--num-workers", 0]
    fairseq_train = Path(sys.executable).with_name("fairseq-train")
    two = "--distributed-world-size 2 --ddp-backend legacy_ddp --distributed-backend gloo".split()
    for name, launcher, more in (
        ("one", [fairseq_train], ["--update-freq", 2]),
        ("two", ["torchrun", "--standalone", "--nproc_per_node", 2, fairseq_train], two),
    ):
        done = run_cli(*launcher, *args, *more, "--save-dir", tmp_path / name)
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True) for name in ("one", "two"))
    for part in ("model", "criterion"):
        assert (one.get(part) or {}).keys() == (two.get(part) or {}).keys()
        torch.testing.assert_close(two.get(part) or {}, one.get(part) or {}, rtol=0, atol=1e-6)
    ema = [state["extra_state"].get("ema", {}) for state in (one, two)]
    assert bool(ema[0]) == ("--store-ema" in criterion)
    torch.testing.assert_close(ema[1], ema[0], rtol=0, atol=1e-6)


# --- flags ---

CONFIGS = [
    TorchvisionClassificationConfig,
    TorchSGDConfig,
    MultiStepConfig,
    TorchvisionConfig,
    FullyConnectedConfig,
    WideResNetConfig,
]


@pytest.mark.parametrize("dataclass", CONFIGS)
def test_flags_are_new_and_explain_themselves(dataclass):
    """fairseq swallows a flag that exists already, and makes a bool that defaults to True switch itself off."""
    parsers = [options.get_training_parser(), options.get_validation_parser()]
    taken = {word for parser in parsers for action in parser._actions for word in action.option_strings}
    for field in dataclasses.fields(dataclass):
        if field.name.startswith("_") or str(field.default).startswith("${"):
            continue
        assert f"--{field.name.replace('_', '-')}" not in taken
        assert len(field.metadata["help"]) > 8 and field.default is not True
