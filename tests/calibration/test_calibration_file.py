"""calibration.json: what is written comes back, and what is broken is refused with one line."""

import dataclasses
import json

import pytest
import torch
from fairseq.data import Dictionary

from labo_fairseq.calibration.file import Calibration, Decoding, Member, dictionary_record, load, save
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Adaptive, Grouped, Temperature

CALIBRATORS = [
    Temperature(1.37),
    Grouped(torch.tensor([0.5, 2.0]), torch.tensor([0, 1, 1, 0]), 2, -0.25),
    Adaptive(torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5]), 2, 0.75),
    Adaptive(torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5])),
]


@pytest.fixture
def saved(tmp_path):
    members = [Member(f"c{i}.pt", f"{i}" * 64, calibrator) for i, calibrator in enumerate(CALIBRATORS)]
    calibration = Calibration(
        members, {"sha256": "d" * 64, "types": 4}, {"data": "bin", "split": "valid"}, "ece|…", {"before": {}}, {"a": 1}
    )
    save(calibration, tmp_path / "calibration.json")
    return calibration, tmp_path / "calibration.json"


def test_round_trip(saved):
    calibration, path = saved
    got = load(path)
    for name in ("dictionary", "corpus", "signature", "measures", "sentence_confidence"):
        assert getattr(got, name) == getattr(calibration, name)
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    steps = torch.arange(5), torch.arange(5) + 1
    for one, other in zip(got.members, calibration.members, strict=True):
        assert (one.checkpoint, one.sha256) == (other.checkpoint, other.sha256)
        same = one.calibrator.log_probs(logits, *steps) == other.calibrator.log_probs(logits, *steps)
        assert type(one.calibrator) is type(other.calibrator) and same.all()


def changed(content, *keys, to):
    """The JSON content with one value replaced (or, `to` is None, taken out)."""
    *path, last = keys
    inner = content
    for key in path:
        inner = inner[key]
    if to is None:
        del inner[last]
    else:
        inner[last] = to


@pytest.mark.parametrize(
    "keys, to, message",
    [
        (["format"], "something", "not a calibration file"),
        (["version"], 99, "version 99"),
        (["members"], None, "broken calibration file"),
        (["members", 0, "calibrator", "temperature"], 0, "not above 0"),
        (["members", 0, "calibrator", "temperature"], "warm", "broken"),
        (["members", 0, "calibrator", "kind"], "magic", "unknown calibrator"),
        (["members", 1, "calibrator", "temperatures"], [1.0], "groups do not fit"),
        (["members", 1, "calibrator", "groups"], [0, 1, 1], "groups do not fit"),
        (["members", 1, "calibrator", "groups"], [], "groups do not fit"),
        (["members", 1, "calibrator", "eos"], 4, "not in the dictionary"),
        (["members", 1, "calibrator", "eos_bias"], float("nan"), "not finite"),
        (["members", 2, "calibrator", "weights"], [1.0], "does not compute"),
        (["members", 2, "calibrator", "weights"], [1.0, 0, 0, 0, float("inf")], "not finite"),
        (["dictionary", "types"], 5, "groups do not fit"),
    ],
)
def test_broken_files_are_refused_with_one_line(saved, keys, to, message):
    _, path = saved
    content = json.loads(path.read_text())
    changed(content, *keys, to=to)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.fixture
def saved_with_decoding(saved):
    calibration, path = saved
    decoding = Decoding(1.3, 0.9, -0.25, {"beam": 5, "max_len_a": 1.2, "max_len_b": 10}, {"metric": "BLEU"})
    save(dataclasses.replace(calibration, decoding=decoding), path)
    return decoding, path


def test_a_decoding_comes_back_and_is_one_key_more(saved, tmp_path):
    calibration, path = saved
    before = json.loads(path.read_text())
    assert load(path).decoding is None and "decoding" not in before
    decoding = Decoding(1.3, 0.9, -0.25, {"beam": 5, "max_len_a": 1.2, "max_len_b": 10}, {"metric": "BLEU"})
    save(dataclasses.replace(calibration, decoding=decoding), path)
    assert load(path).decoding == decoding
    content = json.loads(path.read_text())
    del content["decoding"]
    assert content == before


@pytest.mark.parametrize(
    "keys, to",
    [
        ([], []),
        ([], "tuned"),
        (["lenpen"], "1"),
        (["lenpen"], None),
        (["lenpen"], float("inf")),
        (["lenpen"], 1e9),
        (["temperature"], 0),
        (["temperature"], -1),
        (["temperature"], True),
        (["temperature"], 1e-9),
        (["eos_bias"], [0.0]),
        (["eos_bias"], float("nan")),
        (["search"], None),
        (["search"], 5),
        (["search", "beam"], 0),
        (["search", "beam"], 2.5),
        (["search", "max_len_a"], "1.2"),
        (["search", "max_len_b"], None),
        (["measures"], []),
    ],
)
def test_broken_decoding_settings_are_refused_with_one_line(saved_with_decoding, keys, to):
    _, path = saved_with_decoding
    content = json.loads(path.read_text())
    changed(content, "decoding", *keys, to=to)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"broken calibration file|not finite") as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00", '{"format": "labo-calibration"}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json: "):
        load(tmp_path / "x.json")


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not a calibration file"):
        load(tmp_path / "bytes.json")


def test_a_dictionary_is_its_symbols_in_order():
    def dictionary(words, count=1):
        found = Dictionary()
        for word in words:
            found.add_symbol(word, n=count)
        return found

    record = dictionary_record(dictionary(["a", "b"]))
    assert record["types"] == 6
    assert record == dictionary_record(dictionary(["a", "b"], count=7))
    assert record != dictionary_record(dictionary(["b", "a"]))
