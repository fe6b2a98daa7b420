"""The experiment file: what it means, and one line for every mistake in it."""

import copy
import itertools
import re
from pathlib import Path

import pytest

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError
from labo_fairseq.experiment import cells, check, schedule, spec

RECIPES = sorted((Path(__file__).parents[2] / "scripts/experiments").glob("*.yaml"))
WITHOUT_LABO = {"chen_figures", "distillation_embedded", "guo_tables"}  # what these repeat is another paper


def changed(content, path, value):
    content = copy.deepcopy(content)
    *parents, last = path.split(".")
    part = content
    for key in parents:
        part = part[key]
    part[last] = value
    return content


@pytest.mark.parametrize(
    ("key", "value", "where", "reason"),
    [
        ("metods", {}, "metods", "unknown key"),
        ("decode.beams", 5, "decode.beams", "unknown key"),
        ("corpus.nmae", "x", "corpus.nmae", "unknown key"),
        ("seeds", [1, 2, 1], "seeds", "1 is given twice"),
        ("seeds", [0], "seeds", "1 or more"),
        ("seeds", [True], "seeds", "whole number"),
        ("seeds", [], "seeds", "is empty"),
        ("seeds", None, "seeds", "whole number"),
        ("methods", {}, "methods", "is empty"),
        ("methods", ["labo"], "methods", "mapping"),
        ("methods.labo", {}, "methods.labo.criterion", "missing"),
        ("methods.LABO!", {"criterion": "labo"}, "methods.LABO!", "share a folder"),
        ("methods.labo.vary", {"rho": [0.5, 0.5]}, "methods.labo.vary.rho", "given twice"),
        ("methods.labo.rho", [], "methods.labo.rho", "is empty"),
        ("methods.labo.seed", 3, "methods.labo.seed", "set by labo experiment"),
        ("train.--lr", 3, "train.--lr", "is no flag"),
        ("train.lr", [1, 2], "train.lr", "must be one value"),
        ("train.save-dir", "/", "train.save-dir", "set by labo experiment"),
        ("baseline", "none", "baseline", "is no method"),
        ("corpus.name", "embedded", "corpus", "either"),
        ("corpus.directions", ["de_en"], "corpus.directions", "such as en-de"),
        ("corpus.directions", ["de-en", "en-de"], "corpus.directions", "one direction"),
        ("corpus", {"name": "nowhere", "directions": "de-en"}, "corpus.name", "unknown"),
        ("corpus.multilingual", "yes", "corpus.multilingual", "true or false"),
        ("corpus.multilingual", True, "corpus.directions", "two or more"),
        ("train.task", "translation", "train.task", "set by labo experiment"),
        ("decode.lenpen", ["long"], "decode.lenpen", "a number"),
        ("decode.calibrate", "magic", "decode.calibrate", "one of none"),
        ("decode.average", -1, "decode.average", "0 for none"),
        ("decode.splits", {"train": 3}, "decode.splits.train", "unknown key: choose from valid, test"),
        ("decode.splits", {"test": 0}, "decode.splits.test", "equal"),
        ("decode.flags", {"beam": 3}, "decode.flags.beam", "set by labo experiment"),
        ("name", "", "name", "printable name"),
        ("profiles", {"small": {"seed": 1}}, "profiles.small.seed", "unknown key"),
    ],
)
def test_mistakes_name_file_and_key(content, write, key, value, where, reason):
    file = write(changed(content, key, value))
    with pytest.raises(UserError) as caught:
        spec.read(file)
    assert str(caught.value).startswith(f"{file}: {where}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "where", "reason"),
    [
        ("corpus.directions", ["de-en", "fr-en", "de-cs"], "corpus.directions", "give de-cs, de-en, fr-cs, fr-en"),
        ("methods.labo.task", "translation", "methods.labo.task", "choose from multilingual_translation"),
        ("train.lang-pairs", "de-en", "train.lang-pairs", "set by labo experiment"),
        ("decode.sweep", True, "decode.sweep", "not for a multilingual model"),
    ],
)
def test_mistakes_about_one_model_of_several_directions(content, write, key, value, where, reason):
    content["corpus"] = {"name": "iwslt17", "directions": ["de-en", "fr-en"], "multilingual": True}
    content["train"]["task"] = "multilingual_translation"
    assert spec.read(write(content)).trainings == ((("de", "en"), ("fr", "en")),)
    with pytest.raises(UserError, match=rf": {where}: .*{reason}"):
        spec.read(write(changed(content, key, value)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: [", "is no YAML"),
        ("- a\n", "key: value"),
        ("name: a\nmethods:\n  x: {}\n  x: {}\n", ":4: x: is given twice"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_files_that_are_no_experiment(write, text, reason):
    with pytest.raises(UserError, match=reason):
        spec.read(write(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        spec.read(tmp_path / "none.yaml")


def test_a_profile_overrides_and_removes(content, write):
    content["profiles"] = {
        "small": {"seeds": 7, "train": {"max-update": 2, "log-interval": None}, "methods": {"labo": {"rho": 1}}}
    }
    experiment = spec.read(write(content), "small")
    assert experiment.seeds == (7,)
    assert experiment.train["max-update"] == 2 and "log-interval" not in experiment.train
    assert experiment.methods[0].flags == {"criterion": "labo", "smoothing-warmup-updates": 1, "rho": 1}
    assert spec.read(write(content)).seeds == (1, 2)
    with pytest.raises(UserError, match="its profiles are small"):
        spec.read(write(content), "big")


def test_flags_become_arguments():
    flags = {"share-all-embeddings": True, "fp16": False, "patience": None, "adam-betas": "(0.9, 0.98)", "lr": 5e-4}
    assert spec.arguments(flags) == ["--share-all-embeddings", "--adam-betas", "(0.9, 0.98)", "--lr", "0.0005"]


def test_cells_of_a_grid_and_of_varied_methods(content, write):
    content["methods"]["labo"] = {"criterion": "labo", "rho": [0.5, 1], "smoothing-temperature": [1.15, 1.25]}
    content["methods"]["alpha"] = {"criterion": "labo", "vary": {"label-smoothing": [0.1, 0.2]}}
    experiment = spec.read(write(content))
    names = [cell.name for cell in cells.first_cells(experiment)]
    assert len(set(names)) == len(names)
    grid = [name for name in names if "/labo." in name]
    assert len(grid) == 4 and all(name.endswith("/seed1") for name in grid)  # the other seeds wait for the choice
    assert [name for name in names if "alpha" in name] == [
        f"de-en/alpha-label-smoothing={value}/seed{seed}" for seed in (1, 2) for value in (0.1, 0.2)
    ]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", [None, "smoke"])
def test_shipped_recipes_are_read(recipe, profile):
    experiment = spec.read(recipe, profile)
    assert experiment.name == recipe.stem
    found = cells.first_cells(experiment)
    assert found
    criterions = {method.flags["criterion"] for method in experiment.methods}
    assert criterions & {"label_smoothing", "label_smoothed_cross_entropy"}
    modes = {m.flags.get("smoothing-mass", "adaptive") for m in experiment.methods if m.flags["criterion"] == "labo"}
    # a table that LABO is in has both of its rows, but for the one that compares LABO with itself
    expected = {"adaptive"} if recipe.stem == "multi30k_precision" else {"adaptive", "fixed"}
    assert modes == (set() if recipe.stem in WITHOUT_LABO else expected)


def taught(content, **teachers):
    """The experiment with methods that have each other as teachers."""
    path = "{direction}/NAME/seed{seed}/checkpoints/checkpoint_best.pt"
    content["methods"] = {
        name: {"criterion": "knowledge_distillation", **({"teacher-path": path.replace("NAME", t)} if t else {})}
        for name, t in teachers.items()
    }
    content["baseline"] = next(iter(teachers))
    return content


@pytest.mark.parametrize(
    ("teachers", "reason"),
    [
        ({"a": "b", "b": "a"}, "a and b teach each other|b and a teach each other"),
        ({"a": "b", "b": "c", "c": "a"}, "teach each other"),
        ({"a": None, "b": "c", "c": "b"}, "teach each other"),
        ({"a": "a"}, "names its own checkpoint"),
    ],
)
def test_teachers_in_a_circle_are_found_before_anything_runs(content, write, teachers, reason, capsys):
    file = write(taught(content, **teachers))
    assert main(["experiment", "run", str(file), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(rf"methods\.[abc]\.teacher-path: .*({reason})", error)


def test_a_chain_of_teachers_is_no_circle(content, write, tmp_path):
    check.check_teachers(spec.read(write(taught(content, a=None, b="a", c="b", d="a"))), tmp_path)


def test_of_equal_scores_the_first_point_in_the_file_is_chosen(content, write):
    """However the cells end."""
    content["methods"]["labo"] = {"criterion": "labo", "rho": [0.5, 1, 0.75]}
    experiment = spec.read(write(content))
    method = next(m for m in experiment.methods if m.name == "labo")
    found = [c for c in cells.first_cells(experiment) if c.method == method]
    scores = {0.5: 20.0, 1: 30.0, 0.75: 30.0}
    pairs = [(cell, {"state": "done", "valid": {"bleu": scores[cell.grid["rho"]]}}) for cell in found]
    for order in itertools.permutations(pairs):
        assert schedule.chosen_point(order, experiment.trainings[0], method) == {"rho": 1}


FCONV = {"arch": "fconv"} | dict.fromkeys(
    [f"{side}-{name}" for side in ("encoder", "decoder") for name in ("ffn-embed-dim", "attention-heads")]
)


def _checked(write, content):
    experiment = spec.read(write(content))
    check.check_commands(experiment, check.representatives(experiment))


@pytest.mark.parametrize(
    ("flag", "others"),
    [
        ("adam-betas", {}),
        ("adafactor-eps", {"optimizer": "adafactor"}),
        ("adamax-betas", {"optimizer": "adamax"}),
        ("adaptive-softmax-cutoff", {}),
        ("encoder-layers", FCONV),
    ],
)
@pytest.mark.parametrize("part", ["train", "methods.labo"])
def test_a_dry_run_refuses_text_that_is_code(content, write, tmp_path, flag, others, part):
    sign = tmp_path / "executed"
    content["train"] |= others
    place = content["train"] if part == "train" else content["methods"]["labo"]
    place[flag] = f"__import__('os').system('touch {sign}') or (0.9, 0.98)"
    with pytest.raises(UserError, match=f"({part}: {flag}: .*was not evaluated|--{flag}: invalid)"):
        _checked(write, content)
    assert not sign.exists()


def test_a_dry_run_takes_literals(content, write):
    content["train"]["adam-betas"] = "(0.9, 0.98)"
    _checked(write, content)
