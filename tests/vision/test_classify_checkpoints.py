"""`labo classify-report` and `labo calibrate` on a checkpoint: a network on the digits, in this process."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from _vision import config, make_image_task, needs_torchvision
from fairseq import metrics
from fairseq_cli import train as fairseq_train
from PIL import Image

from labo_fairseq import cli
from labo_fairseq.analysis.classification import fit_temperature
from labo_fairseq.calibration.file import classes_record, load
from labo_fairseq.calibration.procedure import load_models
from labo_fairseq.measures.classification import measures
from labo_fairseq.records import predictions

pytestmark = needs_torchvision

TRAIN = (
    "--image-dataset digits --optimizer torch_sgd --lr 0.1 --batch-size 64 --cpu --seed 3 --arch fully_connected "
    "--hidden-size 32 --init-std 0.2 --criterion label_smoothing --label-smoothing 0 --max-epoch 2 --log-format none "
    "--no-epoch-checkpoints --num-workers 0 --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    metrics.reset()
    fairseq_train.main(config(*TRAIN.split(), "--save-dir", folder / "checkpoints"))
    (folder / "train.log").write_text("")
    return folder


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """(output folder, predictions on test) of `labo classify-report`."""
    out = tmp_path_factory.mktemp("report")
    assert cli.main(["classify-report", str(run), "--cpu", "--out", str(out)]) == 0
    return out, predictions.read(run / "checkpoints/checkpoint_best.test.npz")


def test_predictions_are_the_models_on_plain_images(run, measured):
    """Each image through the network by itself, neither augmented nor shuffled."""
    _, found = measured
    (model,), _ = load_models([str(run / "checkpoints/checkpoint_best.pt")], None, "cpu")
    task = make_image_task(image_dataset="digits")
    task.load_dataset("test")
    data = task.dataset("test")
    assert len(found) == len(data) and found.labels.tolist() == [int(t) for t in data.images.targets]
    for i in (0, 130, len(data) - 1):
        with torch.no_grad():
            logits = model(**data.collater([data[i]])["net_input"])[0]
        np.testing.assert_allclose(found.logits[i], logits.numpy(), rtol=1e-4, atol=1e-5)
    assert measures(found.logits, found.labels)["accuracy"] > 0.3


def test_images_are_found_from_where_the_training_was_started(run, tmp_path, monkeypatch):
    """`--data images` of a training in EXPERIMENT, measured from elsewhere as EXPERIMENT/…/run."""
    checkpoint = tmp_path / "experiment/mnist10k/run/checkpoint_best.pt"
    checkpoint.parent.mkdir(parents=True)
    state = torch.load(run / "checkpoints/checkpoint_best.pt", weights_only=False)
    state["cfg"]["task"]["data"] = "images"
    torch.save(state, checkpoint)
    (tmp_path / "experiment/images").mkdir()
    monkeypatch.chdir(tmp_path)
    _, task = load_models(["experiment/mnist10k/run/checkpoint_best.pt"], None, "cpu")
    assert task.cfg.data == str(tmp_path / "experiment/images")
    _, task = load_models(["experiment/mnist10k/run/checkpoint_best.pt"], "other", "cpu")
    assert task.cfg.data == "other"
    (tmp_path / "images").mkdir()
    _, task = load_models(["experiment/mnist10k/run/checkpoint_best.pt"], None, "cpu")
    assert task.cfg.data == "images"


def test_pictures_and_tables_are_there(measured):
    out, _ = measured
    names = ("classes_reliability_1", "bin_errors_1", "softmax_histogram", "risk_coverage", "confusion_1")
    assert all((out / f"{name}.{kind}").stat().st_size for name in names for kind in ("png", "tsv"))
    assert (out / "report.html").read_text(encoding="utf-8").count("<svg") == 5


def test_the_surest_mistakes_are_shown_as_pictures(run, measured):
    """Each a small PNG of the very image: wrong, with the highest probability of all wrong ones first."""
    out, found = measured
    html = (out / "report.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img alt="" src="data:image/png;base64,([^"]+)"><figcaption>([^<]*)<', html)
    assert len(shown) == 12
    task = make_image_task(image_dataset="digits")
    task.load_dataset("test")
    images = task.dataset("test").images
    probability = torch.softmax(torch.from_numpy(found.logits), 1).max(1).values.numpy()
    wrong = found.logits.argmax(1) != found.labels
    last = 1.0
    for code, caption in shown:
        index = int(re.search(r"image (\d+)", caption)[1])
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(code))))
        np.testing.assert_array_equal(pixels, images.read(index)[0].numpy())
        assert wrong[index] and probability[index] <= last + 1e-6
        assert caption.startswith(f"{found.classes[found.logits[index].argmax()]} with p {probability[index]:.3f}")
        last = probability[index]
    assert last >= sorted(probability[wrong])[-12] - 1e-6


@pytest.mark.slow
def test_without_the_images_the_page_has_no_pictures_and_a_line_says_why(run, measured, tmp_path, capsys):
    for subset in ("test", "valid"):
        stored = predictions.read(run / f"checkpoints/checkpoint_best.{subset}.npz")
        predictions.write(stored, tmp_path / f"gone.{subset}.npz")
    arguments = ["classify-report", "--system", f"x={tmp_path / 'gone.pt'}", "--cpu", "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    assert "<img" not in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "no pictures of x: " in capsys.readouterr().err
    assert cli.main([*arguments, "--no-pictures"]) == 0
    assert "no pictures" not in capsys.readouterr().err


def test_only_a_changed_checkpoint_is_run_again(run, measured, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("labo_fairseq.vision.predict.predict", lambda *args: calls.append(args))
    checkpoint = run / "checkpoints/checkpoint_best.pt"
    assert cli.main(["classify-report", "--system", f"x={checkpoint}", "--no-page", "--json"]) == 0
    assert not calls
    bytes_before = checkpoint.read_bytes()
    checkpoint.write_bytes(bytes_before + b"0")
    try:
        assert cli.main(["classify-report", "--system", f"x={checkpoint}", "--no-page", "--json"]) == 0
    finally:
        checkpoint.write_bytes(bytes_before)
    assert calls == [(checkpoint, ["test", "valid"], None, False)]


def test_calibrate_agrees_with_the_report(run, measured, tmp_path):
    """The same temperature and figures from `labo calibrate`, which fits by another search."""
    _, found = measured
    checkpoint = run / "checkpoints/checkpoint_best.pt"
    arguments = [".", "--path", str(checkpoint), "--test-subset", "test", "--cpu", "--out", str(tmp_path)]
    assert cli.main(["calibrate", *arguments]) == 0
    calibration = load(tmp_path / "calibration.json")
    valid = predictions.read(run / "checkpoints/checkpoint_best.valid.npz")
    temperature = calibration.members[0].calibrator.temperature
    assert temperature == pytest.approx(fit_temperature(valid).factor, rel=2e-3)
    assert calibration.dictionary == classes_record([str(i) for i in range(10)])
    for when, t in (("test before", 1.0), ("test after", temperature)):
        row, expected = calibration.measures[when]["all"], measures(found.logits, found.labels, t)
        for name in ("accuracy", "ece", "nll", "risk_coverage_area"):
            assert row[name] == pytest.approx(expected[name], abs=1e-5)
        assert row["signature"] == expected["signature"]
    assert list(calibration.measures["before"]) == ["all"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--calibrator", "grouped"], "images need --calibrator temperature"),
        (["--sweep"], "is for translation"),
        (["--frequency-bounds", "3"], "is for translation"),
        (["--subset", "nowhere"], "no such subset"),
    ],
)
def test_what_only_translation_has(run, tmp_path, capsys, flags, reason):
    checkpoint = str(run / "checkpoints/checkpoint_best.pt")
    assert cli.main(["calibrate", ".", "--path", checkpoint, "--cpu", "--out", str(tmp_path), *flags]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("labo calibrate: ") and reason in last


def test_the_checkpoint_is_left_as_it_was(run, measured):
    inside = sorted(path.name for path in (run / "checkpoints").iterdir())
    npz = ["checkpoint_best.test.npz", "checkpoint_best.valid.npz"]
    assert inside == sorted(["checkpoint_best.pt", "checkpoint_last.pt", *npz])
    found = json.loads(json.dumps(measures(measured[1].logits, measured[1].labels)))  # plain numbers alone
    assert set(found) == {"accuracy", "top5", "ece", "nll", "risk_coverage_area", "signature"}
