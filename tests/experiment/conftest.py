"""A prepared tiny corpus around `tiny_bin`, and an experiment file on it."""

import json
import shutil

import pytest
import yaml

MODEL = {
    "arch": "transformer",
    **{f"{side}-layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}-embed-dim": 16 for side in ("encoder", "decoder")},
    **{f"{side}-ffn-embed-dim": 16 for side in ("encoder", "decoder")},
    **{f"{side}-attention-heads": 2 for side in ("encoder", "decoder")},
    "optimizer": "adam",
    "lr": 0.01,
    "max-tokens": 200,
}


@pytest.fixture(scope="session")
def tiny_corpus(tiny_text, tiny_bin, tmp_path_factory):
    """Folder as `labo prepare` leaves it."""
    folder = tmp_path_factory.mktemp("corpus")
    for kind in ("raw", "tok", "bpe"):
        shutil.copytree(tiny_text, folder / kind)
    shutil.copytree(tiny_bin, folder / "bin")
    manifest = {"source": "de", "target": "en", "synthetic": True, "lowercased": True}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def content(tiny_corpus):
    """An experiment of two methods and two seeds, to change and write."""
    return {
        "name": "tiny",
        "baseline": "smoothing",
        "corpus": {"prepared": str(tiny_corpus), "directions": ["de-en"]},
        "train": {**MODEL, "max-update": 4, "log-interval": 1},
        "methods": {
            "labo": {"criterion": "labo", "smoothing-warmup-updates": 1},
            "smoothing": {"criterion": "label_smoothing"},
        },
        "seeds": [1, 2],
        "decode": {"beam": 2},
    }


@pytest.fixture
def write(tmp_path):
    """Function: write(content) -> path of the experiment file; text is written as it is."""

    def to_file(content):
        file = tmp_path / "experiment.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        file.write_text(text, encoding="utf-8")
        return file

    return to_file
