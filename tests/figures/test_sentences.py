import math

import pytest

from labo_fairseq.analysis.bleu import Metric
from labo_fairseq.analysis.frequency import Split
from labo_fairseq.analysis.systems import System
from labo_fairseq.figures import sentences
from labo_fairseq.records.generate_log import Hypothesis, Sentence

REFERENCES = ["a small dog", "the red house"]
SOURCES = ["ein kleiner hund", "das rote haus"]
METRIC = Metric("chrf2", REFERENCES)
# accuracies that rise: 0.2 → 0.4, 0.6 → 0.8
BINS = [{"count": 5, "confidence": 0.2, "accuracy": 0.4}, {"count": 5, "confidence": 0.6, "accuracy": 0.8}]


def log(texts, probability, confidence=None):
    """A System whose tokens all have one probability."""
    found = []
    for i, text in enumerate(texts):
        scores = tuple([math.log2(probability)] * (len(text.split()) + 1))
        found.append(Sentence(i, None, None, (Hypothesis(-1, tuple(text.split()), text, scores, None, confidence),)))
    return System("s", "f", None, found)


@pytest.fixture
def outputs():
    base, other = ["a small cat", "the red house"], ["a small dog", "a house"]
    return {
        "base": sentences.output(log(base, 0.2), base, METRIC, None, BINS),
        "plain": sentences.output(System("p", "f", other, None), other, METRIC),
    }


def test_what_the_script_reads(outputs):
    splits = [Split("most", (1,), 9, 5), Split("least", (0,), 4, 1)]
    data = sentences.browser(outputs, REFERENCES, SOURCES, splits, True).data
    assert [one["name"] for one in data["systems"]] == ["base", "plain"] and data["splits"] == ["most", "least"]
    first, second = data["sentences"]
    assert (first["id"], first["words"], first["split"], first["source"]) == (0, 3, 1, SOURCES[0])
    assert second["split"] == 0 and second["reference"] == "the red house"
    # words of "a small cat" and "a small dog": 2 of 3 and 3 in common
    assert first["disagreement"] == pytest.approx(1 - 4 / 6, abs=1e-3)
    score, confidence, pieces, probabilities, marks = first["out"][0]
    assert score == pytest.approx(METRIC.sentence_scores(["a small cat", "the red house"])[0], abs=0.01)
    assert (confidence, pieces, probabilities, marks) == (0.2, ["a", " small", " cat"], [200] * 4, "001")
    assert first["out"][1][0] == 100 and first["out"][1][1:] == [None, ["a", " small", " dog"], 0, "000"]


def test_probabilities_are_calibrated_by_a_table_of_thousandths(outputs):
    table = outputs["base"].calibrated
    assert len(table) == 1001 and outputs["plain"].calibrated is None
    # clamped below the first bin, on a line between the two, clamped above the last
    assert [table[p] for p in (0, 200, 300, 400, 600, 1000)] == [400, 400, 500, 600, 800, 800]


def test_the_confidence_is_that_of_the_c_line_else_of_the_tokens():
    texts = ["a small dog", "x"]
    assert sentences.output(log(texts, 0.25, 0.9), texts, METRIC).confidences == [0.9, 0.9]
    assert sentences.output(log(texts, 0.25), texts, METRIC).confidences == pytest.approx([0.25, 0.25])


def test_examples_look_as_the_script_would_make_them(outputs):
    better, worse = sentences.examples(outputs, REFERENCES, SOURCES, True, 5)
    assert better.heading.startswith("plain better than base by ") and better.heading.endswith(": id 0")
    assert worse.heading.startswith("plain worse than base by ") and worse.heading.endswith(": id 1")
    source, reference, base, plain = better.lines
    assert (source.text, reference.text) == (SOURCES[0], REFERENCES[0])
    assert [(p.gap, p.text, p.look) for p in base.pieces] == [
        ("", "a", "t p4"), (" ", "small", "t p4"), (" ", "cat", "t d p4"), ("", "end", "t end p4")
    ]  # fmt: skip
    assert base.pieces[2].tip == "cat: p 0.200, calibrated 0.400"
    assert [(p.text, p.look, p.tip) for p in plain.pieces] == [("a", "t", ""), ("small", "t", ""), ("dog", "t", "")]


def test_without_sources_and_of_one_system():
    texts = ["a", "b"]
    one = {"only": sentences.output(log(texts, 0.5), texts, METRIC)}
    made = sentences.browser(one, REFERENCES, None, [], False)
    assert made.data["sentences"][0]["source"] is None and made.data["sentences"][0]["split"] is None
    assert [key for key, _ in made.orders] == ["order", "score", "confidence", "length"]


def test_all_sentences_as_tsv(outputs, tmp_path):
    sentences.write_sentences(outputs, ["a small\tdog", "the red house"], SOURCES, tmp_path / "s.tsv")
    heading, first, _ = (tmp_path / "s.tsv").read_text(encoding="utf-8").splitlines()
    assert heading.split("\t")[:4] == ["id", "source", "reference", "base"]
    cells = dict(zip(heading.split("\t"), first.split("\t"), strict=True))
    assert cells["reference"] == "a small dog" and cells["base"] == "a small cat"
    assert cells["base confidence"] == "0.2000" and cells["plain confidence"] == "" and cells["plain chrF2"] == "100.00"
