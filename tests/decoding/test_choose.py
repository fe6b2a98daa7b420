"""Which calibrator a checkpoint gets, and which files are refused."""

import pytest
import torch
from fairseq.data import Dictionary

from labo_fairseq.calibration.file import Calibration, Member, dictionary_record, load
from labo_fairseq.decoding.choose import calibration_of, calibrators, file_of, weights_of
from labo_fairseq.errors import UserError
from labo_fairseq.files import sha256
from labo_fairseq.functional.calibrators import Grouped, Temperature


@pytest.fixture
def words():
    dictionary = Dictionary()
    for i in range(5):
        dictionary.add_symbol(f"w{i}")
    return dictionary


@pytest.fixture
def files(tmp_path):
    """Three "checkpoints"; only their bytes matter here."""
    paths = [tmp_path / f"{name}.pt" for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    return [str(path) for path in paths]


def calibration(words, *members):
    return Calibration([Member("x", sha256(path), c) for path, c in members], dictionary_record(words), {})


def test_members_are_matched_by_their_bytes(files, words, tmp_path):
    a, b, _ = files
    fitted = calibration(words, (a, Temperature(2.0)), (b, Temperature(3.0)))
    assert calibrators(fitted, "f", [b, a], words) == [Temperature(3.0), Temperature(2.0)]
    renamed = tmp_path / "renamed.pt"
    renamed.write_text("b.pt")
    assert calibrators(fitted, "f", [str(renamed)], words) == [Temperature(3.0)]


def test_t_1_is_the_model_itself(files, words):
    assert calibrators(calibration(words, (files[0], Temperature(1.0))), "f", files[:1], words) == [None]


def test_another_checkpoint_is_refused_or_warned_of(files, words, caplog):
    a, b, c = files
    fitted = calibration(words, (a, Temperature(2.0)), (b, Temperature(3.0)))
    with pytest.raises(UserError, match=r"cal\.json: was not fitted to .*c\.pt.*--calibration-mismatch warn"):
        calibrators(fitted, "cal.json", [b, c], words)
    assert calibrators(fitted, "cal.json", [b, c], words, strict=False) == [Temperature(2.0), Temperature(3.0)]
    assert "was not fitted to" in caplog.text
    with pytest.raises(UserError, match="holds 2 calibrators for 1 checkpoints"):
        calibrators(fitted, "cal.json", [c], words, strict=False)


def test_another_dictionary_is_refused_or_warned_of(files, words, caplog):
    fitted = calibration(words, (files[0], Temperature(2.0)))
    swapped = Dictionary()
    for i in (1, 0, 2, 3, 4):
        swapped.add_symbol(f"w{i}")
    with pytest.raises(UserError, match="another dictionary"):
        calibrators(fitted, "cal.json", files[:1], swapped)
    assert calibrators(fitted, "cal.json", files[:1], swapped, strict=False) == [Temperature(2.0)]
    assert "another dictionary" in caplog.text
    swapped.add_symbol("one more")
    with pytest.raises(UserError, match="9 types"):  # a table of groups cannot be applied at all
        calibrators(fitted, "cal.json", files[:1], swapped, strict=False)


def test_a_model_in_training_is_another_checkpoint(files, words):
    fitted = calibration(words, (files[0], Temperature(2.0)))
    with pytest.raises(UserError, match="in training"):
        calibrators(fitted, "cal.json", None, words)
    assert calibrators(fitted, "cal.json", None, words, strict=False) == [Temperature(2.0)]


def test_a_file_per_direction(calibrate, checkpoints, caplog):
    path = calibrate((checkpoints[0], Temperature(2.0)))
    setting = f"de-en={path},zh_CN-fr_XX=other.json"
    assert file_of(setting, "de-en") == str(path) and file_of(setting, "zh_CN-fr_XX") == "other.json"
    assert calibration_of(setting, "de-en")[1] == load(path)
    assert calibration_of(setting, "fr-en") == (None, None) and "names no file for fr-en" in caplog.text
    assert calibration_of(None, "de-en") == (None, None) and file_of("plain.json", "de-en") == "plain.json"
    with pytest.raises(UserError, match="must read DIRECTION=FILE"):
        file_of("de-en=a.json,b.json", "de-en")


@pytest.mark.parametrize(
    "setting, members, message",
    [("0.5", 2, "1 weights for 2"), ("1,x", 2, "must be numbers"), ("1,0", 2, "above 0"), ("1,-1", 2, "above 0"),
     ("1,nan", 2, "above 0"), ("inf,1", 2, "above 0")],
)  # fmt: skip
def test_bad_weights(setting, members, message):
    with pytest.raises(UserError, match=message):
        weights_of(setting, members)


def test_weights_are_relative():
    assert weights_of(None, 3) == [1, 1, 1]
    assert weights_of("0.7,0.3", 2) == pytest.approx([1.4, 0.6])
    assert weights_of("7,3", 2) == pytest.approx([1.4, 0.6])


def test_groups_of_another_dictionary_do_not_load(calibrate, checkpoints, dictionary):
    grouped = Grouped(torch.ones(1), torch.zeros(len(dictionary) - 1, dtype=torch.long), 2, 0.0)
    with pytest.raises(UserError, match="groups do not fit"):
        load(calibrate((checkpoints[0], grouped)))
