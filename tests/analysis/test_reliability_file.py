"""What `labo calibrate` writes is what `labo report` reads."""

import math

import pytest

from labo_fairseq.measures.calibration import bin_sums, reliability
from labo_fairseq.records.reliability import read_reliability, write_reliability


def test_a_diagram_with_empty_bins_is_read_back(tmp_path):
    confidence = [0.95, 0.5, 0.55]
    made = {when: reliability(bin_sums(confidence, [True, False, True])) for when in ("before", "after")}
    write_reliability(made, tmp_path / "reliability.tsv")
    found = read_reliability(tmp_path)
    expected = [{"when": when, **row} for when, rows in made.items() for row in rows]
    assert len(found) == len(expected) == 30
    assert math.isnan(found[0]["accuracy"]) and found[0]["count"] == 0
    for got, row in zip(found, expected, strict=True):
        assert got["when"] == row["when"]
        numbers = [name for name in row if name != "when"]
        assert [got[n] for n in numbers] == pytest.approx([row[n] for n in numbers], abs=5e-5, nan_ok=True)
