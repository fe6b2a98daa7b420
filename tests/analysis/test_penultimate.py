"""The plane of three templates and the tightness of clusters: algorithm 1 of Wagner et al. (2023) and invariances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.errors import UserError
from labo_fairseq.figures import inside as inside_figures
from labo_fairseq.inside import penultimate

SEEDS = st.integers(0, 2**31)


def example(seed, dimensions=7, count=30):
    rng = np.random.default_rng(seed)
    templates = rng.normal(size=(3, dimensions))
    labels = np.arange(count) % 3
    return 2 * templates[labels] + rng.normal(size=(count, dimensions)), labels, templates


def algorithm_1(points):
    """Literally, from appendix A.1 of Wagner et al."""
    a = np.zeros((2, points.shape[1]))
    a[0] = (points[1] - points[0]) / np.linalg.norm(points[1] - points[0])
    a[1] = (points[2] - points[0]) / np.linalg.norm(points[2] - points[0])
    q, _ = np.linalg.qr(a.T)
    return q


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 40))
def test_the_basis_is_orthonormal_and_spans_the_plane_of_the_paper(seed, dimensions):
    _, _, templates = example(seed, dimensions)
    basis = penultimate.plane(templates)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)
    theirs = algorithm_1(templates)
    np.testing.assert_allclose(basis @ basis.T, theirs @ theirs.T, atol=1e-9)
    # the templates lie on it: their distances are those in all dimensions
    for i, j in ((0, 1), (0, 2), (1, 2)):
        edge = templates[i] - templates[j]
        assert np.linalg.norm(edge @ basis) == pytest.approx(np.linalg.norm(edge))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_nothing_depends_on_the_order_of_the_classes(order):
    activations, labels, templates = example(1)
    first = penultimate.project(activations, labels, templates)
    where = np.argsort(order)  # class i has the place where[i] in the new order
    other = penultimate.project(activations, where[labels], templates[list(order)])
    for a, b in ((penultimate.plane(templates), penultimate.plane(templates[list(order)])),):
        np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-12)

    def distances(found):
        points = np.concatenate([found.points, found.templates[where] if found is other else found.templates])
        return np.linalg.norm(points[:, None] - points[None], axis=2)

    np.testing.assert_allclose(distances(first), distances(other), atol=1e-12)
    assert other.measures == pytest.approx(first.measures, rel=1e-12)


def test_pictures_are_oriented_alike():
    templates = example(2)[2]
    corners = templates @ penultimate.plane(templates)
    assert corners[1, 0] > corners[0, 0] and corners[2, 1] > corners[0, 1]
    assert corners[1, 1] == pytest.approx(corners[0, 1])


def test_tightness_by_hand():
    """Two points at distance 1 on either side of each template of a triangle with sides 3, 4, 5."""
    templates = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    side = np.array([[1.0, 0, 2], [-1, 0, -2]])
    activations = (templates[:, None] + side).reshape(6, 3)
    found = penultimate.project(activations, np.repeat(range(3), 2), templates).measures
    square = (9 + 16 + 25) / 3
    assert found["template_distance2"] == pytest.approx(square)
    assert found["within"] == pytest.approx(1) and found["tightness"] == pytest.approx(1 / square)
    assert found["tightness_all"] == pytest.approx(5 / square)
    assert found["within_over_centres"] == pytest.approx(1 / square)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.01, 100))
def test_what_a_change_of_scale_does(seed, scale):
    """Larger activations and smaller weights, the same logits: only the measure by the centres stays."""
    activations, labels, templates = example(seed)
    one = penultimate.project(activations, labels, templates).measures
    other = penultimate.project(scale * activations, labels, templates / scale).measures
    assert other["within_over_centres"] == pytest.approx(one["within_over_centres"], rel=1e-9)
    assert other["tightness"] == pytest.approx(scale**4 * one["tightness"], rel=1e-9)


def test_templates_on_a_line_span_no_plane():
    with pytest.raises(UserError, match="lie on a line"):
        penultimate.plane(np.array([[0.0, 1], [1, 2], [2, 3]]))
    with pytest.raises(UserError, match="lie on a line"):
        penultimate.plane(np.ones((3, 4)))


@pytest.fixture
def found():
    """Two systems of two seeds on two subsets."""
    return {
        name: {subset: [penultimate.project(*example(seed + i)) for i in range(2)] for subset in ("train", "valid")}
        for name, seed in (("hard", 0), ("$smooth", 10))
    }


def test_the_table_has_intervals_and_a_test(found):
    heading, *rows = penultimate.table(found, ("a", "b", "c")).rows
    rows = [dict(zip(heading, row, strict=True)) for row in rows]
    assert [(row["subset"], row["system"]) for row in rows] == list(itertools.product(("train", "valid"), found))
    values = [p.measures["tightness"] for p in found["hard"]["train"]]
    assert float(rows[0]["tightness"]) == pytest.approx(np.mean(values), rel=1e-3)
    # Student's t of one degree of freedom is 12.706 at 97.5 %
    assert float(rows[0]["95% ±"]) == pytest.approx(12.706 * np.std(values, ddof=1) / 2**0.5, rel=0.06)
    assert rows[0]["p (Welch)"] == "–" and 0 <= float(rows[1]["p (Welch)"]) <= 1


def test_the_figure_and_its_points(found, tmp_path):
    pytest.importorskip("matplotlib")
    figure = inside_figures.penultimate(found, ("a", "_b", "$c"), limit=4)
    figure.savefig(tmp_path / "x.png")
    assert len(figure.axes) == 4
    drawn = sum(len(one.get_offsets()) for one in figure.axes[0].collections[:3])
    assert drawn == 12
    rows = penultimate.points_table(found, ("a", "b", "c")).rows[1:]
    assert len(rows) == 2 * 2 * (30 + 3)
    first = found["hard"]["train"][0]
    assert float(rows[3][4]) == pytest.approx(first.points[0, 0], rel=1e-5)
