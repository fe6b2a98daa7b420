"""What `labo calibrate` writes is what `labo report` reads."""

import math

import pytest
import torch

from labo_fairseq.analysis.run_folder import read_reliability
from labo_fairseq.calibrate import reliability_lines
from labo_fairseq.calibration.measures import reliability


def test_a_diagram_with_empty_bins_is_read_back(tmp_path):
    confidence = torch.tensor([0.95, 0.5, 0.55])
    made = {when: reliability(confidence, torch.tensor([True, False, True])) for when in ("before", "after")}
    (tmp_path / "reliability.tsv").write_text("".join(reliability_lines(made)), encoding="utf-8")
    found = read_reliability(tmp_path)
    expected = [{"when": when, **row} for when, rows in made.items() for row in rows]
    assert len(found) == len(expected) == 30
    assert math.isnan(found[0]["accuracy"]) and found[0]["count"] == 0
    for got, row in zip(found, expected, strict=True):
        assert got["when"] == row["when"]
        numbers = [name for name in row if name != "when"]
        assert [got[n] for n in numbers] == pytest.approx([row[n] for n in numbers], abs=5e-5, nan_ok=True)
