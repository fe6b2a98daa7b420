"""Label noise in the image task: which labels become wrong, what is logged, what a checkpoint knows of it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from _models import build
from _vision import config, make_image_model, make_image_task, needs_torchvision
from fairseq import metrics
from fairseq_cli import train as fairseq_train

import labo_fairseq
from labo_fairseq import cli
from labo_fairseq.errors import UserError
from labo_fairseq.measures.classification import log_probabilities
from labo_fairseq.noise.transition import pair
from labo_fairseq.records import predictions

pytestmark = needs_torchvision

USER_DIR = Path(labo_fairseq.__file__).parent

TRAIN = (
    "--image-dataset digits --optimizer torch_sgd --lr 0.1 --batch-size 64 --cpu --seed 3 --arch fully_connected "
    "--hidden-size 32 --init-std 0.2 --criterion label_smoothing --label-smoothing 0.2 --smoothing-form fairseq "
    "--no-epoch-checkpoints --num-workers 0 --report-accuracy --log-format json"
).split()


def loaded(split="train", **flags):
    task = make_image_task(image_dataset="digits", **flags)
    task.load_dataset(split)
    return task.dataset(split).images


def test_symmetric_noise_has_its_rate_and_reaches_all_other_classes():
    images = loaded(label_noise="symmetric:0.5")
    wrong = images.targets != images.clean_targets
    assert abs(wrong.mean() - 0.5) < 4 * (0.25 / len(images)) ** 0.5
    shift = (images.targets - images.clean_targets)[wrong] % 10
    counts = np.bincount(shift, minlength=10)
    assert counts[0] == 0 and counts[1:].min() > 0.5 * wrong.sum() / 9
    assert np.array_equal(images.clean_targets, loaded().targets)


def test_pair_and_file_are_the_same_noise(tmp_path):
    images = loaded(label_noise="pair:0.3")
    assert set((images.targets - images.clean_targets) % 10) == {0, 1}
    file = tmp_path / "t.txt"
    np.savetxt(file, pair(10, 0.3).numpy())
    assert np.array_equal(loaded(label_noise=f"transition:{file}").targets, images.targets)


def test_noise_depends_on_its_seed_alone():
    first, again = loaded(label_noise="symmetric:0.3"), loaded(label_noise="symmetric:0.3", seed=7)
    other = loaded(label_noise="symmetric:0.3", noise_seed=2)
    assert np.array_equal(first.targets, again.targets) and not np.array_equal(first.targets, other.targets)


def test_each_subset_has_its_own_noise():
    flags = {"label_noise": "symmetric:0.4", "valid_share": 0.0}
    assert not loaded("valid", **flags).noisy and not loaded("test", **flags).noisy
    both = {**flags, "valid_label_noise": "symmetric:0.4"}
    assert np.array_equal(loaded("train", **both).targets, loaded("train", **flags).targets)
    valid, test = loaded("valid", **both), loaded("test", **both)
    assert valid.noisy and np.array_equal(valid.clean_targets, test.targets) and not test.noisy
    assert not loaded("train", valid_label_noise="symmetric:0.4").noisy


def test_the_unigram_prior_counts_the_labels_that_are_trained_on():
    task = make_image_task(image_dataset="digits", label_noise="pair:1")
    assert np.array_equal(task.class_counts(), np.roll(make_image_task(image_dataset="digits").class_counts(), 1))


@pytest.mark.parametrize("rdrop", [0.0, 1.0])
def test_a_training_step_counts_the_true_labels(rdrop):
    """R-Drop's two passes are of the same image: it counts once."""
    task = make_image_task(image_dataset="digits", label_noise="symmetric:0.5")
    task.load_dataset("train")
    data = task.dataset("train")
    batch = data.collater([data[i] for i in range(40)])
    assert (batch["clean_target"] != batch["target"]).any()
    torch.manual_seed(1)
    model = make_image_model("fully_connected", 1, 8, hidden_size=32, init_std=0.3)
    log = task.train_step(batch, model, build(task, "labo", rdrop_weight=rdrop), _NoOptimizer(), 0)[2]
    best = model(**batch["net_input"]).argmax(-1)
    assert log["_images_clean"] == 40 and log["_images_clean_correct"] == (best == batch["clean_target"]).sum()


class _NoOptimizer:
    def backward(self, loss):
        loss.backward()


@pytest.fixture(scope="module")
def run(tmp_path_factory, run_cli):
    """A run folder whose training and validation labels are noisy, by a matrix in a file that is gone."""
    folder = tmp_path_factory.mktemp("run")
    file = folder / "t.txt"
    np.savetxt(file, pair(10, 0.3).numpy())
    noise = ["--label-noise", f"transition:{file}", "--valid-label-noise", "symmetric:0.2"]
    task = ["--user-dir", USER_DIR, "--task", "torchvision_classification"]
    arguments = [*task, *TRAIN, *noise, "--max-epoch", "2", "--save-dir", folder / "checkpoints"]
    done = run_cli("fairseq-train", *arguments, "--log-file", folder / "train.log")
    assert done.returncode == 0, done.stderr
    (folder / "command.json").write_text(json.dumps(["fairseq-train", *map(str, arguments)]))
    file.unlink()
    return folder


def test_accuracy_on_true_labels_is_logged(run):
    text = (run / "train.log").read_text()
    assert '"train_clean_accuracy"' in text and '"valid_clean_accuracy"' in text


def test_the_checkpoint_keeps_the_noise(run):
    state = torch.load(run / "checkpoints/checkpoint_last.pt", weights_only=True)["task_state"]
    torch.testing.assert_close(state["label_noise"]["train"], pair(10, 0.3))
    assert set(state["label_noise"]) == {"train", "valid"}


def test_resume_trains_on_the_same_labels(tmp_path):
    """One epoch and one more are two epochs, bit for bit."""

    def train(folder, epochs):
        metrics.reset()
        noise = ["--label-noise", "symmetric:0.3", "--max-epoch", epochs, "--save-dir", tmp_path / folder]
        fairseq_train.main(config(*TRAIN, *noise, "--log-format", "none"))
        return torch.load(tmp_path / folder / "checkpoint_last.pt", weights_only=True)["model"]

    whole = train("whole", 2)
    train("parts", 1)
    parts = train("parts", 2)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


@pytest.mark.slow
def test_validation_sees_the_labels_of_the_run(run, run_cli):
    """Where the file of the matrix is gone; accuracy is by the noisy labels, clean_accuracy by the true ones."""
    path = run / "checkpoints/checkpoint_last.pt"
    done = run_cli("fairseq-validate", "--user-dir", USER_DIR, "--task", "torchvision_classification", "--path", path,
                   "--valid-subset", "valid", "--batch-size", 50, "--cpu", "--log-format", "json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    logged = re.search(r'\{"valid_loss.*\}', done.stdout + done.stderr) or re.search(r'\{.*"valid_acc.*\}', done.stderr)
    values = json.loads(logged[0])
    log = (run / "train.log").read_text()
    for name in ("accuracy", "clean_accuracy"):
        assert values[f"valid_{name}"] == re.findall(rf'"valid_{name}": "([\d.]+)"', log)[-1]
    assert float(values["valid_clean_accuracy"]) > float(values["valid_accuracy"])


def test_classify_report_and_calibrate_know_which_labels_are_noise(run, tmp_path, capsys):
    assert cli.main(["classify-report", str(run), "--cpu", "--no-page", "--json"]) == 0
    captured = capsys.readouterr()
    assert "valid: " in captured.err and "% of the labels are noise that the training run added" in captured.err
    valid = predictions.read(run / "checkpoints/checkpoint_best.valid.npz")
    test = predictions.read(run / "checkpoints/checkpoint_best.test.npz")
    assert test.clean_labels is None
    assert np.array_equal(valid.clean_labels, loaded("valid").targets)
    assert 0.1 < (valid.labels != valid.clean_labels).mean() < 0.3
    out = tmp_path / "calibration"
    arguments = [".", "--path", run / "checkpoints/checkpoint_best.pt", "--test-subset", "test", "--cpu", "--out", out]
    assert cli.main(["calibrate", *map(str, arguments)]) == 0


def test_compare_and_estimate_on_a_run(run, tmp_path, capsys):
    (tmp_path / "t.txt").write_text("")
    command = json.loads((run / "command.json").read_text())
    index = command.index("--label-noise") + 1
    (run / "command.json").write_text(json.dumps([*command[:index], "pair:0.3", *command[index + 1 :]]))
    out = tmp_path / "out"
    assert cli.main(["noise", "compare", str(run), "--cpu", "--out", str(out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["type"] == "beta" and found["clean_rate"] == pytest.approx(0.7) and found["p"] == pytest.approx(0.8)
    train = predictions.read(run / "checkpoints/checkpoint_best.train.npz")
    log_p = log_probabilities(train.logits)
    rows = np.arange(len(log_p))
    expected = -(0.7 * log_p[rows, train.clean_labels] + 0.3 * log_p[rows, (train.clean_labels + 1) % 10]).mean()
    assert found["fitted"] == pytest.approx(expected)
    reached = -(0.8 * log_p[rows, train.labels] + 0.2 / 9 * (log_p.sum(1) - log_p[rows, train.labels])).mean()
    entropy = -0.8 * np.log(0.8) - 0.2 * np.log(0.2 / 9)
    assert found["excess"] == pytest.approx(reached - entropy) and found["excess"] > 0
    assert (out / "slices_beta.png").stat().st_size and (out / "comparison.tsv").read_text().count("\n") == 3
    assert cli.main(["noise", "estimate", str(run), "--cpu", "--samples", "5"]) == 0
    heading, row = (line.split("\t") for line in capsys.readouterr().out.splitlines()[1:3])
    valid = predictions.read(run / "checkpoints/checkpoint_best.valid.npz")
    true = float((valid.labels == valid.clean_labels).mean())
    assert float(row[heading.index("true")]) == pytest.approx(true, abs=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"label_noise": "symmetric:1.2"}, "--label-noise: symmetric:1.2: 1.2 is out of range"),
        ({"valid_label_noise": "pairs:0.1"}, "--valid-label-noise: pairs:0.1: no such noise"),
        ({"label_noise": "transition:none.txt"}, "none.txt: No such file"),
    ],
)
def test_mistakes_are_one_line(flags, message):
    with pytest.raises(UserError, match=message):
        make_image_task(image_dataset="digits", **flags).load_dataset("train")


def test_a_matrix_of_another_size(tmp_path):
    np.savetxt(tmp_path / "t.txt", pair(4, 0.1).numpy())
    with pytest.raises(UserError, match="4 rows of 4 numbers: must be 10 × 10"):
        loaded(label_noise=f"transition:{tmp_path / 't.txt'}")
