"""Every shipped recipe, two updates from raw text to the table, on text in its corpus's true format.

Nothing is skipped: a recipe whose corpus or command is gone fails here. Where Multi30k itself is not at hand, made-up
sentences stand in its files.
"""

import gzip
from pathlib import Path

import _ted
import pytest
from labo_fairseq.data_prep import embedded

from labo_fairseq.experiment import spec

RECIPES = sorted((Path(__file__).parents[2] / "scripts/experiments").glob("*.yaml"))
MULTI30K = Path(__file__).resolve().parents[3] / "shared/data/multi30k"


def raw_text(corpus, folder, news):
    """A folder in the layout of the corpus: the first pairs of Multi30k, made-up text in the others."""
    if corpus == "multi30k":
        folder.mkdir()
        if not MULTI30K.is_dir():
            return made_up_multi30k(folder)
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


def made_up_multi30k(folder):
    """The files of Multi30k with sentences of the embedded corpus; the third language has its words turned round."""
    for split, pairs in embedded.generate().items():
        name = {"train": "train", "valid": "val", "test": "test_2016_flickr"}[split]
        pairs = pairs[: 3000 if split == "train" else 100]
        sides = {"de": [pair[0] for pair in pairs], "en": [pair[1] for pair in pairs]}
        sides["fr"] = [" ".join(reversed(line.split())) for line in sides["de"]]
        for language, lines in sides.items():
            (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


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


def check_further_results(folder, experiment):
    """Tables of the further checkpoints, the learning curve, the calibration: every method and no dash in them."""
    names = ["bleu", "confidence", *(["curves"] if experiment.decode.curve else [])]
    names += ["calibration"] if experiment.decode.ece else []
    for kind in experiment.decode.checkpoints[1:]:
        names += [f"{name}.{kind}" for name in ("table", "bleu", "confidence")]
    for name in names:
        lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        heading, *rows = [line.split("\t") for line in lines if line[0] != "#"]
        assert {row[0] for row in rows} == {method.name for method in experiment.methods}
        measured = [
            i for i, label in enumerate(heading) if label.startswith(("BLEU valid", "ECE test", "mean", "1-gram"))
        ]
        assert all(float(row[i]) >= 0 for row in rows for i in measured)
    assert (folder / "curves.png").exists() == bool(experiment.decode.curve)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_two_updates_end_to_end(recipe, tmp_path, run_cli):
    content = spec._load(recipe)
    if "images" in content["corpus"]:
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
        check_further_results(out / direction, experiment)
    if recipe.stem == "labo_sensitivity":
        assert len(list((out / directions[0]).glob("sensitivity_*.png"))) == 2
