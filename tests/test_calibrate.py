"""The functions of calibrate.py against torchmetrics, scipy's minimum of the likelihood, and by hand."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from labo_fairseq.calibrate import expected_calibration_error, fit_temperature, reliability_bins
from labo_fairseq.errors import UserError

NORMS = ["l1", "l2", "max"]
# what torchmetrics takes: task, shape of the predictions
SHAPES = {
    "binary": (200,),
    "binary, more dimensions": (50, 2, 3),
    "multiclass": (200, 5),
    "two classes": (200, 2),
    "multiclass, more dimensions": (50, 5, 3, 2),
}


def problem(shape, binary, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, generator=generator)
    types = 2 if binary else shape[1]
    target = torch.randint(types, shape if binary else (shape[0], *shape[2:]), generator=generator)
    return logits.to(dtype), target


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bins", [1, 4, 10, 15, 20])
@pytest.mark.parametrize("ignore_index", [None, -1, 0])
@pytest.mark.parametrize("probabilities", [False, True])
def test_equal_to_torchmetrics(torchmetrics, name, norm, bins, ignore_index, probabilities):
    binary = name.startswith("binary")
    logits, target = problem(SHAPES[name], binary)
    if ignore_index == -1:
        target.view(-1)[::4] = -1
    if probabilities:
        logits = logits.sigmoid() if binary else logits.softmax(1)
    classes = {} if binary else {"num_classes": logits.size(1)}
    expected = torchmetrics.functional.calibration_error(
        logits, target, "binary" if binary else "multiclass", bins, norm, ignore_index=ignore_index, **classes
    )
    arguments = {"bins": bins, "norm": norm, "ignore_index": ignore_index, "probabilities": probabilities}
    # torchmetrics adds in float32
    assert expected_calibration_error(logits, target, **arguments) == pytest.approx(float(expected), abs=2e-6)
    of_arrays = expected_calibration_error(logits.numpy(), target.numpy(), **arguments)
    assert of_arrays == expected_calibration_error(logits, target, **arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_equal_to_torchmetrics_in_other_precisions(torchmetrics, dtype):
    """Half logits are worked on in float32, as are torchmetrics' of the same numbers."""
    logits, target = problem((300, 6), False, dtype)
    expected = torchmetrics.functional.calibration_error(logits.float(), target, "multiclass", num_classes=6)
    assert expected_calibration_error(logits, target) == pytest.approx(float(expected), abs=2e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_confidences_on_the_edges_of_bins(torchmetrics, norm):
    """Left-closed bins, as torchmetrics; of 1.0 alone it makes one more bin, so that it is left out here."""
    p = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.875, 0.125]])
    target = torch.tensor([0, 1, 1, 1])
    expected = torchmetrics.functional.calibration_error(p, target, "multiclass", 4, norm, num_classes=2)
    got = expected_calibration_error(p, target, bins=4, norm=norm, probabilities=True)
    assert got == pytest.approx(float(expected), abs=1e-7)


def test_a_confidence_of_one_is_in_the_last_bin():
    """0.9375 right and 1.0 wrong in one bin of four: |(0.9375 + 1) − 1| / 2; two bins would give (0.0625 + 1) / 2."""
    p = torch.tensor([[0.9375, 0.0625], [1.0, 0.0]])
    got = expected_calibration_error(p, torch.tensor([0, 1]), bins=4, probabilities=True)
    assert got == pytest.approx(0.46875)


def test_the_classes_may_be_last():
    logits, target = problem((20, 5, 7), False)
    assert expected_calibration_error(logits.movedim(1, -1), target, class_dim=-1) == expected_calibration_error(
        logits, target
    )


def test_pieces_change_nothing(monkeypatch):
    from labo_fairseq import calibrate

    logits, target = problem((101, 5), False)
    target[::2] = logits[::2].argmax(1)
    whole = expected_calibration_error(logits, target), fit_temperature(logits, target)
    monkeypatch.setattr(calibrate, "_PIECE", 35)
    assert expected_calibration_error(logits, target) == pytest.approx(whole[0], abs=1e-12)
    assert fit_temperature(logits, target) == pytest.approx(whole[1], rel=1e-9)


def test_reliability_bins_by_hand():
    p = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1]])
    low, high = reliability_bins(p, np.array([0, 1, 1, -100]), bins=2, probabilities=True)
    assert low["count"] == 0 and math.isnan(low["accuracy"]) and low["bin_high"] == high["bin_low"] == 0.5
    assert high["count"] == 3
    assert high["confidence"] == pytest.approx(2.1 / 3) and high["accuracy"] == pytest.approx(2 / 3)
    assert high["accuracy_low"] < 2 / 3 < high["accuracy_high"]


def best_temperature(nll):
    """By scipy, over log T."""
    return math.exp(minimize_scalar(lambda x: float(nll(math.exp(x))), bounds=(-3, 3), method="bounded").x)


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_is_that_of_the_least_likelihood(seed):
    logits, target = problem((400, 5), False, torch.float64, seed)
    target[::2] = logits[::2].argmax(1)
    target[::7] = -100
    expected = best_temperature(lambda t: F.cross_entropy(logits / t, target))
    assert fit_temperature(logits, target) == pytest.approx(expected, rel=1e-3)
    assert fit_temperature(logits.numpy(), target.numpy()) == fit_temperature(logits, target)
    assert fit_temperature(logits.view(20, 20, 5), target.view(20, 20), class_dim=-1) == fit_temperature(logits, target)


def test_the_temperature_of_two_classes():
    logits, target = problem((400,), True, torch.float64)
    target[::2] = (logits[::2] > 0).long()
    expected = best_temperature(lambda t: F.binary_cross_entropy_with_logits(logits / t, target.double()))
    assert fit_temperature(logits, target) == pytest.approx(expected, rel=1e-3)


def test_the_temperature_of_the_least_calibration_error():
    """Labels drawn at T = 2: the error found is no larger than that of any temperature of a grid, nor than at 1."""
    logits, _ = problem((2000, 5), False)
    target = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(1)).squeeze(1)
    logits = 2 * logits

    def error(t):
        return expected_calibration_error(logits / t, target)

    temperature = fit_temperature(logits, target, objective="ece")
    assert temperature == pytest.approx(2, abs=0.3)
    assert error(temperature) <= min(error(t) for t in np.geomspace(0.3, 10, 25))
    assert error(temperature) < error(1.0) / 5


def test_labels_drawn_from_the_model_need_no_temperature():
    """T = 1 within the error of 20,000 draws, and 1/2 of logits that are doubled."""
    logits, _ = problem((20_000, 5), False)
    target = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(1)).squeeze(1)
    assert fit_temperature(logits, target) == pytest.approx(1, abs=0.03)
    assert fit_temperature(2 * logits, target) == pytest.approx(2, abs=0.06)
    assert expected_calibration_error(logits, target) < 0.01 < expected_calibration_error(2 * logits, target)


@pytest.mark.parametrize("logits", [torch.eye(3) * 5, torch.zeros(3, 3)], ids=["all right", "all equal"])
def test_no_best_temperature_warns(logits):
    with pytest.warns(UserWarning, match="fit_temperature"):
        fit_temperature(logits, torch.tensor([0, 1, 2]))


def test_a_best_temperature_does_not_warn():
    logits, target = problem((50, 5), False)
    target[::2] = logits[::2].argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_temperature(logits, target)


def test_nothing_to_count():
    nothing = torch.full((3,), -100)
    assert all(math.isnan(expected_calibration_error(torch.zeros(3, 2), nothing, norm=norm)) for norm in NORMS)
    with pytest.raises(UserError, match="none counts"):
        fit_temperature(torch.zeros(3, 2), nothing)


TARGET = torch.tensor([0, 1])
REFUSED = {
    "norm": (lambda: expected_calibration_error(torch.zeros(2, 3), TARGET, norm="l3"), "l1, l2, max"),
    "bins": (lambda: reliability_bins(torch.zeros(2, 3), TARGET, bins=0), "bins"),
    "objective": (lambda: fit_temperature(torch.zeros(2, 3), TARGET, objective="mce"), "nll"),
    "shapes": (lambda: reliability_bins(torch.zeros(3, 3), TARGET), "do not fit"),
    "classes last": (lambda: reliability_bins(torch.zeros(2, 4, 3), torch.zeros(2, 4).long()), "class_dim"),
    "a target outside": (lambda: reliability_bins(torch.zeros(2, 3), torch.tensor([0, 3])), "3 classes"),
    "a binary target outside": (lambda: reliability_bins(torch.zeros(2), torch.tensor([0, 2])), "2 classes"),
    "shares as target": (lambda: reliability_bins(torch.zeros(2, 3), torch.zeros(2, 3)), "indices"),
    "indices as logits": (lambda: reliability_bins(TARGET, TARGET), "real numbers"),
    "logits as probabilities": (
        lambda: expected_calibration_error(torch.ones(2, 3) * 5, TARGET, probabilities=True),
        "outside",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    wrong, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as error:
        wrong()
    assert "\n" not in str(error.value)


def test_the_import_needs_neither_fairseq_nor_scipy():
    blocked = "sys.modules.update(dict.fromkeys(('fairseq', 'hydra', 'omegaconf', 'scipy')))"
    code = f"import sys\n{blocked}\nimport labo_fairseq.calibrate"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
