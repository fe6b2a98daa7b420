"""Experiments with image classifiers: file, commands, choice of a grid's point, tables. Nothing is trained here."""

import os

import numpy as np
import pytest

from labo_fairseq.errors import UserError
from labo_fairseq.experiment import cells, images, schedule, spec, table
from labo_fairseq.records import predictions


@pytest.fixture
def image_content():
    """Two methods, one with a grid, on digits; two seeds."""
    return {
        "name": "pictures",
        "corpus": {"images": "digits"},
        "train": {"arch": "fully_connected", "max-epoch": 1},
        "methods": {
            "cross entropy": {"criterion": "label_smoothing", "label-smoothing": 0},
            "smoothing": {"criterion": "label_smoothing", "label-smoothing": [0.1, 0.2]},
        },
        "seeds": [1, 2],
    }


@pytest.mark.parametrize(
    ("change", "where", "reason"),
    [
        ({"corpus": {"images": "digits", "directions": ["de-en"]}}, "corpus.directions", "is for translation"),
        ({"corpus": {"images": ["digits", "digits"]}}, "corpus.images", "given twice"),
        ({"corpus": {"images": 3}}, "corpus.images", "such as cifar10"),
        ({"decode": {"beam": 5}}, "decode", "leave it out for images"),
        ({"train": {"image-dataset": "mnist"}}, "train.image-dataset", "set by labo experiment"),
    ],
)
def test_mistakes_name_the_key(image_content, write, change, where, reason):
    file = write({**image_content, **change})
    with pytest.raises(UserError) as caught:
        spec.read(file)
    assert str(caught.value).startswith(f"{file}: {where}: ") and reason in str(caught.value)


def test_commands_of_a_cell(image_content, write):
    experiment = spec.read(write(image_content))
    cell = cells.first_cells(experiment)[0]
    (part,) = cell.parts
    assert cell.name == "digits/cross-entropy/seed1"
    command = " ".join(cell.train(cpu=True)).replace(str(cells.PACKAGE), "P")
    assert command.startswith(
        "fairseq-train data/digits --user-dir P --task torchvision_classification --image-dataset digits "
        "--best-checkpoint-metric accuracy --maximize-best-checkpoint-metric --arch fully_connected"
    )
    checkpoint = "digits/cross-entropy/seed1/checkpoints/checkpoint_best.pt"
    calibrate = f"labo calibrate data/digits --path {checkpoint} --test-subset test --out {cell.name}"
    assert " ".join(part.calibrate_images(cpu=False)) == f"{calibrate}/calibration/temperature"
    assert " ".join(part.classify(cpu=True)) == f"labo classify-report {cell.name} --no-page --json --cpu"
    assert part.result == f"{cell.name}/metrics.json"
    fetch = ["python", "-m", "labo_fairseq.experiment.images", "digits", "data/digits"]
    assert cells.prepare(experiment, cell.directions) == fetch


def finish(cell, out, valid, seed):
    """What a finished cell leaves: its predictions and its status."""
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    checkpoint = out / cell.parts[0].checkpoint
    checkpoint.parent.mkdir(parents=True)
    for subset in ("valid", "test"):
        logits = rng.normal(size=(60, 3)).astype(np.float32)
        logits[np.arange(60), labels] += 2
        found = predictions.Predictions(logits, labels, ("a", "b", "c"), subset, "data/digits", "0")
        predictions.write(found, predictions.path_beside(checkpoint, subset))
    accuracy = 100 * float((logits.argmax(1) == labels).mean())
    status = {"state": "done", "valid": {"accuracy": valid}, "test": {"accuracy": accuracy}}
    return {**status, "updates": 7, "minutes": 0.5}, accuracy


def test_the_grid_is_chosen_by_validation_accuracy_and_the_table_has_the_test(image_content, write, tmp_path):
    experiment = spec.read(write(image_content))
    ((directions, method),) = [(d, m) for d in experiment.trainings for m in experiment.methods if m.grid]
    found, accuracies = [], {}
    valid = {0.1: 50.0, 0.2: 60.0}
    for i, cell in enumerate(cells.first_cells(experiment)):
        status, accuracy = finish(cell, tmp_path, valid.get(cell.grid.get("label-smoothing"), 10.0), i)
        found.append((cell, status))
        accuracies.setdefault((cell.method.name, tuple(cell.grid.values())), []).append(accuracy)
    point = schedule.chosen_point(found, directions, method)
    assert point == {"label-smoothing": 0.2}
    for cell in cells.later_cells(experiment, directions, method, point):
        status, accuracy = finish(cell, tmp_path, 40.0, 9)
        found.append((cell, status))
        accuracies[("smoothing", (0.2,))].append(accuracy)
    tables = table.write_tables(experiment, found, tmp_path, report=False)
    heading, *rows = tables[0].rows
    shown = {row[0]: dict(zip(heading, row, strict=True)) for row in rows}
    for name, key in (("cross entropy", ()), ("smoothing", (0.2,))):
        assert shown[name]["accuracy"] == f"{np.mean(accuracies[name, key]):.2f}"
        assert shown[name]["accuracy std"] == f"{np.std(accuracies[name, key], ddof=1):.2f}"
        assert shown[name]["cells"] == "2/2"
    assert shown["smoothing"]["accuracy valid"] == "50.00"
    assert shown["smoothing"]["chosen"] == "label-smoothing=0.2"
    assert {"top-5", "ECE", "ECE after", "accuracy p (Welch)"} <= set(heading)
    assert (tmp_path / "digits/table.tsv").exists()
    assert "accuracy valid" in table.table_of_status(found).rows[0]


def test_images_are_linked_from_where_they_are(tmp_path):
    (tmp_path / "all/cifar10").mkdir(parents=True)
    target = tmp_path / "data"
    assert images.main(["cifar10", str(target), "--from", str(tmp_path / "all")]) == 0
    assert os.path.realpath(target) == str((tmp_path / "all/cifar10").resolve())
    assert images.main(["mnist", str(target), "--from", str(tmp_path / "all")]) == 0
    assert os.path.realpath(target) == str((tmp_path / "all").resolve())


def test_a_missing_folder_of_images_is_one_line(tmp_path, capsys):
    assert images.main(["cifar10", str(tmp_path / "data"), "--from", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


TEACHES = "{direction}/teacher/seed{seed}/checkpoints/checkpoint_best.pt"


@pytest.mark.parametrize(("teacher", "student"), [("done", "done"), ("failed", "failed")])
def test_students_wait_for_the_teacher_of_their_seed(image_content, write, tmp_path, monkeypatch, teacher, student):
    """The student stands first in the file and yet runs last; it does not run where its teacher has failed."""
    image_content["methods"] = {
        "student": {"criterion": "knowledge_distillation", "teacher-path": TEACHES},
        "teacher": {"criterion": "label_smoothing"},
    }
    experiment = spec.read(write(image_content))
    first = cells.first_cells(experiment)[0]
    assert first.teachers == {"digits/teacher/seed1"}
    command = first.train(cpu=True)
    path = command[command.index("--teacher-path") + 1]
    assert path == "digits/teacher/seed1/checkpoints/checkpoint_best.pt"
    ran = []

    def run(self, cell, gpu=None, report=None):
        ran.append(cell.name)
        return {"state": teacher if cell.method.name == "teacher" else "done", "message": "made up"}

    monkeypatch.setattr(schedule.Runner, "run", run)
    monkeypatch.setattr(schedule.Runner, "prepare", lambda *_: None)
    found = schedule.run(experiment, tmp_path / "out", jobs=2)
    assert {name: status["state"] for name, (_, status) in found.items()} == {
        **dict.fromkeys(("digits/teacher/seed1", "digits/teacher/seed2"), teacher),
        **dict.fromkeys(("digits/student/seed1", "digits/student/seed2"), student),
    }
    for seed in (1, 2):
        if teacher == "done":
            assert ran.index(f"digits/teacher/seed{seed}") < ran.index(f"digits/student/seed{seed}")
        else:
            assert "its teacher digits/teacher/seed" in found[f"digits/student/seed{seed}"][1]["message"]


def test_seeds_with_teachers_of_their_own_are_one_system(image_content, write, tmp_path):
    from labo_fairseq.records.run_folder import seeds_together

    image_content["methods"]["cross entropy"] = {"criterion": "knowledge_distillation", "teacher-path": TEACHES}
    folders = {}
    for cell in (
        cells.first_cells(spec.read(write(image_content)))[:1]
        + cells.first_cells(spec.read(write({**image_content, "seeds": [2]})))[:1]
    ):
        folders[cell.name] = tmp_path / f"seed{cell.seed}"
        folders[cell.name].mkdir()
        cells.write_json(folders[cell.name] / "command.json", cell.train(cpu=True))
    assert seeds_together({name: name for name in folders}, folders) == {next(iter(folders)): list(folders)}
