"""Fitting on synthetic tokens whose calibration is known: the features are the logits, projected by the identity."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labo_fairseq.calibration.fit import fit
from labo_fairseq.calibration.groups import type_groups
from labo_fairseq.calibration.procedure import Fitting, _warnings
from labo_fairseq.errors import UserError
from labo_fairseq.fairseq_models import tokens as collect
from labo_fairseq.fairseq_models.tokens import Projection, Tokens
from labo_fairseq.functional.calibrators import Grouped, Temperature
from labo_fairseq.measures.calibration import bin_sums, ece

EOS, V = 2, 20


def sampled_tokens(count, distort, seed=0, spread=2.0):
    """Tokens whose targets are drawn from softmax(z), with distort(z) as the model's logits; ten a sentence."""
    generator = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(count, V, generator=generator)
    target = torch.multinomial(z.softmax(1), 1, generator=generator).squeeze(1)
    place = torch.arange(count)
    return tokens_of(distort(z), target, place % 10, place // 10)


def tokens_of(logits, target, position=None, sentence=None):
    zeros = torch.zeros_like(target)
    member = Projection(logits.numpy().astype(np.float32), torch.eye(logits.size(1)), None)
    position, sentence = (zeros if x is None else x for x in (position, sentence))
    return Tokens(target, position, zeros + 8, sentence, [member])


@pytest.fixture(scope="module")
def groups():
    counts = torch.tensor([0, 0, 0, 0, *([5] * 8), *([5000] * 8)])
    return type_groups(counts, EOS, torch.arange(V))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("objective, tolerance", [("nll", 0.01), ("ece", 0.05)])
def test_a_known_temperature_is_found(temperature, objective, tolerance, groups):
    """To 1 % by nll; the lowest ECE of a finite sample lies less exactly there."""
    tokens = sampled_tokens(40_000, lambda z: temperature * z)
    found = fit("temperature", tokens, groups, objective).temperature
    assert found == pytest.approx(temperature, rel=tolerance)


def test_the_scalar_is_the_minimum_to_a_thousandth(groups):
    """Bisection of the exact derivative of the nll in 1/T, which is E_p[z] − z_k, in float64."""
    tokens = sampled_tokens(2000, lambda z: 1.5 * z)
    z = torch.from_numpy(tokens.members[0].hidden).double()
    z_k = z.gather(1, tokens.target.unsqueeze(1)).squeeze(1)
    low, high = 0.1, 10.0
    for _ in range(60):
        beta = (low + high) / 2
        slope = float((((beta * z).softmax(1) * z).sum(1) - z_k).mean())
        low, high = (low, beta) if slope > 0 else (beta, high)
    assert fit("temperature", tokens, groups).temperature == pytest.approx(1 / low, rel=1e-3)


def test_temperatures_of_groups_and_the_bias_of_eos_are_found(groups):
    """The distortion is the inverse of the calibrator's own equation, so that it can be undone exactly."""
    true = Grouped(torch.tensor([1.5, 0.8, 1.2]), groups.of_type, EOS, 0.7)

    def distort(z):
        z = z.clone()
        z[:, EOS] -= true.eos_bias
        shifted = z - z.max(1, keepdim=True).values
        return shifted * true.temperatures[groups.of_type]

    generator = torch.Generator().manual_seed(1)
    # the row's maximum must stay where it is for the inverse to be exact: one dominant frequent type per row
    z = torch.randn(60_000, V, generator=generator)
    rows = torch.arange(len(z))
    z[rows, torch.randint(12, V, (len(z),), generator=generator)] += 4
    model = distort(z)
    kept = model.argmax(1) >= 12
    z, model = z[kept], model[kept]
    log_p = true.log_probs(model)
    target = torch.multinomial(log_p.exp(), 1, generator=generator).squeeze(1)
    found = fit("grouped", tokens_of(model, target), groups)
    assert found.temperatures.tolist()[:2] == pytest.approx(true.temperatures.tolist()[:2], rel=0.05)
    assert found.eos_bias == pytest.approx(0.7, abs=0.15)


def test_a_group_is_pulled_towards_the_scalar_where_data_are_few(groups):
    few = sampled_tokens(300, lambda z: 2 * z)
    scalar = fit("temperature", few, groups).temperature
    temperatures = fit("grouped", few, groups).temperatures
    assert (temperatures / scalar).log().abs().max() < 0.5


@pytest.mark.parametrize("kind", ["grouped", "adaptive"])
def test_more_parameters_fit_at_least_as_well(kind, groups):
    """On the tokens that they are fitted to; the adaptive one also finds a T that grows with the position."""
    tokens = sampled_tokens(4000, lambda z: z * torch.linspace(0.5, 2, 10)[torch.arange(len(z)) % 10].unsqueeze(1))
    scalar, better = (tokens.statistics([[fit(k, tokens, groups)]])[0] for k in ("temperature", kind))
    assert better.nll.mean() <= scalar.nll.mean() + 1e-5
    if kind == "adaptive":
        assert better.nll.mean() < scalar.nll.mean() - 0.02


def test_the_ece_objective_ends_at_a_lower_ece(groups):
    tokens = sampled_tokens(4000, lambda z: z.sign() * z.abs() ** 1.5)
    by = {}
    for objective in ("nll", "ece"):
        (found,) = tokens.statistics([[fit("adaptive", tokens, groups, objective)]])
        by[objective] = float(ece(bin_sums(found.confidence, found.correct)))
    assert by["ece"] <= by["nll"]


def test_cross_fitting_never_measures_a_sentence_under_its_own_fit(groups):
    """One half of the sentences is distorted by 2, the other by 1/2: each gets the other's T, the wrong one."""
    tokens = sampled_tokens(8000, lambda z: z)
    fitting = Fitting("temperature", "nll", groups, seed=1)
    first, second = fitting._halves(tokens)
    assert sorted(torch.cat([first, second]).tolist()) == list(range(8000))
    assert not set(tokens.sentence[first].tolist()) & set(tokens.sentence[second].tolist())
    tokens.members[0].hidden[first.numpy()] *= 2
    tokens.members[0].hidden[second.numpy()] /= 2
    found = fitting.cross_fitted(tokens)
    assert found["after"].nll.mean() > found["before"].nll.mean() + 0.1
    (warning,) = _warnings(found)
    assert "the held-out nll is" in warning
    exact = tokens.statistics([[Temperature(0.5)]], first)[0].nll.mean()
    assert float(found["after"].nll[first].mean()) == pytest.approx(float(exact), rel=0.01)


def test_an_ensemble_is_measured_as_the_average_of_probabilities(groups):
    """log of the mean of the members' calibrated probabilities, and each member by itself."""
    one, other = sampled_tokens(300, lambda z: z, seed=1), sampled_tokens(300, lambda z: 2 * z, seed=1)
    both = Tokens(*(getattr(one, x) for x in ("target", "position", "source_length", "sentence")), [])
    both.members.extend([*one.members, *other.members])
    pair = [Temperature(1.0), Temperature(2.0)]
    (found,) = both.statistics([pair])
    logits = [torch.from_numpy(member.hidden) for member in both.members]
    mean = (logits[0].softmax(1) + (logits[1] / 2).softmax(1)) / 2
    torch.testing.assert_close(found.nll, -mean.gather(1, both.target.unsqueeze(1)).squeeze(1).log())
    cross = Fitting("temperature", "nll", groups, 1).cross_fitted(both)
    assert sorted(cross) == sorted(
        f"{who}{when}" for who in ("", "member 1 ", "member 2 ") for when in ("before", "after")
    )
    torch.testing.assert_close(cross["member 2 before"].nll, other.statistics([[Temperature()]])[0].nll)


def test_chunks_change_nothing(monkeypatch, groups):
    tokens = sampled_tokens(500, lambda z: 2 * z)
    whole = tokens.statistics([[Temperature(1.5)]])[0], fit("grouped", tokens, groups)
    monkeypatch.setattr(collect, "_CHUNK", {"cpu": 7 * V})
    parts = tokens.statistics([[Temperature(1.5)]])[0], fit("grouped", tokens, groups)
    torch.testing.assert_close(tuple(whole[0]), tuple(parts[0]))
    torch.testing.assert_close(whole[1].temperatures, parts[1].temperatures, atol=1e-3, rtol=1e-3)


def test_targets_that_are_ruled_out_name_their_sentences():
    logits = torch.zeros(3, V)
    logits[1, 5] = -math.inf
    member = Projection(np.eye(3, dtype=np.float32), torch.zeros(V, 3), None)
    bias = torch.zeros(V)
    bias[5] = -math.inf
    broken = Tokens(*(torch.tensor(x) for x in ([4, 5, 4], [0, 0, 0], [3, 3, 3], [7, 8, 9])), [member])
    broken.members[0] = Projection(member.hidden, member.weight, bias)
    with pytest.raises(UserError, match="sentences 8: a target whose log-probability is not finite"):
        broken.statistics([[Temperature()]])


def test_nan_features_name_their_sentences():
    class Model:
        def forward(self, features_only, **_):
            hidden = torch.zeros(3, 2, 4)
            hidden[1, 0, 2] = math.nan
            hidden[2, 1, 0] = math.inf
            return (hidden, None)

        __call__ = forward

    kept = torch.tensor([[True, True], [True, False], [True, True]])
    sample = {"net_input": {}, "id": torch.tensor([11, 4, 30])}
    with pytest.raises(UserError, match=r"sentences 4, 30: the model's features, and so its logits, are NaN"):
        collect._features(Model(), sample, kept)


def test_a_broken_projection_is_refused():
    projection = torch.nn.Linear(4, 5)
    projection.weight.data[1, 1] = math.nan
    model = SimpleNamespace(decoder=SimpleNamespace(output_projection=projection))
    with pytest.raises(UserError, match="the output projection"):
        collect._member(model, None)


def test_groups_partition_the_types_by_their_counts():
    counts = torch.tensor([0, 9, 3, 10, 99, 100, 1000, 5])
    groups = type_groups(counts, EOS, torch.arange(8))
    assert groups.names == ["count 0-9", "count 10-99", "count 100-999", "count 1000 or more", "eos"]
    assert groups.of_type.tolist() == [0, 0, 4, 1, 1, 2, 3, 0]


def test_default_groups_without_data_are_joined_and_chosen_ones_refused():
    counts = torch.tensor([0, 9, 3, 10, 99, 100, 1000, 5])
    target = torch.tensor([1, 2, 4, 6])  # no type of count 100-999
    groups = type_groups(counts, EOS, target)
    tokens = torch.bincount(groups.of_type[target], minlength=len(groups.names))
    assert bool((tokens > 0).all()) and len(groups.names) == 4
    with pytest.raises(UserError, match="--frequency-bounds: no token of the set has a type with count 100-999"):
        type_groups(counts, EOS, target, [10, 100, 1000])
    alone = type_groups(counts, EOS, torch.tensor([2, 2]))
    assert alone.names == ["count 0 or more", "eos"]
