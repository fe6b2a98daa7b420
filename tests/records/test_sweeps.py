import json

import pytest
from _analysis import write

from labo_fairseq.errors import UserError
from labo_fairseq.records.sweeps import read_measures, read_sweep, read_tuning
from labo_fairseq.records.tables import table_of

TEMPERATURES = [
    {"T": t, "beam": 5, "BLEU": 30 - t, "ece": 0.01 * t, "nll": 2.0, "tokens": 9, "BLEU_signature": "nrefs:1"}
    for t in (0.7, 1.0)
]
BEAMS = [{"beam": b, "calibrated": "yes", "BLEU": 30.5, "length_ratio": 0.98} for b in (1, 5)]


def test_what_labo_calibrate_writes_is_read(tmp_path):
    """The files are made as `labo calibrate --sweep` makes them."""
    write(tmp_path / "temperatures.tsv", table_of("", TEMPERATURES).as_tsv() + "\n")
    write(tmp_path / "beams.tsv", table_of("", BEAMS).as_tsv() + "\n")
    rows = read_sweep(tmp_path / "temperatures.tsv")
    assert [(r["T"], r["BLEU"], r["ece"], r["nll"], r["tokens"]) for r in rows] == [
        (0.7, 29.3, 0.007, 2.0, "9"), (1.0, 29.0, 0.01, 2.0, "9")
    ]  # fmt: skip
    assert read_sweep(tmp_path / "beams.tsv") == [{**row, "beam": float(row["beam"])} for row in BEAMS]
    assert read_sweep(tmp_path / "absent" / "beams.tsv") is None


@pytest.mark.parametrize("text", ["", "x\ty\n", "beam\tBLEU\tlength_ratio\n1\tx\t1\n", "beam\tBLEU\tlength_ratio\n1\n"])
def test_a_damaged_sweep_is_one_line(tmp_path, text):
    write(tmp_path / "beams.tsv", text)
    with pytest.raises(UserError, match=r"beams\.tsv: .*: sweep again") as error:
        read_sweep(tmp_path / "beams.tsv")
    assert "\n" not in str(error.value)


def test_tuning_and_measures(tmp_path):
    points = [{"calibrate": "none", "lenpen": p, "bleu": 30.0 + p, "file": "x"} for p in (0.6, 1)]
    assert read_tuning(tmp_path) is None and read_measures(tmp_path) == {}
    write(tmp_path / "tuning.json", json.dumps({"chosen": points[1], "all": points}))
    assert [(row["lenpen"], row["chosen"]) for row in read_tuning(tmp_path)] == [(0.6, False), (1, True)]
    measures = {"before": {"all": {"ece": 0.3}, "eos": {"ece": 1}}, "warnings": ["w"]}
    write(tmp_path / "calibration.json", json.dumps({"measures": measures}))
    assert read_measures(tmp_path) == {"before": {"ece": 0.3}}
    for name in ("tuning.json", "calibration.json"):
        write(tmp_path / name, "{")
    for read in (read_tuning, read_measures):
        with pytest.raises(UserError, match="no JSON of ours"):
            read(tmp_path)
