"""Calibration files that are damaged or odd: a Calibration that can be used, or one line that names the file."""

import copy
import json
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labo_fairseq.calibration.file import Calibration, Member, load, save
from labo_fairseq.decoding.sentence_confidence import FEATURES, SentenceConfidence
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Adaptive, Grouped, Temperature

CALIBRATORS = [
    Temperature(1.37),
    Grouped(torch.tensor([0.5, 2.0]), torch.tensor([0, 1, 1, 0]), 2, -0.25),
    Adaptive(torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5]), 2, 0.75),
]
SENTENCES = SentenceConfidence((1.0, 0.5, -0.25), 0.1, 50.0).to_json()


@pytest.fixture
def whole(tmp_path):
    """The text of a calibration file."""
    members = [Member(f"c{i}.pt", f"{i}" * 64, calibrator) for i, calibrator in enumerate(CALIBRATORS)]
    corpus = {"data": "bin", "split": "valid", "sentences": 4, "tokens": 9}
    record = {"sha256": "d" * 64, "types": 4}
    save(Calibration(members, record, corpus, "ece|…", {"before": {}}, SENTENCES), tmp_path / "whole.json")
    return (tmp_path / "whole.json").read_text(encoding="utf-8")


def use(path):
    """Compute with what was read; numbers that follow must be numbers. A refusal is one line; it is returned."""
    try:
        calibration = load(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error) and len(str(error)) < 500
        return str(error)
    step = torch.arange(3), torch.arange(3) + 1
    for member in calibration.members:
        if calibration.dictionary["types"] == 4:
            assert not member.calibrator.log_probs(torch.zeros(3, 4), *step).isnan().any()
    if calibration.sentence_confidence is not None:
        try:
            model = SentenceConfidence.from_json(calibration.sentence_confidence)
        except (KeyError, TypeError, ValueError):  # decoding/tasks.py makes the line of these
            return None
        assert 0 <= model.probability([-1.0, -2.0]) <= 1
    return None


# a number, or a group of numbers, is replaced by what is none or none that computes
TEMPERATURE, EOS = ("members", 0, "calibrator", "temperature"), ("members", 1, "calibrator", "eos")
GROUPS, TEMPERATURES = ("members", 1, "calibrator", "groups"), ("members", 1, "calibrator", "temperatures")
WEIGHTS, BIAS = ("members", 2, "calibrator", "weights"), ("members", 2, "calibrator", "eos_bias")
WRONG = [
    (TEMPERATURE, "1" + "0" * 400),  # a whole number beyond float
    (TEMPERATURE, "1e400"),
    (TEMPERATURE, "9" * 5000),
    (TEMPERATURE, "-1e400"),
    (TEMPERATURE, "Infinity"),
    (TEMPERATURE, "NaN"),
    (TEMPERATURE, '"1.5"'),
    (TEMPERATURE, "true"),
    (TEMPERATURE, "null"),
    (TEMPERATURE, "[1.5]"),
    (TEMPERATURE, "[" * 3000 + "]" * 3000),
    (TEMPERATURE, "7.7e-118"),
    (TEMPERATURE, "1e30"),
    (BIAS, "-1e300"),
    (TEMPERATURES, "[1e300, 1]"),  # beyond float32, which the decoder computes in
    (TEMPERATURES, "[1e-300, 1]"),
    (TEMPERATURES, "1.5"),
    (TEMPERATURES, '{"0": 1.5, "1": 2}'),
    (TEMPERATURES, "[]"),
    (GROUPS, '["0", "1", "1", "0"]'),
    (GROUPS, "[0.5, 1, 1, 0]"),
    (GROUPS, "[0, 1, 1, 99999999999999999999]"),
    (GROUPS, "[0, 1, 1, -1]"),
    (GROUPS, "[[0], [1], [1], [0]]"),
    (GROUPS, '"0110"'),
    (EOS, '"2"'),
    (EOS, "2.5"),
    (EOS, "true"),
    (EOS, "-1"),
    (WEIGHTS, "[1e39, 0, 0, 0, 0]"),
    (WEIGHTS, '["1", 0, 0, 0, 0]'),
    (BIAS, '"0"'),
    (BIAS, "1e999"),
    (("dictionary", "types"), '"4"'),
    (("dictionary", "types"), "-4"),
    (("dictionary", "sha256"), "7"),
    (("dictionary",), "[]"),
    (("members",), "{}"),
    (("members",), "[]"),
    (("members",), "[1]"),
    (("members", 0), '"c0.pt"'),
    (("members", 0, "calibrator"), '"temperature"'),
    (("members", 0, "calibrator", "kind"), "[]"),
    (("members", 0, "checkpoint"), "3"),
    (("members", 0, "sha256"), "null"),
    (("corpus",), "3"),
    (("measures",), "[]"),
    (("signature",), "{}"),
    (("sentence_confidence",), "[]"),
    (("version",), '"1"'),
    (("format",), "[]"),
]


def replaced(whole, keys, text):
    content = json.loads(whole)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = "HERE"
    return json.dumps(content).replace('"HERE"', text)


@pytest.mark.parametrize(("keys", "text"), WRONG)
def test_a_wrong_value_is_refused(whole, tmp_path, keys, text):
    path = tmp_path / "wrong.json"
    path.write_text(replaced(whole, keys, text), encoding="utf-8")
    assert use(path)


@pytest.mark.parametrize("text", ['"1"', "true", "1e400", "[1]", "null", '{"a": 1}'])
@pytest.mark.parametrize("key", ["bias", "chrf", "weights"])
def test_a_wrong_value_of_the_sentence_confidence(text, key):
    record = {**SENTENCES, key: json.loads(text)}
    if key == "weights":
        record["weights"] = [json.loads(text)] * len(FEATURES)
    with pytest.raises((KeyError, TypeError, ValueError)):
        SentenceConfidence.from_json(record)


def test_brackets_and_other_content(tmp_path):
    for text in ("[" * 3000, "[" * 100_000, '{"a": ' * 3000, "\x00", "﻿{}", "nan", "1" * 5000, '{"format": 1e999}'):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        assert use(tmp_path / "x.json")
    for data in (b"PK\x03\x04" + bytes(40), b"\xff\xfe{\x00}\x00", bytes(range(256))):
        (tmp_path / "x.json").write_bytes(data)
        assert use(tmp_path / "x.json")
    with pytest.raises(UserError, match="Is a directory"):
        load(tmp_path)


ODD = [
    None,
    True,
    "",
    "x",
    "1",
    0,
    -1,
    0.5,
    1e300,
    -1e300,
    1e-300,
    math.nan,
    math.inf,
    2**63,
    10**400,
    [],
    {},
    [1],
    {"a": 1},
]


@st.composite
def odd_contents(draw, content):
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        inner, last = content, None
        while isinstance(inner, dict | list) and inner and (last is None or draw(st.integers(0, 4))):
            outer = inner
            last = draw(st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner))))
            inner = inner[last]
        if last is None:
            continue
        if draw(st.integers(0, 6)) == 0:
            del outer[last]
        else:
            outer[last] = copy.deepcopy(draw(st.sampled_from(ODD) | st.floats() | st.integers()))
    return content


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_odd_content(whole, tmp_path, examples):
    path = tmp_path / "odd.json"
    content = json.loads(whole)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(odd_contents(content))
    def any_content(odd):
        path.write_text(json.dumps(odd), encoding="utf-8")
        use(path)

    any_content()


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_text(whole, tmp_path, examples):
    path = tmp_path / "damaged.json"
    pieces = st.sampled_from(["[" * 2000, '"', "}", "1e999", "9" * 400, "-", "null", ",", "\\ud800", "\x00", ""])

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(whole)), st.integers(0, 30), pieces | st.text(max_size=4), st.booleans())
    def any_text(start, length, piece, cut):
        text = whole[:start] + piece + ("" if cut else whole[start + length :])
        path.write_text(text, encoding="utf-8", errors="replace")
        use(path)

    any_text()
