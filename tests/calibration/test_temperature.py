"""The search for a temperature: how far it reaches, and what is said where no temperature is the best one."""

import doctest
import json
import math

import numpy as np
import pytest
import torch

from labo_fairseq.analysis import classification
from labo_fairseq.calibration.fit import fit, fit_and_check
from labo_fairseq.calibration.groups import type_groups
from labo_fairseq.cli import main
from labo_fairseq.fairseq_models.tokens import Projection, Tokens
from labo_fairseq.functional import calibrators
from labo_fairseq.measures import calibration, significance, temperature
from labo_fairseq.measures import classification as measures
from labo_fairseq.measures.temperature import HIGHEST, LOWEST, search
from labo_fairseq.records import predictions

ALL_RIGHT, NO_HELP, ALIKE = "every prediction is right", "tell nothing about the targets", "equally well"


def parabola(best):
    return lambda factors: [(math.log(x) - math.log(best)) ** 2 for x in factors]


@pytest.mark.parametrize("module", [temperature, calibration, significance, measures, calibrators])
def test_the_examples_in_the_documentation_run(module):
    failed, tried = doctest.testmod(module, extraglobs={"np": np, "math": math, "torch": torch})
    assert tried > 0 and failed == 0


@pytest.mark.parametrize("best", [0.0012, 0.01, 0.0999, 0.1, 0.5, 1, 9.99, 10, 10.1, 42, 800])
def test_any_minimum_between_the_bounds_is_found(best):
    factor, problem = search(parabola(best))
    assert problem is None and factor == pytest.approx(best, rel=5e-4)


@pytest.mark.parametrize(
    "best, bound", [(1e-3, LOWEST), (1e-5, LOWEST), (1e-300, LOWEST), (1e3, HIGHEST), (1e7, HIGHEST)]
)
def test_a_minimum_at_a_bound_or_beyond_is_said(best, bound):
    factor, problem = search(parabola(best))
    assert factor == bound
    assert problem.startswith(
        f"the fit improves {'down' if bound == LOWEST else 'up'} to T = {bound:g}, where the search"
    )


def test_a_flat_objective_has_no_best_temperature():
    assert search(lambda factors: [3.0] * len(factors)) == (1.0, temperature._NO_BEST["flat"])


def test_the_wide_search_costs_nothing_where_the_minimum_is_near_one():
    """Thirteen points as before, and five further grids of seven."""
    asked = []
    search(lambda factors: asked.extend(factors) or parabola(1.3)(factors))
    assert max(asked) <= 10.001 and min(asked) >= 0.0999


GROUPS = type_groups(torch.tensor([0, 0, 0, 0, *([5] * 8), *([5000] * 8)]), 2, torch.arange(20))


def drawn(count, scale):
    """Tokens whose targets are drawn from softmax(z), with scale·z as the model's logits; ten a sentence."""
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(count, 20, generator=generator)
    return tokens_of(scale * z, torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1))


def tokens_of(logits, target):
    place = torch.arange(len(target))
    member = Projection(logits.numpy().astype(np.float32), torch.eye(logits.size(1)), None)
    return Tokens(target, place % 10, torch.full_like(place, 8), place // 10, [member])


def right(scale=1.0, count=400):
    """Tokens whose target is always the most probable type."""
    z = torch.from_numpy(drawn(count, scale).members[0].hidden)
    return tokens_of(z, z.argmax(1))


def wrong(count=400):
    """Tokens whose target is always the least probable type."""
    z = torch.from_numpy(drawn(count, 1.0).members[0].hidden)
    return tokens_of(z, z.argmin(1))


def equal_logits(count=400):
    return drawn(count, 0.0)


@pytest.mark.parametrize("scale", [0.02, 0.1, 30.0, 300.0])
def test_temperatures_far_from_one_are_found_on_tokens(scale):
    found, problem = fit_and_check("temperature", drawn(40_000, scale), GROUPS)
    assert problem is None and found.temperature == pytest.approx(scale, rel=0.02)


@pytest.mark.parametrize("kind", ["temperature", "grouped", "adaptive"])
@pytest.mark.parametrize(
    "tokens, bound, problem", [(right, LOWEST, ALL_RIGHT), (wrong, HIGHEST, NO_HELP), (equal_logits, 1.0, ALIKE)]
)
def test_tokens_without_a_best_temperature_are_said_for_every_calibrator(kind, tokens, bound, problem):
    found, said = fit_and_check(kind, tokens(), GROUPS)
    assert problem in said
    if kind == "temperature":
        assert found.temperature == bound


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_how_sure_the_right_predictions_are_makes_no_difference(scale):
    assert fit("temperature", right(scale), GROUPS).temperature == LOWEST


def test_ece_that_ends_at_a_bound_is_said():
    """All right: the ECE is 1 − mean confidence, which falls as T falls, to 0 exactly where rounding ends."""
    found, said = fit_and_check("temperature", right(1.0), GROUPS, "ece")
    assert said is not None or found.temperature < 0.01


def image_predictions(kind, count=60, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 5)).astype(np.float32)
    labels = {"right": logits.argmax(1), "wrong": logits.argmin(1), "equal": rng.integers(0, 5, count)}[kind]
    if kind == "equal":
        logits[:] = 0
    return predictions.Predictions(logits, labels, tuple("abcde"), "valid", "data", "0")


@pytest.mark.parametrize("kind, problem", [("right", ALL_RIGHT), ("wrong", NO_HELP), ("equal", ALIKE)])
def test_images_without_a_best_temperature_are_said(kind, problem, tmp_path, capsys):
    """On stderr, as a note of the table, and as a field of the JSON."""
    for seed, subset in enumerate(("valid", "test")):
        predictions.write(image_predictions(kind, seed=seed), tmp_path / f"checkpoint_best.{subset}.npz")
    arguments = ["classify-report", "--system", f"a={tmp_path / 'checkpoint_best.pt'}", "--no-page"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "warning: " in err and problem in err and problem in out
    assert main([*arguments, "--json"]) == 0
    (seed,) = json.loads(capsys.readouterr().out)["systems"]["a"]
    assert problem in seed["temperature_problem"]


@pytest.mark.parametrize("scale", [0.03, 25.0])
def test_images_far_from_one(scale):
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(20_000, 5))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (p.cumsum(1) < rng.random((len(p), 1))).sum(1).clip(max=4)
    found = predictions.Predictions((scale * logits).astype(np.float32), labels, tuple("abcde"), "valid", "d", "0")
    factor, problem = classification.fit_temperature(found)
    assert problem is None and factor == pytest.approx(scale, rel=0.03)
