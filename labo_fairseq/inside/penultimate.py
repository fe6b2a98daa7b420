"""Penultimate activations on the plane through three class templates, and how tight their clusters are.

The template of a class is its row of the last layer's weights (Müller et al. 2019, section 2). As in algorithm 1 of
Wagner et al. (2023) the bias is left out; Müller's text appends it to the template and a 1 to the activation.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..measures import significance
from ..records.tables import TextTable, shown

_FLAT = 1e-6  # share of the longest edge below which a triangle is a line
# heading of the table: (name in measures(), layout); tightness is what the study is about, so it is tested
COLUMNS = {
    "tightness": ("tightness", ".4g"),
    "tightness in all dimensions": ("tightness_all", ".4g"),
    "within/centres": ("within_over_centres", ".4g"),
    "within": ("within", ".4g"),
    "template distance²": ("template_distance2", ".4g"),
}


@dataclass(frozen=True)
class Projection:
    """The examples of three classes on the plane of their templates.

    points: (N, 2); labels: (N,) in 0..2; templates: (3, 2); measures: {name: number} of `measures`
    """

    points: np.ndarray
    labels: np.ndarray
    templates: np.ndarray
    measures: dict


def plane(templates):
    """Orthonormal basis Q (D, 2) of the plane through three templates (3, D), by the QR decomposition of two edges.

    The first axis leads from the first template to the second, and the third lies on the positive side of the second
    axis, so that pictures of different models are alike. QQᵀ does not depend on the order. Raises UserError where the
    templates lie on a line.
    """
    edges = (templates[1:] - templates[0]).T.astype(np.float64)
    q, r = np.linalg.qr(edges)
    lengths = np.abs(np.diag(r))
    if not lengths.min() > _FLAT * np.linalg.norm(edges, axis=0).max():
        raise UserError(
            "--classes: the templates of the three classes lie on a line and span no plane: choose other classes"
        )
    return q * np.sign(np.diag(r))


def project(activations, labels, templates):
    """The Projection of activations (N, D) with labels (N,) in 0..2, each occurring, on the plane of the templates."""
    basis = plane(templates)
    points = activations.astype(np.float64) @ basis
    corners = templates.astype(np.float64) @ basis
    return Projection(points, labels, corners, measures(activations, labels, templates, basis))


def measures(activations, labels, templates, basis):
    """{name: number} of activations (N, D) with labels (N,) in 0..2 and templates (3, D).

    within: mean over the classes of the mean squared distance to the class's centre, in the plane
    template_distance2: mean squared distance between two templates
    tightness: within / template_distance2; lower is tighter. `tightness_all`: the same, within in all D dimensions
    within_over_centres: within / mean squared distance between two class centres in the plane. Unlike tightness it does
        not change where a model has larger activations and smaller weights with the same logits
    count: N
    """
    activations = activations.astype(np.float64)
    within_all, _ = _spread(activations, labels)
    within, centres = _spread(activations @ basis, labels)
    distance = _mean_distance2(templates.astype(np.float64))
    return {
        "tightness": within / distance,
        "tightness_all": within_all / distance,
        "within_over_centres": within / _mean_distance2(centres),
        "within": within,
        "template_distance2": distance,
        "count": len(labels),
    }


def _spread(points, labels):
    """(mean over the classes of the mean squared distance to the centre, centres (3, ·))."""
    groups = [points[labels == i] for i in range(3)]
    centres = np.stack([group.mean(0) for group in groups])
    variances = [((group - centre) ** 2).sum(1).mean() for group, centre in zip(groups, centres, strict=True)]
    return float(np.mean(variances)), centres


def _mean_distance2(corners):
    pairs = corners[[0, 0, 1]] - corners[[1, 2, 2]]
    return float((pairs**2).sum(1).mean())


def table(projected, classes):
    """TextTable of {system: {subset: [Projection of each seed]}}; several seeds: 95% interval and Welch's test.

    The interval is Student's, of the mean over the seeds; differences are from the first system.
    """
    blocks = [_block(projected, subset) for subset in next(iter(projected.values()))]
    rows = [list(blocks[0][0]), *(list(row) for _, *body in blocks for row in body)]
    note = "tightness: variance within the clusters, in the plane, over the squared distance of the templates"
    return TextTable(f"penultimate activations of {', '.join(classes)}", rows, [note])


def _block(projected, subset):
    """Heading and rows of a subset."""
    seeds = {system: [projection.measures for projection in by[subset]] for system, by in projected.items()}
    columns = [["system", *seeds], ["subset", *[subset] * len(seeds)]]
    columns.append(["seeds", *(str(len(measured)) for measured in seeds.values())])
    columns.append(["examples", *(str(measured[0]["count"]) for measured in seeds.values())])
    for heading, (key, layout) in COLUMNS.items():
        compared = significance.across_seeds([[one[key] for one in measured] for measured in seeds.values()])
        columns.append([heading, *(shown(one.mean, layout) for one in compared)])
        if heading == "tightness":
            columns.append(["95% ±", *(shown(half_width(one.values), ".2g") for one in compared)])
            columns.append(["difference", *(shown(one.difference, "+.4g") for one in compared)])
            columns.append(["p (Welch)", *(shown(one.p_welch, ".4f") for one in compared)])
    return list(zip(*columns, strict=True))


def half_width(values):
    """Half-width of Student's 95% interval of the mean of some values; None for a single one."""
    if len(values) < 2:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)


def points_table(projected, classes):
    """TextTable of all points and templates of the first seed of each system, which the figure shows."""
    rows = [["system", "subset", "what", "class", "x", "y"]]
    for system, by_subset in projected.items():
        for subset, (first, *_) in by_subset.items():
            parts = {"template": (first.templates, range(3)), "example": (first.points, first.labels)}
            for what, (points, labels) in parts.items():
                for (x, y), label in zip(points, labels, strict=True):
                    rows.append([system, subset, what, classes[label], f"{x:.6g}", f"{y:.6g}"])
    return TextTable("projections on the plane of the three templates", rows)
