"""The commands of docs/inside.md on tiny checkpoints."""

import json
import math

import numpy as np
import pytest
import torch
from _vision import config, needs_torchvision
from fairseq import checkpoint_utils, metrics, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import train as fairseq_train

from labo_fairseq import cli
from labo_fairseq.fairseq_models.loading import load_models
from labo_fairseq.functional import CrossEntropy, LabelSmoothing, Labo, targets
from labo_fairseq.functional.dense import token_loss
from labo_fairseq.measures.calibration import bin_sums, ece
from labo_fairseq.records import predictions

IMAGES = (
    "--image-dataset digits --optimizer torch_sgd --lr 0.1 --batch-size 64 --cpu --arch fully_connected "
    "--init-std 0.2 --log-format none --num-workers 0 --best-checkpoint-metric accuracy "
    "--maximize-best-checkpoint-metric"
)
TEXT = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --optimizer adam --lr 0.01 --max-tokens 200 --cpu --num-workers 0 --log-format none "
    "--criterion cross_entropy --no-epoch-checkpoints --max-epoch 3 --seed 1"
)


def train_images(folder, *flags, criterion="label_smoothing", alpha=0, teacher=None, hidden=24, seed=1, epochs=2):
    """A cell as `labo experiment` leaves it: checkpoints, command.json, metrics.json."""
    settings = [*IMAGES.split(), "--criterion", criterion, "--hidden-size", hidden, "--seed", seed]
    settings += ["--label-smoothing", alpha] if teacher is None else ["--teacher-path", teacher]
    settings += ["--max-epoch", epochs, *flags]
    train(config(*settings, "--save-dir", folder / "checkpoints"))
    recorded = ["fairseq-train", ".", *map(str, settings), "--save-dir", str(folder / "checkpoints")]
    (folder / "command.json").write_text(json.dumps(recorded))
    (folder / "train.log").write_text("")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """OUT/digits of an experiment: two teachers and three students, one seed."""
    root = tmp_path_factory.mktemp("study") / "digits"
    train_images(root / "hard/seed1")
    train_images(root / "labo/seed1", "--smoothing-warmup-updates", 1, criterion="labo", alpha=0.1)
    kd = {"criterion": "knowledge_distillation", "hidden": 12}
    for method, teacher, flags in (("of-hard", "hard", ["--teacher-temperature", 4]), ("of-labo", "labo", [])):
        path = root / teacher / "seed1/checkpoints/checkpoint_best.pt"
        train_images(root / method / "seed1", *flags, teacher=path, epochs=1, **kd)
        command = root / method / "seed1/command.json"  # in which paths are relative to OUT
        command.write_text(command.read_text().replace(str(root.parent) + "/", ""))
    train_images(root / "alone/seed1", hidden=12, epochs=1)
    for i, folder in enumerate(sorted(root.glob("*/seed1"))):
        (folder / "metrics.json").write_text(json.dumps({"systems": {"x": [{"accuracy": 0.9 + i / 100}]}}))
    return root


@pytest.fixture(scope="module")
def translator(tiny_bin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    arguments = [str(tiny_bin), *TEXT.split(), "--save-dir", str(folder)]
    args = options.parse_args_and_arch(options.get_training_parser(), arguments)
    train(convert_namespace_to_omegaconf(args))
    return folder / "checkpoint_best.pt"


def train(cfg):
    """fairseq-train in this process, which remembers the numbers and the best score of the training before."""
    metrics.reset()
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    fairseq_train.main(cfg)


def labo(capsys, *arguments):
    code = cli.main([*map(str, arguments), "--cpu"])
    return code, *capsys.readouterr()


def last_line(text):
    return text.strip().splitlines()[-1]


def rows_of(text):
    names, *rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.slow
@needs_torchvision
def test_penultimate_of_images_as_installed(study, run_cli, tmp_path):
    systems = ["--system", f"hard={study}/hard/seed1/checkpoints/checkpoint_best.pt"]
    systems += ["--system", f"labo={study}/labo/seed1/checkpoints/checkpoint_best.pt"]
    done = run_cli("labo", "penultimate", *systems, "--classes", 0, 7, 3, "--cpu", "--out", tmp_path / "new/out")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    order = [("hard", "train"), ("labo", "train"), ("hard", "valid"), ("labo", "valid")]
    assert [(row["system"], row["subset"]) for row in rows] == order
    out = tmp_path / "new/out"
    assert (out / "penultimate.png").exists()
    assert (out / "penultimate.tsv").read_text().strip() == done.stdout.strip()
    points = rows_of((out / "points.tsv").read_text())
    assert sum(row["what"] == "template" for row in points) == 4 * 3
    # the points of the file give the number of the table
    mine = [row for row in points if (row["system"], row["subset"]) == ("hard", "train")]
    place = {
        kind: {c: np.array([[float(r["x"]), float(r["y"])] for r in mine if r["what"] == kind and r["class"] == c])
               for c in "073"}
        for kind in ("template", "example")
    }  # fmt: skip
    within = np.mean([((p - p.mean(0)) ** 2).sum(1).mean() for p in place["example"].values()])
    a, b, c = (place["template"][name][0] for name in "073")
    distance = np.mean([((x - y) ** 2).sum() for x, y in ((a, b), (a, c), (b, c))])
    assert float(rows[0]["tightness"]) == pytest.approx(within / distance, rel=2e-3)


@needs_torchvision
def test_mutual_information_of_all_checkpoints(study, capsys, tmp_path):
    runs = [study / "hard/seed1", study / "labo/seed1"]
    settings = ["--classes", "0", "1", "--draws", 3, "--images", 20, "--out", tmp_path]
    code, out, _ = labo(capsys, "mutual-information", *runs, *settings)
    rows = rows_of(out)
    assert code == 0 and [row["updates"] for row in rows] == ["21", "42", "21", "42"]
    assert {row["images"] for row in rows} == {"40"}
    for row in rows:
        assert float(row["bias"]) == pytest.approx(0.5 * math.log(1.5), abs=1e-4)
        assert -0.5 <= float(row["held out"]) <= float(row["information"]) <= float(row["bound"])
        assert float(row["corrected"]) == pytest.approx(float(row["information"]) - float(row["bias"]), abs=2e-4)
    assert (tmp_path / "mutual_information.png").stat().st_size
    assert labo(capsys, "mutual-information", *runs, *settings)[1] == out  # the augmentations are the same again


@needs_torchvision
def test_distillation_study(study, capsys, tmp_path):
    code, out, _ = labo(capsys, "distillation-study", study, "--data", ".", "--out", tmp_path)
    assert code == 0
    rows = {row["method"]: row for row in rows_of(out)}
    assert {name: row["curve"] for name, row in rows.items()} == {
        "hard": "M1: teacher, by α",
        "alone": "M2: student alone, by α",
        "of-hard": "M3: student of the hard teacher, by T",
        "labo": "teacher, LABO adaptive",
        "of-labo": "student of the LABO adaptive teacher, by T",
    }
    assert rows["hard"]["γ"] == rows["alone"]["γ"] == "0.0000" and rows["of-hard"]["T"] == "4"
    for method, teacher, t in (("of-hard", "hard", 4.0), ("of-labo", "labo", 1.0)):
        seen = predictions.read(study / teacher / "seed1/checkpoints/checkpoint_best.train.npz")
        p = torch.softmax(torch.from_numpy(seen.logits).double() / t, 1)
        wrong = 1 - p[torch.arange(len(p)), torch.from_numpy(seen.labels)]
        assert float(rows[method]["γ"]) == pytest.approx(float(wrong.mean()) * 10 / 9, abs=1e-4)
    assert rows["labo"]["γ"] == rows["of-labo"]["γ"]
    assert (tmp_path / "distillation_study.png").stat().st_size
    assert rows_of((tmp_path / "distillation_study.tsv").read_text()) == list(rows.values())


def test_penultimate_of_translation(translator, tiny_bin, capsys, tmp_path):
    """The activations of a token are those before the output projection: their logits are the model's."""
    settings = ["--data", tiny_bin, "--classes", "e1", "e2", "</s>", "--subset", "valid", "--json"]
    code, out, _ = labo(capsys, "penultimate", "--system", f"a={translator}", *settings, "--out", tmp_path)
    (measures,) = json.loads(out)["a"]["valid"]
    (model,), task = load_models([str(translator)], str(tiny_bin), "cpu")
    task.load_dataset("valid")
    found = {"e1": [], "e2": [], "</s>": []}
    for i in range(12):
        pair = task.dataset("valid")[i]
        for token, hidden in zip(pair["target"], _hidden(model, pair), strict=True):
            found.get(task.target_dictionary[token], []).append(hidden.numpy())
    templates = model.decoder.output_projection.weight.detach().numpy()
    templates = np.stack([templates[task.target_dictionary.index(token)] for token in found])
    within = np.mean([np.stack(v).var(0).sum() for v in found.values()])
    distance = np.mean([((templates[i] - templates[j]) ** 2).sum() for i, j in ((0, 1), (0, 2), (1, 2))])
    assert code == 0 and measures["count"] == sum(map(len, found.values()))
    assert measures["tightness_all"] == pytest.approx(within / distance, rel=1e-3)


def _hidden(model, pair):
    with torch.no_grad():
        return model(
            src_tokens=pair["source"][None],
            src_lengths=torch.tensor([len(pair["source"])]),
            prev_output_tokens=pair["target"].roll(1)[None],
            features_only=True,
        )[0][0]


def test_targets_of_a_sentence(translator, tiny_bin, capsys, tmp_path):
    text = ["--source", "d3 d4 d5", "--target", "e3 e4 e5", "--token", "e4", "--label-smoothing", 0.2]
    arguments = ["targets", tiny_bin, "--path", translator, *text, "--top", 100, "--out", tmp_path, "--json"]
    code, out, _ = labo(capsys, *arguments)
    rows = json.loads(out)["targets"]
    assert code == 0 and next(iter(rows)) == "e4"
    names = list(rows["e4"])
    assert names[:4] == ["model", "one-hot", "label smoothing α=0.2", "LABO fixed α=0.2"]
    for name in names:  # --top shows all types here
        assert sum(row[name] for row in rows.values()) == pytest.approx(1)
    assert rows["e4"]["one-hot"] == 1
    assert rows["e3"]["label smoothing α=0.2"] == pytest.approx(0.2 / len(rows))
    p = np.array([row["model"] for row in rows.values()])
    best = p ** (1 / 1.25) / (p ** (1 / 1.25)).sum()
    fixed = [row["LABO fixed α=0.2"] for row in rows.values()]
    np.testing.assert_allclose(fixed, 0.2 * best + 0.8 * (np.arange(len(p)) == 0), rtol=1e-6)
    assert (tmp_path / "targets.png").stat().st_size and (tmp_path / "targets.tsv").stat().st_size


def test_of_the_data_or_typed_it_is_the_same(translator, tiny_bin, tiny_text, capsys, tmp_path):
    lines = {side: (tiny_text / f"valid.{side}").read_text().splitlines()[5] for side in ("de", "en")}
    common = ["targets", tiny_bin, "--path", translator, "--position", 2, "--out", tmp_path, "--json"]
    typed = labo(capsys, *common, "--source", lines["de"], "--target", lines["en"])[1]
    assert labo(capsys, *common, "--sentence", 5)[1] == typed


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_gradient_of_the_losses_is_the_model_minus_its_target(adaptive):
    """What `labo targets` shows is what the criterions draw to."""
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(0)).double()
    mass = targets.labo_mass(logits[0], 0.7) if adaptive else 0.2
    best = targets.labo_distribution(logits[0], 1.5)
    expected = {
        CrossEntropy(): targets.one_hot(logits[0], 4),
        LabelSmoothing(0.2): targets.smoothed(logits[0], 4, 0.2, targets.uniform(logits[0])),
        Labo(1.5, None if adaptive else 0.2, 0.7): targets.smoothed(logits[0], 4, mass, best),
    }
    for loss, target in expected.items():
        z = logits.clone().requires_grad_()
        token_loss(z, torch.tensor([4]), loss).loss.sum().backward()
        torch.testing.assert_close(torch.softmax(logits[0], 0) - z.grad[0], target)


def test_padding_counted_and_not(translator, tiny_bin, capsys, tmp_path):
    arguments = [
        "padding-calibration",
        tiny_bin,
        "--path",
        translator,
        "--temperatures",
        2,
        "--out",
        tmp_path,
        "--json",
    ]
    code, out, _ = labo(capsys, *arguments)
    rows = json.loads(out)["ece"]
    (model,), task = load_models([str(translator)], str(tiny_bin), "cpu")
    task.load_dataset("valid")
    pairs = [task.dataset("valid")[i] for i in range(12)]
    longest = max(len(pair["target"]) for pair in pairs)
    sizes = {row["counted"]: row["places"] for row in rows}
    assert sizes == {"target tokens": sum(len(p["target"]) for p in pairs), "with padding": 12 * longest}
    # without padding each sentence by itself gives the same
    with torch.no_grad():
        logits = torch.cat([model.decoder.output_projection(_hidden(model, pair)) for pair in pairs])
    target = torch.cat([pair["target"] for pair in pairs])
    confidence, correct = torch.softmax(logits, 1).amax(1), logits.argmax(1).eq(target)
    expected = float(ece(bin_sums(confidence.numpy(), correct.numpy())))
    assert code == 0 and rows[0]["T"] == 1 and rows[0]["ece"] == pytest.approx(expected, abs=1e-4)
    assert rows[0]["accuracy"] == pytest.approx(float(correct.double().mean()))
    padded = next(row for row in rows if row["counted"] == "with padding")
    assert padded["accuracy"] * padded["places"] == pytest.approx(float(correct.sum()))  # padding is never predicted
    # one sentence at a time needs no padding
    rows = json.loads(labo(capsys, *arguments, "--batch-size", 1)[1])["ece"]
    assert rows[0]["ece"] == pytest.approx(rows[2]["ece"]) and rows[0]["places"] == rows[2]["places"]
    assert (tmp_path / "padding.png").stat().st_size and (tmp_path / "reliability.tsv").stat().st_size


@needs_torchvision
def test_bad_input_of_the_image_commands(study, translator, tiny_bin, capsys, tmp_path):
    hard = study / "hard/seed1/checkpoints/checkpoint_best.pt"
    text = ["--system", f"text={translator}", "--data", tiny_bin]
    cases = [
        (["penultimate", "--system", f"a={hard}", "--classes", "0", "1", "x"], "--classes: x: ", "choose from 0, 1, 2"),
        (["penultimate", "--system", f"a={hard}", "--classes", "0", "1", "1"], "--classes: 1: given twice", ""),
        (["penultimate", *text, "--classes", "e1", "e2", "cat"], "--classes: cat: ", "dict."),
        (["penultimate", "--classes", "0", "1", "2"], "RUN: none given", ""),
        (["mutual-information", study / "hard/seed1", "--classes", "0", "0"], "--classes: 0: given twice", ""),
        (["mutual-information", study / "hard/seed1", "--classes", "0", "x"], "--classes: x: ", "choose from"),
        (
            ["mutual-information", study / "hard/seed1", "--classes", "0", "1", "--draws", 1],
            "--draws: 1: ",
            "2 or more",
        ),
        (["distillation-study", tmp_path], f"{tmp_path}: no finished", "OUT/DATASET"),
    ]
    for arguments, begins, holds in cases:
        code, out, err = labo(capsys, *arguments, "--out", tmp_path / "out")
        line = last_line(err)
        assert code == 2 and not out and begins in line and holds in line, line
    with pytest.raises(SystemExit) as ended:  # argparse: fewer than three
        labo(capsys, "penultimate", "--system", f"a={hard}", "--classes", "0", "1")
    assert ended.value.code == 2 and "expected 3 arguments" in capsys.readouterr().err


@needs_torchvision
def test_checkpoints_of_another_task(study, translator, tiny_bin, capsys, tmp_path):
    hard = study / "hard/seed1/checkpoints/checkpoint_best.pt"
    text = translator.parent
    (text / "train.log").write_text("")
    place = ["--token", "e3", "--source", "d3", "--target", "e3"]
    cases = [
        (["targets", ".", "--path", hard, *place], "must be a model of --task translation"),
        (["padding-calibration", ".", "--path", hard], "classifies images"),
        (["mutual-information", text, "--classes", "0", "1", "--data", tiny_bin], "is no image classifier"),
    ]
    for arguments, holds in cases:
        code, _, err = labo(capsys, *arguments, "--out", tmp_path / "out")
        assert code == 2 and holds in last_line(err), err


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--sentence", 12, "--position", 1], "has the sentences 0 to 11"),
        (["--sentence", 0, "--position", 99], "--position: 99: the target has"),
        (["--sentence", 0, "--token", "cat"], "--token: cat: not in the target"),
        (["--source", "d3 cat", "--target", "e3", "--token", "e3"], "--source: cat: not in the dictionary"),
        (["--source", "d3", "--token", "e3"], "give both --source and --target"),
        (["--sentence", 0, "--position", 1, "--subset", "nowhere"], "nowhere"),
        (["--sentence", 0, "--position", 1, "--rho", 2], "--rho: 2.0 is out of range"),
    ],
)
def test_bad_input_of_targets(translator, tiny_bin, capsys, tmp_path, flags, reason):
    code, _, err = labo(capsys, "targets", tiny_bin, "--path", translator, *flags, "--out", tmp_path)
    assert code == 2 and reason in last_line(err), err
