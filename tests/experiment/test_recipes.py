"""Every shipped recipe, two updates from raw text to the table, on text in its corpus's true format."""

import gzip
import importlib.util
from pathlib import Path

import _ted
import pytest

from labo_fairseq.experiment import spec

RECIPES = sorted((Path(__file__).parents[2] / "scripts/experiments").glob("*.yaml"))
MULTI30K = Path(__file__).resolve().parents[3] / "shared/data/multi30k"


def raw_text(corpus, folder, news):
    """A folder in the layout of the corpus: the first pairs of Multi30k, made-up text in the others."""
    if corpus == "multi30k":
        if not MULTI30K.is_dir():
            pytest.skip(f"{MULTI30K} is not here")
        folder.mkdir()
        for path in MULTI30K.glob("*.gz"):
            if path.name.split(".")[1] in ("de", "en", "fr"):
                count = 3000 if path.name.startswith("train") else 100  # so that hardly any subword is unknown
                with gzip.open(path, "rt", encoding="utf-8") as stream:
                    lines = [line for line, _ in zip(stream, range(count), strict=False)]
                (folder / path.stem).write_text("".join(lines), encoding="utf-8")
        return folder
    if corpus == "iwslt17":
        return _ted.iwslt17(folder)
    if corpus == "wmt14":
        # enough of them that the odd pair's subwords, which training text cannot have, are hardly any
        return _ted.wmt14(folder, news, tests=300)
    return _ted.iwslt14(folder)


def two_updates_of_images(recipe, out, run_cli):
    """The smoke profile of image recipes is on the embedded digits."""
    done = run_cli("labo", "experiment", "run", recipe, "--profile", "smoke", "--out", out, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    lines = (out / "digits/table.tsv").read_text(encoding="utf-8").splitlines()
    heading, *rows = [line.split("\t") for line in lines if line[0] != "#"]
    assert {row[0] for row in rows} == {method.name for method in spec.read(recipe, "smoke").methods}
    for column, value in (("cells", "1/1"), ("updates", "2")):
        assert {row[heading.index(column)] for row in rows} == {value}
    for column in ("accuracy", "top-5", "ECE", "ECE after", "accuracy valid"):
        assert all(float(row[heading.index(column)]) >= 0 for row in rows)
    assert "risk-coverage area" in (out / "digits/report/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_two_updates_end_to_end(recipe, tmp_path, run_cli):
    content = spec._load(recipe)
    if "images" in content["corpus"]:
        if importlib.util.find_spec("torchvision") is None:
            pytest.skip("torchvision is not installed: pip install '.[vision]'")
        return two_updates_of_images(recipe, tmp_path / "out", run_cli)
    corpus = content["corpus"]["name"]
    news = "v9" if content["corpus"].get("prepare", {}).get("icml17") else "v12"
    raw = ["--raw-dir", raw_text(corpus, tmp_path / "raw", news)] if corpus != "embedded" else []
    file, multilingual = recipe, content["corpus"].get("multilingual")
    if len(content["corpus"]["directions"]) > 1 and not multilingual:  # one of them is enough
        text = recipe.read_text(encoding="utf-8")
        every = ", ".join(content["corpus"]["directions"])
        file = tmp_path / recipe.name
        file.write_text(text.replace(f"[{every}]", f"[{content['corpus']['directions'][0]}]"), encoding="utf-8")
    if corpus == "iwslt17":  # sentencepiece finds no 16,384 pieces in so little text
        text = recipe.read_text(encoding="utf-8")
        file = tmp_path / recipe.name
        prepare = "multilingual: true, prepare: {vocabulary-size: 500}"
        file.write_text(text.replace("multilingual: true", prepare), encoding="utf-8")
    out = tmp_path / "out"
    arguments = ["run", file, "--profile", "smoke", *raw, "--out", out]
    done = run_cli("labo", "experiment", *arguments, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    experiment = spec.read(file, "smoke")
    directions = ["-".join(pair) for pair in experiment.directions]
    assert len(directions) == (2 if multilingual else 1)
    for direction in directions:
        text = (out / direction / "table.tsv").read_text(encoding="utf-8")
        heading, *rows = [line.split("\t") for line in text.splitlines() if line[0] != "#"]
        assert {row[0] for row in rows} == {method.name for method in experiment.methods}
        assert {row[heading.index("cells")] for row in rows} == {"1/1"}
        assert {row[heading.index("updates")] for row in rows} == {"2"}
        assert (out / direction / "report/report.html").exists()
        for subset, _ in experiment.decode.splits:
            assert (out / direction / f"splits-{subset}.tsv").exists()
    if recipe.stem == "labo_sensitivity":
        assert len(list((out / directions[0]).glob("sensitivity_*.png"))) == 2
