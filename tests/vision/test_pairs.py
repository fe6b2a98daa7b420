"""Mixup and pairwise label smoothing through fairseq: pairs, alternation, second layer, resume, workers, mistakes."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from _models import build, make_task
from _vision import config, make_image_model, make_image_task, needs_torchvision
from fairseq import checkpoint_utils, metrics
from fairseq_cli import train as fairseq_train
from torch import nn

import labo_fairseq
from labo_fairseq.analysis.classification import fit_temperature
from labo_fairseq.criterions.pairwise_label_smoothing import TARGETS
from labo_fairseq.errors import UserError
from labo_fairseq.measures.classification import measures, negative_log_likelihood

pytestmark = needs_torchvision

USER_DIR = Path(labo_fairseq.__file__).parent
SMALL = (
    "--image-dataset digits --optimizer torch_sgd --nesterov --lr 0.1 --batch-size 64 --cpu --seed 3 --num-workers 0 "
    "--arch fully_connected --hidden-size 32 --init-std 0.2 --no-epoch-checkpoints"
).split()
PAIRWISE = ["--criterion", "pairwise_label_smoothing", "--report-target-mass"]
ORIGINALS, PAIRS = 4, 5  # numbers of updates done


def train(folder, *args):
    """fairseq-train in this process; the checkpoint that it leaves."""
    metrics.reset()
    fairseq_train.main(config(*SMALL, *args, "--log-format", "none", "--save-dir", folder))
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.fixture
def digits():
    """(task, model in float64 in training mode, function that makes a batch of some images)."""
    task = make_image_task(image_dataset="digits")
    torch.manual_seed(1)
    model = make_image_model("fully_connected", 1, 8, hidden_size=16, init_std=0.3).double().train()
    task.feature_size = model.classifier.in_features
    task.load_dataset("train")
    data = task.dataset("train")

    def batch(count=13):
        sample = data.collater([data[i] for i in range(count)])
        sample["net_input"]["images"] = sample["net_input"]["images"].double()
        return sample

    return task, model, batch


def pairs_of(sample, seed):
    """Images and labels of both, as the criterion draws them after torch.manual_seed(seed)."""
    torch.manual_seed(seed)
    order = torch.randperm(len(sample["target"]))
    return sample["net_input"]["images"][order], sample["target"][order]


def literal(model, head, images, target, partner, weight):
    """Eq. 9-15 of Guo (2020) with autograd, summed over the batch; the learned distributions."""
    features = model.features(images)
    u = torch.full((len(target), 10), 0.1, dtype=torch.float64) if head is None else head(features).sigmoid().softmax(1)
    q = (F.one_hot(target, 10) + F.one_hot(partner, 10)) / 2
    targets = (1 - weight) * q + weight * u
    return -(targets * model.classifier(features).log_softmax(1)).sum(), targets


def gradients(loss, *modules):
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    return torch.autograd.grad(loss, parameters)


# --- the criterion ---

SETTINGS = [
    {},
    {"smoothing_weight": 0.2},
    {"smoothing_weight": 0.0},
    {"smoothing_distribution": "uniform", "smoothing_weight": 0.3},
    {"pairs_only": True},
]


@pytest.mark.parametrize("flags", SETTINGS, ids=str)
@pytest.mark.parametrize("updates", [ORIGINALS, PAIRS])
@pytest.mark.parametrize("count", [1, 13])
def test_pairwise_is_the_published_loss(digits, flags, updates, count):
    """Value and the gradients of body, last layer and second layer; odd batches, and a batch of one."""
    task, model, batch = digits
    sample = batch(count)
    criterion = build(task, "pairwise_label_smoothing", **flags).double()
    model.set_num_updates(updates)
    weight, learned = flags.get("smoothing_weight", 0.5), flags.get("smoothing_distribution") != "uniform"
    assert (criterion.smoothing_head is not None) == (learned and weight > 0)
    other, partner = pairs_of(sample, 7)
    images, target = sample["net_input"]["images"], sample["target"]
    if updates == ORIGINALS and not flags.get("pairs_only"):
        other, partner = images, target
    # u' is computed in float32, also of a model in float64
    head = criterion.smoothing_head
    expected, _ = literal(model, head, (images + other) / 2, target, partner, weight)
    torch.manual_seed(7)
    loss, size, log = criterion(model, sample)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    got, wanted = (gradients(x, model, head) for x in (loss, expected))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    assert size == log["nsentences"] == count and set(log) == {*log, "loss", "nll_loss"}


def test_mixup_mixes_by_one_draw_for_a_batch(digits):
    task, model, batch = digits
    sample = batch()
    criterion = build(task, "mixup", mixup_alpha=0.4)
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(torch.tensor(0.4), torch.tensor(0.4)).sample())
    order = torch.randperm(13)
    images, target = sample["net_input"]["images"], sample["target"]
    logits = model(share * images + (1 - share) * images[order])
    hard = [F.cross_entropy(logits, labels, reduction="sum") for labels in (target, target[order])]
    expected = share * hard[0] + (1 - share) * hard[1]
    torch.manual_seed(5)
    loss, _, log = criterion(model, sample)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(loss, model), gradients(expected, model))
    assert log["nll_loss"] == pytest.approx(float(expected))


def test_shares_of_mixup_are_uniform_unless_told(digits):
    """Beta(1, 1) has mean 1/2 and variance 1/12, Beta(a, a) variance 1/(4(2a+1))."""
    task, model, _ = digits
    for alpha, variance in ((1.0, 1 / 12), (0.2, 1 / 5.6)):
        criterion = build(task, "mixup", mixup_alpha=alpha)
        torch.manual_seed(1)
        draws = torch.tensor([criterion.share(model) for _ in range(3000)])
        assert draws.mean().item() == pytest.approx(0.5, abs=0.03) and draws.min() >= 0 and draws.max() <= 1
        assert draws.var().item() == pytest.approx(variance, abs=0.01)


@pytest.mark.parametrize("name", ["mixup", "pairwise_label_smoothing"])
def test_evaluation_is_cross_entropy_of_the_images(digits, name):
    task, model, batch = digits
    sample = batch()
    model.set_num_updates(PAIRS)
    loss, _, log = build(task, name, report_accuracy=True)(model.eval(), sample)
    expected = F.cross_entropy(model(**sample["net_input"]), sample["target"], reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert log["nll_loss"] == pytest.approx(float(expected)) and log["total"] == 13
    assert not any("target" in key for key in log)


def test_two_passes_and_z_loss_keep_one_target_for_a_pair(digits):
    """Without dropout both passes of R-Drop are alike: twice the loss, and twice its gradient, u' included."""
    task, model, batch = digits
    sample = batch()
    model.set_num_updates(PAIRS)
    criterion = build(task, "pairwise_label_smoothing", rdrop_weight=1.0, z_loss=0.01).double()
    other, partner = pairs_of(sample, 7)
    images = (sample["net_input"]["images"] + other) / 2
    expected, _ = literal(model, criterion.smoothing_head, images, sample["target"], partner, 0.5)
    expected = 2 * (expected + 0.01 * model(images).logsumexp(1).square().sum())
    torch.manual_seed(7)
    loss = criterion(model, sample)[0]
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    both = (model, criterion.smoothing_head)
    torch.testing.assert_close(gradients(loss, *both), gradients(expected, *both), rtol=1e-5, atol=1e-6)


def test_target_mass_is_logged_over_the_pairs_of_two_classes(digits):
    task, model, batch = digits
    sample = batch(40)
    criterion = build(task, "pairwise_label_smoothing", report_target_mass=True).double()
    nn.init.normal_(criterion.smoothing_head.weight, std=5)
    logs, expected = [], []
    for updates in (ORIGINALS, PAIRS):
        model.set_num_updates(updates)
        other, partner = pairs_of(sample, 7)
        torch.manual_seed(7)
        logs.append(criterion(model, sample)[2])
    images, target = (sample["net_input"]["images"] + other) / 2, sample["target"]
    _, targets = literal(model, criterion.smoothing_head, images, target, partner, 0.5)
    for row, k, j in zip(targets.tolist(), target.tolist(), partner.tolist(), strict=True):
        if k != j:
            rest = sorted((mass for i, mass in enumerate(row) if i not in (k, j)), reverse=True)
            expected.append([*sorted((row[k], row[j]), reverse=True), *rest[:5]])
    assert len(expected) < 40  # some are of one class
    with metrics.aggregate(new_root=True) as meters:
        type(criterion).reduce_metrics(logs)
    means = torch.tensor(expected).mean(0).tolist()
    values = meters.get_smoothed_values()
    assert [values[name] for name in TARGETS] == pytest.approx(means, abs=1e-4)
    assert set(logs[0]) == set(logs[1])  # the same keys on every worker
    # half of the label and half of what the sigmoid allows, 0.039 to 0.232
    low, high = 0.5 / (1 + 9 * math.e), 0.5 * math.e / (math.e + 9)
    assert all(0.25 + low <= values[name] <= 0.25 + high for name in TARGETS[:2])
    assert all(low <= values[name] <= high for name in TARGETS[2:])


def test_three_classes_have_one_other(digits):
    task, _, batch = digits
    task.state.images["classes"] = ["a", "b", "c"]
    model = make_image_model("fully_connected", 1, 8, 3, hidden_size=16, init_std=0.3).double()
    criterion = build(task, "pairwise_label_smoothing", report_target_mass=True, pairs_only=True).double()
    sample = batch()
    sample["target"] = sample["target"] % 3
    log = criterion(model, sample)[2]
    assert [name for name in TARGETS if name in log] == list(TARGETS[:3])
    assert float(sum(log[name] for name in TARGETS[:3])) == pytest.approx(float(log["_target_pairs"]), rel=1e-6)


BAD = [
    ("pairwise_label_smoothing", {"smoothing_weight": 1.1}, "--smoothing-weight"),
    ("pairwise_label_smoothing", {"smoothing_weight": math.nan}, "--smoothing-weight"),
    ("mixup", {"mixup_alpha": 0.0}, "--mixup-alpha"),
    ("mixup", {"mixup_alpha": math.inf}, "--mixup-alpha"),
]


@pytest.mark.parametrize("name, flags, message", BAD)
def test_bad_settings_are_one_line(digits, name, flags, message):
    with pytest.raises(UserError, match=message) as caught:
        build(digits[0], name, **flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mixup", "pairwise_label_smoothing"])
def test_text_has_nothing_to_average(name):
    with pytest.raises(UserError, match=f"--criterion {name}: averages images, which tokens are not"):
        build(make_task(), name)


# --- through fairseq ---


@pytest.mark.slow
@pytest.mark.parametrize("method", [PAIRWISE, ["--criterion", "mixup"]], ids=["pairwise", "mixup"])
def test_they_learn_and_resume_where_they_stopped(method, tmp_path):
    """Stopped after an odd number of updates, in the second epoch of 21, with two batches to an update."""
    best = "--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric --dropout 0.1".split()
    flags = [*method, *best, "--update-freq", 2, "--store-ema", "--ema-decay", 0.9]
    straight = train(tmp_path / "straight", *flags, "--max-update", 60)
    assert straight["extra_state"]["val_loss"] > 40  # percent, four times chance
    train(tmp_path / "stopped", *flags, "--max-update", 17)
    resumed = train(tmp_path / "stopped", *flags, "--max-update", 60)
    for part in ("model", "criterion"):
        torch.testing.assert_close(straight[part], resumed[part], rtol=0, atol=0)
    torch.testing.assert_close(straight["extra_state"]["ema"], resumed["extra_state"]["ema"], rtol=0, atol=0)
    if method is not PAIRWISE:
        assert not straight["criterion"]
        return
    # saved with its optimizer's state, and in no model
    assert {name: tuple(x.shape) for name, x in straight["criterion"].items()} == {
        "smoothing_head.weight": (10, 32),
        "smoothing_head.bias": (10,),
    }
    assert not any("smoothing" in name for name in straight["model"])
    assert len(straight["last_optimizer_state"]["state"]) == len(straight["model"]) + 2
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "straight/checkpoint_best.pt")])
    assert model.state_dict().keys() == straight["model"].keys() and task.feature_size == 32


def test_batches_take_turns_by_the_number_of_updates(tmp_path, monkeypatch):
    """Both batches of an update are of one kind, after a validation in between and a resume too."""
    seen = []
    cls = type(build(_with_features(), "pairwise_label_smoothing"))
    original = cls.share

    def share(self, model):
        seen.append(original(self, model))
        return seen[-1]

    monkeypatch.setattr(cls, "share", share)
    flags = [*PAIRWISE, "--update-freq", 2, "--validate-interval-updates", 1]
    train(tmp_path, *flags, "--max-update", 3)
    train(tmp_path, *flags, "--max-update", 6)
    assert seen == [1.0, 1.0, 0.5, 0.5] * 3


@pytest.mark.parametrize("arch", ["resnet20", "densenet121"])
def test_any_architecture_has_the_second_layer(digits, arch):
    """Also a network with batch normalization, in bfloat16."""
    task, _, batch = digits
    model = make_image_model(arch, 1, 8).bfloat16().train()
    task.feature_size = model.classifier.in_features
    criterion = build(task, "pairwise_label_smoothing", pairs_only=True).bfloat16()
    sample = batch(4)
    sample["net_input"]["images"] = sample["net_input"]["images"].bfloat16()
    loss = criterion(model, sample)[0]
    found = gradients(loss, model, criterion.smoothing_head)
    assert all(gradient.isfinite().all() for gradient in found) and found[-2].abs().sum() > 0
    assert not model.classifier._forward_pre_hooks


def test_ece_after_scaling_is_that_of_the_best_temperature(digits):
    from labo_fairseq.records import predictions
    from labo_fairseq.vision.accuracy import TEMPERATURES, AccuracyLog, ScaledLog

    torch.manual_seed(3)
    target = torch.arange(200) % 10
    logits = 0.3 * (2 * torch.randn(200, 10) + 3 * F.one_hot(target, 10))
    parts = [slice(0, 70), slice(70, 200)]
    logs = [{**AccuracyLog.of(logits[p], target[p]), **ScaledLog.of(logits[p], target[p])} for p in parts]
    with metrics.aggregate(new_root=True) as meters:
        for reduce in (AccuracyLog.reduce, ScaledLog.reduce):
            reduce(logs)
    values = meters.get_smoothed_values()
    found = predictions.Predictions(logits.numpy(), target.numpy(), tuple("abcdefghij"), "valid", "", "")
    best = min(TEMPERATURES, key=lambda t: negative_log_likelihood(found.logits, found.labels, t))
    assert values["temperature"] == best == pytest.approx(fit_temperature(found).factor, rel=0.1)
    assert values["ece_scaled"] == pytest.approx(measures(found.logits, found.labels, best)["ece"], abs=1e-4)
    assert values["ece_scaled"] < values["ece"]


def _with_features():
    task = make_image_task(image_dataset="digits")
    task.feature_size = 32
    return task


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["legacy_ddp", "pytorch_ddp"])
def test_two_workers_take_turns_together(backend, tmp_path, run_cli):
    """Pairs at odd numbers of updates on both, and a resumed run ends where an uninterrupted one does."""

    def run(name, updates):
        args = [*SMALL, *PAIRWISE, "--max-update", updates, "--log-format", "json", "--log-interval", 1]
        done = run_cli(
            *("torchrun", "--standalone", "--nproc_per_node", 2, Path(sys.executable).with_name("fairseq-train")),
            *("--user-dir", USER_DIR, "--task", "torchvision_classification", *args, "--save-dir", tmp_path / name),
            *("--distributed-world-size", 2, "--ddp-backend", backend, "--distributed-backend", "gloo"),
            *("--log-file", tmp_path / f"{name}.log", "--report-scaled-ece"),
        )
        assert done.returncode == 0, done.stderr
        return torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)

    straight = run("straight", 15)
    run("stopped", 6)
    resumed = run("stopped", 15)
    for part in ("model", "criterion"):
        torch.testing.assert_close(straight[part], resumed[part], rtol=0, atol=0)
    lines = [line for line in (tmp_path / "straight.log").read_text().splitlines() if '"update": ' in line]
    inner = [json.loads(line[line.index("{") :]) for line in lines]
    for values in inner:
        of_pairs = (int(values["num_updates"]) - 1) % 2 == 1
        assert (float(values.get("target_true_1") or 0) > 0.25) == of_pairs, values
    assert len({values["num_updates"] for values in inner}) == 15
