"""Fitting a calibrator to the tokens of one checkpoint.

The scalar temperature is searched on a grid that is refined around its best point. The other calibrators start from
it: LBFGS minimizes the negative log-likelihood, with a penalty that pulls each parameter towards the scalar and fades
as the data grow. With the objective "ece" the shape is fitted so too, and one common factor of all temperatures is then
searched on the same grid for the lowest ECE, which has no gradient to follow.
"""

import math
from typing import Any

import torch

from ..fairseq_models.tokens import Tokens
from ..functional.calibration import objective_sums
from ..functional.calibrators import Adaptive, Grouped, Temperature
from ..measures.calibration import ece
from ..measures.temperature import search

# standard deviations of the normal priors around the scalar calibrator
_PRIOR_LOG_TEMPERATURE, _PRIOR_WEIGHT = 0.5, 1.0


def fit(kind: str, tokens: Tokens, groups: Any, objective: str = "nll", index: torch.Tensor | None = None) -> Any:
    """A calibrator, fitted to tokens (a `Tokens` of one member, or the part of it that `index` names).

    kind: "temperature", "grouped" or "adaptive"
    groups: TypeGroups of the dictionary
    objective: "nll" or "ece"
    """
    return fit_and_check(kind, tokens, groups, objective, index)[0]


def fit_and_check(
    kind: str, tokens: Tokens, groups: Any, objective: str = "nll", index: torch.Tensor | None = None
) -> tuple[Any, str | None]:
    """(calibrator, why no scalar temperature is the best one, or None); arguments as of `fit`."""
    scalar, problem = _search(tokens, index, Temperature, objective if kind == "temperature" else "nll")
    if kind == "temperature":
        return scalar, problem
    start, spread, build = (_grouped if kind == "grouped" else _adaptive)(math.log(scalar.temperature), groups)
    parameters = _minimize(tokens, index, start, spread, build)
    if objective == "nll":
        return build(parameters), problem
    # the parameters that a common factor of all temperatures moves
    moved = torch.ones_like(parameters)
    moved[1 if kind == "adaptive" else -1 :] = 0
    calibrator, second = _search(tokens, index, lambda factor: build(parameters + math.log(factor) * moved), objective)
    return calibrator, problem or second


def _search(tokens, index, build, objective):
    """(build(factor) with the factor that minimizes the objective, problem); see measures.temperature.search."""
    factor, problem = search(lambda factors: _values(tokens, index, [build(x) for x in factors], objective))
    return build(factor), problem


def _values(tokens, index, candidates, objective):
    """The objective under each candidate, in one pass."""
    sums = [None] * len(candidates)
    for rows, target, position, source_length in tokens.chunks(index):
        logits = tokens.members[0].logits(rows.numpy())
        for i, candidate in enumerate(candidates):
            part = objective_sums(candidate.log_probs(logits, position, source_length), target, objective)
            sums[i] = part if sums[i] is None else sums[i] + part
    return [float(total if objective == "nll" else ece(total.cpu())) for total in sums]


def _grouped(log_temperature, groups):
    """Log temperatures of the groups, then the bias of EOS."""
    count = len(groups.names)
    start = torch.tensor([log_temperature] * count + [0.0], dtype=torch.float64)
    spread = torch.tensor([_PRIOR_LOG_TEMPERATURE] * count + [_PRIOR_WEIGHT], dtype=torch.float64)

    def build(parameters):
        return Grouped(parameters[:-1].exp().float(), groups.of_type, groups.eos, _bias(parameters))

    return start, spread, build


def _adaptive(log_temperature, groups):
    """Weights of the features, the constant one first, then the bias of EOS."""
    start = torch.zeros(len(Adaptive.FEATURES) + 1, dtype=torch.float64)
    start[0] = log_temperature

    def build(parameters):
        return Adaptive(parameters[:-1].float(), groups.eos, _bias(parameters))

    return start, torch.full_like(start, _PRIOR_WEIGHT), build


def _bias(parameters):
    return parameters[-1] if parameters.requires_grad else float(parameters[-1])


def _minimize(tokens, index, start, spread, build):
    """Parameters with the lowest mean nll plus penalty, (P,) float64."""
    device = tokens.members[0].weight.device
    parameters = start.clone().requires_grad_()
    count = len(tokens) if index is None else len(index)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=40, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        total = ((parameters - start) / spread).square().sum() / 2 / count
        total.backward()
        for rows, target, position, source_length in tokens.chunks(index):
            logits = tokens.members[0].logits(rows.numpy())
            log_probs = build(parameters).to(device).log_probs(logits, position, source_length)
            part = -log_probs.gather(1, target.unsqueeze(1)).sum() / count
            part.backward()
            total = total + part.detach().cpu()
        return total.detach()

    optimizer.step(closure)
    return parameters.detach()
