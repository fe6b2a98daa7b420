import json
import re

import pytest

from labo_fairseq.figures import page
from labo_fairseq.records.tables import TextTable

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&lt;/script&gt;",
    "a\u2028b\u2029c",
    "'\"\\ \\u003c/script",
    "<\u2028/script>",
    "\x00\x1f\x7f",
    "日本語 🙂 \ud7ff\ufffe",
    "{{ title }} {% raw %} ${x} `y`",
]


def browser(texts):
    """A Browser whose only sentence holds the texts in all places that data come to."""
    out = [50.0, 0.5, texts, [500] * len(texts), "0" * len(texts)]
    sentence = {"id": 0, "words": 1, "split": 0, "source": "".join(texts), "reference": texts[0], "out": [out]}
    data = {"systems": [{"name": texts[0], "calibrated": None}], "splits": [texts[0]], "sentences": [sentence]}
    return page.Browser([texts[0]], [texts[0]], [("order", "order")], data)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_in_the_page_comes_back_and_ends_no_element(text):
    made = page.json_in_page({"key": [text, {text: 1}]})
    assert json.loads(made) == {"key": [text, {text: 1}]}
    assert not set("<>&\u2028\u2029") & set(made)


def test_numbers_that_json_has_not_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        page.json_in_page([float("nan")])


def test_hostile_text_leaves_the_elements_of_the_page_as_they_are():
    """The page of hostile texts has the same elements as that of harmless ones, and the data are as they were."""
    harmless = page.page("t", "x", [page.Section("s", browser=browser(["a"] * len(HOSTILE)))])
    evil = page.page(HOSTILE[0], HOSTILE[1], [page.Section(HOSTILE[2], browser=browser(HOSTILE))])
    assert re.findall(r"<[a-z/!][a-z0-9-]*", evil) == re.findall(r"<[a-z/!][a-z0-9-]*", harmless)
    data = re.search(r'<script type="application/json" id="sentences">(.*?)</script>', evil, re.DOTALL)[1]
    assert json.loads(data) == browser(HOSTILE).data


def test_hostile_text_in_examples_tables_and_pictures():
    evil = HOSTILE[0]
    section = page.Section(
        "s",
        tables=[TextTable(evil, [[evil, "n"], [evil, "1"]], [evil])],
        examples=[
            page.Example(evil, [page.Line(evil, evil), page.Line(evil, pieces=[page.Piece(" ", evil, "t", evil)])])
        ],
        images=[(evil, [page.Image(page.image_address(b"x"), evil)])],
    )
    text = page.page("t", evil, [section])
    assert text.count("<script") == 1 and 'title="&lt;/script&gt;' in text and 'data-label="n"' in text
    assert 'src="data:image/png;base64,eA=="' in text


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(["1"] * 3, ""), (["12345678901234"] * 3, "wide"), (["1"] * 20, "wide"), (["1" * 20] * 9, "wide huge")],
)
def test_wide_tables_are_known_by_their_characters(columns, expected):
    """A phone of 390 pixels holds some 44 characters of the tables' size."""
    text = page.page("t", "", [page.Section("s", tables=[TextTable("", [columns, columns])])])
    assert (f'<table class="{expected}">' if expected else "<table>") in text


def test_the_size_of_the_page_is_told(tmp_path):
    line = page.write_page("t", "é", [], tmp_path)
    assert line == f"{tmp_path / 'report.html'}\t{(tmp_path / 'report.html').stat().st_size / 1e6:.1f} MB"


def test_without_a_script_the_sentences_are_announced_elsewhere():
    text = page.page("t", "", [page.Section("s", browser=browser(["a"]))])
    assert "<form hidden>" in text and "sentences.tsv" in re.search(r"<noscript>(.*?)</noscript>", text, re.DOTALL)[1]
