import re
import xml.etree.ElementTree as ET

import pytest

from labo_fairseq.figures import style, svg, translation
from labo_fairseq.figures.reliability import reliability
from labo_fairseq.records.train_log import TrainLog, ValidPoint

SVG = "{http://www.w3.org/2000/svg}"


def titles(text):
    """The texts that show on hover, and the elements that carry them."""
    root = ET.fromstring(text)
    return [(group.find(f"{SVG}title").text, group) for group in root.iter(f"{SVG}g") if group.get("class") == "tip"]


def line_figure():
    return style.lines(
        {"labo $x$": [(1, 2, None), (2, 3, None)], "_a<b>&": [(1, 1, 0.1), (2, 2.5, 0.2)]}, "updates", "BLEU", "T"
    )


def test_every_point_of_a_curve_has_its_value():
    found = [text for text, _ in titles(svg.svg(line_figure(), "x"))]
    assert sorted(found) == [
        "_a<b>&; updates 1: 1", "_a<b>&; updates 2: 2.5", "labo $x$; updates 1: 2", "labo $x$; updates 2: 3"
    ]  # fmt: skip


def test_marks_lie_on_their_points():
    """The axis is linear: a third point halfway between two others lies halfway, in x and in y."""
    figure = style.lines({"a": [(0, 10, None), (5, 20, None), (10, 30, None)]}, "x", "y", "t")
    places = [
        [float(group.find(f"{SVG}circle").get(c)) for c in ("cx", "cy")] for _, group in titles(svg.svg(figure, "x"))
    ]
    first, middle, last = places
    assert middle == pytest.approx([(first[0] + last[0]) / 2, (first[1] + last[1]) / 2], abs=0.01)
    assert first[0] < last[0] and first[1] > last[1]  # the y of an SVG runs downwards


def test_bars_and_steps_have_their_values():
    class Part:
        def __init__(self, name, scores):
            self.name, self.scores, self.tests = name, scores, None

    figure = translation.split_scores([Part("most", [30.5, 20]), Part("least", [10, 12])], ["ls", "labo"], "BLEU")
    found = {text for text, _ in titles(svg.svg(figure, "x"))}
    assert found == {"ls; most: 30.5", "labo; most: 20", "ls; least: 10", "labo; least: 12"}
    figure, (axes,) = style.new_figure(1, 2)
    axes.stairs([3, 7], [0, 0.5, 1], label="all")
    axes.set_xlabel("probability")
    found = {text for text, _ in titles(svg.svg(figure, "y"))}
    assert found == {"all; probability 0–0.5: 3", "all; probability 0.5–1: 7"}


def test_a_diagonal_a_level_and_caps_have_no_values():
    row = {"bin_low": 0, "bin_high": 1, "count": 9, "confidence": 0.5, "accuracy": 0.4}
    rows = [{"when": "before", **row, "accuracy_low": 0.3, "accuracy_high": 0.6}]
    found = [text for text, _ in titles(svg.svg(reliability(rows, "x"), "x"))]
    assert found == ["before calibration (ECE 0.100); confidence 0.5: 0.4", "tokens; confidence 0–1: 9"]
    figure = style.lines({"a": [(1, 2, None)]}, "x", "y", "t", levels=[(2.5, "level")])
    assert [text for text, _ in titles(svg.svg(figure, "x"))] == ["a; x 1: 2"]


def test_a_long_curve_has_marks_at_its_ends_and_not_on_every_point():
    points = [ValidPoint(update, 1.0, 5 - update / 1000, 2.0, None) for update in range(1, 1001)]
    figure = translation.training_curves({"a": TrainLog([], points, 1000, 0, 0, {}, None, True)})
    found = [text for text, _ in titles(svg.svg(figure, "x"))]
    assert len(found) == 80 and found[0] == "a; update 1: 4.999" and found[-1] == "a; update 1000: 4"


def test_colours_follow_the_theme_and_text_is_text():
    text = svg.svg(line_figure(), "x")
    for colour in (style.COLOURS[0], style.COLOURS[1], "#000000"):
        assert not re.search(rf": {colour}\b", text, re.IGNORECASE)
    assert "stroke: var(--c0, #0072B2)" in text and "stroke: currentColor" in text
    assert ">updates</text>" in text and "font-family" not in text and "width=" not in text.partition(">")[0]
    assert "<style" not in text and "<metadata" not in text


def test_the_parts_of_two_figures_have_different_names():
    ids = [set(re.findall(r'\bid="([^"]*)"', svg.svg(line_figure(), name))) for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]
    text = svg.svg(line_figure(), "one")
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)) <= {(i, "") for i in ids[0]} | {
        ("", i) for i in ids[0]
    }


def test_the_same_figure_is_the_same_text():
    assert svg.svg(line_figure(), "x") == svg.svg(line_figure(), "x")
