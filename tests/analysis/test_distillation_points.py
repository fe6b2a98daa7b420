"""The smoothness index, and which curve of the distillation study a run belongs to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.figures import style as figures
from labo_fairseq.inside import distillation
from labo_fairseq.inside.distillation import Point, curve_of, smoothness


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.integers(2, 30), st.integers(0, 2**31))
def test_of_smoothed_labels_it_is_alpha(alpha, classes, seed):
    labels = np.random.default_rng(seed).integers(classes, size=17)
    with np.errstate(divide="ignore"):
        logits = np.log((1 - alpha) * np.eye(classes)[labels] + alpha / classes)
    assert smoothness(logits, labels) == pytest.approx(alpha, abs=1e-9)


def test_equation_3_literally():
    rng = np.random.default_rng(0)
    logits, labels, t = rng.normal(size=(9, 4)), rng.integers(4, size=9), 3.0
    total = 0.0
    for z, k in zip(logits, labels, strict=True):
        p = np.exp(z / t) / np.exp(z / t).sum()
        total += sum((1 - (j == k)) * p[j] * 4 / 3 for j in range(4))
    assert smoothness(logits, labels, t) == pytest.approx(total / 9)
    assert smoothness(logits, labels, 1e9) == pytest.approx(1)  # uniform


HARD = {"criterion": "label_smoothing", "label_smoothing": "0"}
SMOOTH = {"criterion": "label_smoothing", "label_smoothing": "0.1"}
LABO = {"criterion": "labo", "smoothing_mass": "fixed"}
STUDENT = {"criterion": "knowledge_distillation", "teacher_temperature": "4"}


@pytest.mark.parametrize(
    ("settings_of_run", "teacher", "curve"),
    [
        (SMOOTH, "itself", "M1: teacher, by α"),
        (HARD, None, "M2: student alone, by α"),
        ({"criterion": "cross_entropy"}, None, "M2: student alone, by α"),
        (STUDENT, HARD, "M3: student of the hard teacher, by T"),
        (STUDENT, SMOOTH, "M4: student of smoothed teachers, by α"),
        (LABO, "itself", "teacher, LABO fixed"),
        ({"criterion": "labo"}, None, "student alone, LABO adaptive"),
        (STUDENT, LABO, "student of the LABO fixed teacher, by T"),
        ({**STUDENT, "distill_match": "logits"}, SMOOTH, "logits matched, smoothed teacher"),
        ({**HARD, "dropout": "0.5"}, "itself", "teacher, hard dropout"),
        (STUDENT, {**HARD, "dropout": "0.5"}, "student of the hard dropout teacher, by T"),
    ],
)
def test_curves(settings_of_run, teacher, curve):
    assert curve_of(settings_of_run, teacher) == curve


def test_the_table_and_the_figure_have_the_same_numbers(tmp_path):
    points = [
        Point("M2: student alone, by α", "alone", "–", None, 0.0, (90.0, 92.0)),
        Point("M3: student of the hard teacher, by T", "T=4", "hard", 4.0, 0.3, (93.0, 95.0)),
        Point("teacher, LABO fixed", "labo", "–", None, 0.1, (97.0,)),
    ]
    heading, *rows = distillation.table(points).rows
    rows = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [row["difference"] for row in rows] == ["–", "+3.00", "+6.00"]
    assert rows[1]["min"] == "93.00" and rows[1]["max"] == "95.00" and rows[1]["T"] == "4"
    # Student's t of one degree of freedom, deviation √2, two values
    assert float(rows[0]["95% ±"]) == pytest.approx(12.71, abs=0.01)
    found = distillation.series(points)
    assert found["M3: student of the hard teacher, by T"][0][:2] == (0.3, 94.0)
    assert list(found)[-1] == "teacher, LABO fixed" and found["teacher, LABO fixed"][0][2] is None
    pytest.importorskip("matplotlib")
    figures.lines(found, "γ", "accuracy", "study").savefig(tmp_path / "x.png")
