"""The baselines of LABO's Table 3 on images: pairs, averaged model, class table and teacher, through fairseq."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from _models import build, make_batch, make_model, make_task
from _vision import config, make_image_model, make_image_task, needs_torchvision
from fairseq import metrics
from fairseq_cli import train as fairseq_train

from labo_fairseq.errors import UserError

pytestmark = needs_torchvision

DIGITS = "--image-dataset digits --optimizer torch_sgd --nesterov --lr 0.1 --batch-size 64 --cpu --seed 3".split()
SMALL = [*DIGITS, *"--arch fully_connected --hidden-size 64 --init-std 0.2 --num-workers 0".split()]
QUIET = "--log-format none --no-epoch-checkpoints".split()
EMA = ["--store-ema", "--ema-decay", 0.9]
METHODS = {
    "cs_kd": [],
    "tf_reg": [],
    "beta_smoothing": EMA,
    "kr_ls": ["--layer-weight-decay", "class_table=0.001"],
}
WITH_STATE = ["cs_kd", "beta_smoothing", "kr_ls"]


def train(folder, *args):
    """fairseq-train in this process; the checkpoint that it leaves."""
    metrics.reset()
    fairseq_train.main(config(*args, *QUIET, "--save-dir", folder))
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.fixture
def digits():
    """(task, model in float64, function that makes a batch of a subset)."""
    task = make_image_task(image_dataset="digits")
    torch.manual_seed(1)
    model = make_image_model("fully_connected", 1, 8, hidden_size=32, init_std=0.3).double()

    def batch(subset="train", count=24):
        task.load_dataset(subset)
        data = task.dataset(subset)
        sample = data.collater([data[i] for i in range(count)])
        for key in ("net_input", "partner"):
            if key in sample:
                sample[key]["images"] = sample[key]["images"].double()
        return sample

    return task, model, batch


def value_and_gradients(loss, model):
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


# --- all of them ---


@pytest.mark.parametrize(
    "name, flags",
    [
        pytest.param(*row, id=row[0], marks=() if row[0] == "beta_smoothing" else pytest.mark.slow)
        for row in METHODS.items()
    ],
)
def test_they_learn_and_resume_where_they_stopped(name, flags, tmp_path):
    """Stopped in the second epoch of 21 updates: weights, averaged weights and table go on as if nothing had been."""
    best = "--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric --dropout 0.1".split()
    common = [*SMALL, "--criterion", name, "--report-accuracy", *flags, *best]
    straight = train(tmp_path / "straight", *common, "--max-update", 60)
    assert straight["extra_state"]["val_loss"] > 60  # the metric above, at the last update, in percent; chance is 10
    train(tmp_path / "stopped", *common, "--max-update", 33)
    resumed = train(tmp_path / "stopped", *common, "--max-update", 60)
    for part in ("model", "criterion"):
        torch.testing.assert_close(straight[part], resumed[part], rtol=0, atol=0)
    if name == "beta_smoothing":
        torch.testing.assert_close(straight["extra_state"]["ema"], resumed["extra_state"]["ema"], rtol=0, atol=0)
    assert (straight["criterion"] is not None) == (name == "kr_ls")


@pytest.mark.parametrize("name", WITH_STATE)
def test_evaluation_is_cross_entropy(digits, name):
    task, model, batch = digits
    sample = batch("valid")
    flags = {"store_ema": True} if name == "beta_smoothing" else {}
    loss, _, log = build(task, name, report_accuracy=True, **flags)(model.eval(), sample)
    expected = F.cross_entropy(model(**sample["net_input"]), sample["target"], reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert log["total"] == 24


BAD = [
    ("cs_kd", {"pair_weight": -1.0}, "--pair-weight"),
    ("cs_kd", {"pair_temperature": 0.0}, "--pair-temperature"),
    ("tf_reg", {"distill_weight": 2.0}, "--distill-weight"),
    ("tf_reg", {"teacher_temperature": 0.0}, "--teacher-temperature"),
    ("tf_reg", {"teacher_confidence": 1.5}, "--teacher-confidence"),
    ("tf_reg", {"student_temperature": math.nan}, "--student-temperature"),
    ("tf_reg", {"distill_multiplier": -1.0}, "--distill-multiplier"),
    ("beta_smoothing", {"store_ema": True, "smoothing_weight": -0.1}, "--smoothing-weight"),
    ("beta_smoothing", {"store_ema": True, "beta_shape": 0.0}, "--beta-shape"),
    ("beta_smoothing", {"store_ema": False}, "add --store-ema --ema-decay 0.999"),
    ("kr_ls", {"table_weight": -1.0}, "--table-weight"),
    ("kr_ls", {"table_limit": 9}, "the table of 10 classes .* give --table-limit 10"),
    ("kr_ls", {"projection": "fused"}, "--projection fused: the class table learns from the logits"),
]


@pytest.mark.parametrize("name, flags, message", BAD)
def test_bad_settings_are_one_line(digits, name, flags, message):
    task, model, batch = digits
    with pytest.raises(UserError, match=message) as caught:
        build(task, name, **flags)(model, batch())
    assert "\n" not in str(caught.value)


def test_text_has_no_pairs():
    with pytest.raises(UserError, match="--criterion cs_kd: only --task torchvision_classification draws pairs"):
        build(make_task(), "cs_kd")


# --- CS-KD ---


def test_cs_kd_is_the_released_loss(digits):
    """Both halves through the model, the partners without gradient and without cross entropy."""
    task, model, batch = digits
    criterion = build(task, "cs_kd", pair_weight=3.0)
    sample = batch()
    x, partner = model(**sample["net_input"]), model(**sample["partner"]).detach()
    soft = F.kl_div(F.log_softmax(x / 4, 1), F.softmax(partner / 4, 1), reduction="sum")
    expected = F.cross_entropy(x, sample["target"], reduction="sum") + 3 * 16 * soft
    loss, size, log = criterion(model, sample)
    torch.testing.assert_close(value_and_gradients(loss, model), value_and_gradients(expected, model))
    assert size == log["nsentences"] == 24


def test_every_image_meets_another_of_its_class_each_epoch(digits):
    task, _, _ = digits
    task.draws_pairs = True
    task.load_dataset("train")
    task.load_dataset("valid")
    data = task.dataset("train")
    targets = data.images.targets
    chosen = {}
    for epoch in (1, 2):
        data.set_epoch(epoch)
        chosen[epoch] = np.array([data._partner(i) for i in range(len(data))])
        assert (targets[chosen[epoch]] == targets).all()
        again = np.array([data._partner(i) for i in reversed(range(len(data)))])[::-1]
        assert (again == chosen[epoch]).all()  # nothing but seed, epoch and index decides
    assert (chosen[1] != chosen[2]).mean() > 0.95
    # about as many different partners as n draws with replacement have, 1 - 1/e
    assert len(set(chosen[1])) / len(data) == pytest.approx(1 - 1 / math.e, abs=0.04)
    assert "partner" not in task.dataset("valid").collater([task.dataset("valid")[0]])


def test_the_only_image_of_a_class_is_its_own_partner(digits):
    task, _, _ = digits
    task.draws_pairs = True
    task.load_dataset("train")
    data = task.dataset("train")
    lone = int(np.flatnonzero(data.images.targets == 9)[0])
    images = data.images.subset(np.r_[np.flatnonzero(data.images.targets < 9)[:20], lone])
    pairs = type(data)(images, data.transform, data.normalization, 1, seed=1, pairs=True)
    assert pairs._partner(20) == 20
    sample = pairs.collater([pairs[i] for i in range(21)])
    assert sample["partner"]["images"].shape == sample["net_input"]["images"].shape
    counts = Counter(bool(torch.equal(pairs[20]["image"], pairs[20]["partner"])) for pairs.epoch in range(20))
    assert counts[False] > 5  # each is augmented by itself


# --- Beta smoothing ---


def expected_beta(logits, averaged, target, shape=3.0, alpha=0.6):
    """Released form, for targets that are no padding: sorted draws, in the order of the averaged model's p_k."""
    with torch.no_grad():
        confidence = torch.softmax(averaged, 1).gather(1, target.unsqueeze(1)).squeeze(1)
    torch.manual_seed(11)
    draws = sorted(float(u) ** (1 / shape) for u in torch.rand(len(target), dtype=torch.float64))
    total = 0.0
    for draw, i in zip(draws, sorted(range(len(target)), key=lambda i: float(confidence[i])), strict=True):
        log_p = torch.log_softmax(logits[i], 0)
        labels = torch.full_like(log_p, (1 - draw) / (len(log_p) - 1))
        labels[target[i]] = draw
        total = total - (1 - alpha) * log_p[target[i]] - alpha * (labels * log_p).sum()
    return total


def test_beta_smoothing_ranks_by_the_model_that_the_trainer_hands_over(digits):
    task, model, batch = digits
    seen = []
    task.train_step = lambda *args, **kwargs: seen.append((args, kwargs))
    criterion = build(task, "beta_smoothing", store_ema=True)
    torch.manual_seed(2)
    ema = make_image_model("fully_connected", 1, 8, hidden_size=32, init_std=0.3).double()
    task.train_step("sample", update_num=1, ema_model=ema)
    assert task.uses_ema and seen == [(("sample",), {"update_num": 1})]
    assert not list(criterion.parameters()) and not list(criterion.modules())[1:]  # nothing of it is saved
    sample = batch()
    logits, averaged = (m(**sample["net_input"]) for m in (model, ema))
    expected = expected_beta(logits, averaged, sample["target"])
    torch.manual_seed(11)
    loss = criterion(model, sample)[0]
    torch.testing.assert_close(value_and_gradients(loss, model), value_and_gradients(expected, model))
    assert all(p.grad is None for p in ema.parameters())


@pytest.mark.parametrize("projection", ["dense", "fused"])
def test_padding_takes_no_rank(projection):
    text = make_task()
    text.train_step = text.valid_step = lambda *args, **kwargs: None
    criterion = build(text, "beta_smoothing", store_ema=True, projection=projection)
    model, sample = make_model(text).double(), make_batch(text.target_dictionary)
    ema = make_model(text).double()
    with torch.no_grad():
        ema.decoder.output_projection.weight.mul_(3)
    text.train_step(ema_model=ema)
    kept = sample["target"].ne(text.target_dictionary.pad())
    logits, averaged = (m(**sample["net_input"])[0][kept] for m in (model, ema))
    expected = expected_beta(logits, averaged, sample["target"][kept])
    torch.manual_seed(11)
    torch.testing.assert_close(criterion(model, sample)[0].detach(), expected.detach())


# --- KR-LS ---


def test_model_and_table_each_have_their_own_loss(digits):
    task, model, batch = digits
    criterion = build(task, "kr_ls", table_weight=0.3).double()
    with torch.no_grad():
        criterion.class_table.copy_(torch.randn(10, 10))
    sample = batch()
    logits, target = model(**sample["net_input"]), sample["target"]
    hard, toward_model, toward_table = F.cross_entropy(logits, target, reduction="sum"), 0.0, 0.0
    for z, k in zip(logits, target.tolist(), strict=True):
        wrong = [j for j in range(10) if j != k]
        p, q = torch.softmax(z[wrong], 0), torch.softmax(criterion.class_table[k, wrong], 0)
        toward_model = toward_model + (p * (p / q.detach()).log()).sum()
        toward_table = toward_table + (q * (q / p.detach()).log()).sum()
    expected = value_and_gradients(hard + 0.3 * toward_model, model)
    (expected_table,) = torch.autograd.grad(0.3 * toward_table, criterion.class_table)
    loss = criterion(model, sample)[0]
    got = [loss.detach(), *torch.autograd.grad(loss, [*model.parameters(), criterion.class_table])]
    torch.testing.assert_close(got, [*expected, expected_table])


# --- a teacher for images ---


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A checkpoint of resnet20 after a few updates."""
    folder = tmp_path_factory.mktemp("teacher")
    flags = [*DIGITS, "--arch", "resnet20", "--num-workers", 0, "--criterion", "cross_entropy", "--max-update", 3]
    train(folder, *flags, "--disable-validation")
    return folder / "checkpoint_last.pt"


def test_a_student_learns_from_a_teacher_of_another_architecture(digits, teacher, tmp_path):
    task, model, batch = digits
    sample = batch("valid")
    flags = {"teacher_path": str(teacher), "distill_weight": 0.9, "teacher_temperature": 5.0}
    criterion = build(task, "knowledge_distillation", save_dir="elsewhere", **flags)
    loss = criterion(model, sample)[0]
    network = make_image_model("resnet20", 1, 8).double()
    network.load_state_dict(torch.load(teacher, weights_only=True)["model"])
    with torch.no_grad():
        q = F.softmax(network.eval()(**sample["net_input"]) / 5, 1)
    z, target = model(**sample["net_input"]), sample["target"]
    soft = F.kl_div(F.log_softmax(z / 5, 1), q, reduction="sum")
    expected = 0.1 * F.cross_entropy(z, target, reduction="sum") + 0.9 * 25 * soft
    torch.testing.assert_close(value_and_gradients(loss, model), value_and_gradients(expected, model))
    assert task.classes == [str(i) for i in range(10)]
    state = train(
        tmp_path, *SMALL, "--criterion", "knowledge_distillation", "--teacher-path", teacher, "--max-update", 5
    )
    assert state["model"].keys() == model.state_dict().keys() and not state["criterion"]


CHANGES = [
    ({"classes": list("abc")}, r"has 3 classes \(a, b, c\), the data 10 \(0, 1, 2 and 7 more\): teacher and student"),
    ({"classes": list("1023456789")}, r"has 10 classes \(1, 0, 2 and 7 more\), the data 10"),
    ({"size": 32}, "saw images with size 32, the student sees 8"),
    ({"channels": 3}, "saw images with channels 3"),
    ({"normalization": {"by": "none"}}, "normalized images by other numbers"),
    ({"normalization": {"by": "channel", "mean": [0.5], "std": [0.2]}}, "normalized images by other numbers"),
    (None, "was not trained by --task torchvision_classification"),
]


@pytest.mark.parametrize("change, message", CHANGES)
def test_a_teacher_of_other_images_is_refused(digits, teacher, tmp_path, change, message):
    task, _, _ = digits
    state = torch.load(teacher, weights_only=True)
    if change is None:
        state["task_state"] = {}
    else:
        state["task_state"]["images"].update(change)
    torch.save(state, tmp_path / "teacher.pt")
    with pytest.raises(UserError, match=f"teacher.pt: {message}") as caught:
        build(task, "knowledge_distillation", save_dir="elsewhere", teacher_path=str(tmp_path / "teacher.pt"))
    assert "\n" not in str(caught.value)
