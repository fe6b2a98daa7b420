"""labo score --metrics comet, with a stub in place of the package: its scores are known, so means and tests are too."""

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from _analysis import entry, write

from labo_fairseq.cli import main

SOURCES = ["eins zwei", "drei vier", "fünf sechs", "sieben acht"]
REFERENCES = ["One two", "three four", "five six", "seven eight"]
GOOD = ["One two", "three four", "five", "seven eight"]
WORSE = ["One", "three", "five six", "seven eight"]


class Stub:
    """Its score: the share of the reference's words that the translation has; 0 without a source."""

    asked: ClassVar[list] = []

    def predict(self, data, batch_size, gpus, progress_bar):
        type(self).asked += data
        words = [(set(row["ref"].split()), set(row["mt"].split()), row["src"]) for row in data]
        return SimpleNamespace(scores=[len(r & m) / len(r) if s else 0.0 for r, m, s in words])


@pytest.fixture
def comet(monkeypatch):
    """The stub as package `comet`."""
    package = ModuleType("comet")
    package.download_model = lambda name: f"cache/{name}"
    package.load_from_checkpoint = lambda path: Stub()
    monkeypatch.setitem(sys.modules, "comet", package)
    monkeypatch.setattr(Stub, "asked", [])
    return package


@pytest.fixture
def score(tmp_path, capsys):
    """Function: (exit code, output, errors) of `labo score` on two systems that lack half of 1 and 2 sentences."""
    for name, lines in (("src", SOURCES), ("ref", REFERENCES), ("good", GOOD), ("worse", WORSE)):
        write(tmp_path / name, "".join(line + "\n" for line in lines))

    def run(*flags, systems=("good", "worse"), source=True):
        line = ["score", "--reference", tmp_path / "ref", *(["--source", tmp_path / "src"] if source else []), *flags]
        for name in systems:
            line += ["--system", f"{name}={tmp_path / name}"]
        code = main(list(map(str, line)))
        return code, *capsys.readouterr()

    return run


def test_the_score_is_the_mean_of_the_segments(comet, score):
    code, out, _ = score("--metrics", "comet")
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    # 1, 1, 1/2, 1 and 1/2, 1/2, 1, 1: their means times 100
    assert rows[:3] == [["system", "COMET"], ["good", "87.50"], ["worse", "75.00"]]
    assert rows[3][0].startswith("# COMET: model:Unbabel/wmt22-comet-da|nrefs:1|case:mixed|scale:100|version:")
    assert Stub.asked[0] == {"src": "eins zwei", "mt": "One two", "ref": "One two"}


def test_the_tests_are_those_of_means(comet, score):
    """Paired bootstrap by hand: the same resampled sentences, their mean; randomization: all swaps, counted."""
    code, out, _ = score("--metrics", "comet", "--significance", "both", "--json")
    assert code == 0
    first, second = (system["scores"][0] for system in json.loads(out)["systems"])
    assert first["value"] == 87.5 and second["value"] == 75
    test = second["significance"]
    assert test["difference"] == pytest.approx(-12.5)
    index = np.random.default_rng(12345).choice(4, size=(1000, 4), replace=True)
    means = np.array([50.0, 50.0, 100.0, 100.0])[index].mean(1)
    assert test["mean"] == pytest.approx(means.mean(), abs=1e-3)
    differences = np.array([-50.0, -50.0, 50.0, 0.0])[index].mean(1)
    low, high = np.sort(differences)[[25, 974]]  # as sacreBLEU cuts 1,000 samples
    assert test["difference_interval"] == pytest.approx((high - low) / 2, abs=1e-3)
    # of the eight ways to swap three differences of 50, two are more extreme than the one that is seen
    assert test["p_randomization"] == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "metrics", [["bleu,chrf,ter,comet"], ["bleu", "chrf2", "ter", "comet"], ["bleu,chrf2", "ter,comet"]]
)
def test_metrics_with_commas_and_spaces(comet, score, metrics):
    code, out, _ = score("--metrics", *metrics)
    assert code == 0 and out.splitlines()[0].split("\t") == ["system", "BLEU", "chrF2", "TER", "COMET"]


def test_case(comet, score):
    code, out, _ = score("--metrics", "comet", "--lowercase")
    assert code == 0 and "|case:lc|" in out
    assert {row["ref"] for row in Stub.asked} == {text.lower() for text in REFERENCES}


def test_the_source_of_a_log(comet, score, tmp_path):
    lines = [entry(i, text, source=SOURCES[i].replace("zwei", "zw@@ ei")) for i, text in enumerate(REFERENCES)]
    write(tmp_path / "log", "".join(lines))
    code, _, _ = score("--metrics", "comet", systems=("log", "worse"), source=False)
    assert code == 0 and [row["src"] for row in Stub.asked[:4]] == SOURCES


@pytest.mark.parametrize(
    "change, flags, message",
    [
        ({}, {"source": False}, "--source: missing: comet needs the source text"),
        ({"short": True}, {}, "source: 3 sentences, but"),
        ({"fails": True}, {}, "--comet-model: Unbabel/wmt22-comet-da: cannot be loaded (no connection)"),
        ({"foreign": True}, {}, "comet: is not Unbabel's"),
        ({"absent": True}, {}, "comet: not installed: install the package unbabel-comet"),
        ({"nan": True}, {}, "gives no number for each sentence"),
        ({"few": True}, {}, "gives no number for each sentence"),
    ],
)
def test_what_is_missing_is_one_line(comet, score, monkeypatch, tmp_path, change, flags, message):
    def fail(name):
        raise RuntimeError("no\nconnection")

    if "short" in change:
        write(tmp_path / "src", "a\nb\nc\n")
    if "fails" in change:
        comet.download_model = fail
    if "foreign" in change:
        del comet.load_from_checkpoint
    if "absent" in change:
        monkeypatch.setitem(sys.modules, "comet", None)
    for name, scores in (("nan", [float("nan")] * 4), ("few", [0.5])):
        if name in change:
            monkeypatch.setattr(Stub, "predict", lambda *_, s=scores, **__: SimpleNamespace(scores=s))
    code, out, errors = score("--metrics", "comet", **flags)
    assert code == 2 and not out and message in errors and len(errors.splitlines()) == 1


def test_a_checkpoint_file_needs_no_download(comet, score, tmp_path):
    comet.download_model = None
    write(tmp_path / "my.ckpt", "weights")
    code, out, _ = score("--metrics", "comet", "--comet-model", tmp_path / "my.ckpt")
    assert code == 0 and "# COMET: model:my|" in out


@pytest.mark.parametrize("name", ["comett", "bleu,", "BLEU", "bleu,xyz"])
def test_unknown_metrics(score, capsys, name):
    with pytest.raises(SystemExit) as caught:
        score("--metrics", name)
    assert caught.value.code == 2 and "unknown: choose from bleu, chrf2, chrf++, ter, comet" in capsys.readouterr().err
