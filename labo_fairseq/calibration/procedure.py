"""What `labo calibrate` does: collect the tokens, fit, fit on either half to measure on the other, put it together."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..fairseq_models.loading import chosen_device, is_of_images, load_models, settings_of
from ..fairseq_models.target_counts import target_counts
from ..fairseq_models.tokens import Tokens, collect
from ..files import sha256
from ..functional.calibration import TokenStatistics
from ..functional.calibrators import Temperature
from ..measures.calibration import bin_sums, reliability, signature, subword_unit
from .file import Calibration, Member, classes_record, dictionary_record
from .fit import fit, fit_and_check
from .groups import type_groups
from .token_measures import by_group


@dataclass(frozen=True)
class Result:
    """A Calibration, and the rows of the reliability diagram {"before": …, "after": …} (measures.reliability)."""

    calibration: Calibration
    reliability: dict


@dataclass(frozen=True)
class Settings:
    """What to fit to what: the flags of `labo calibrate`."""

    data: str  #: folder of fairseq's binaries, or of images
    paths: list  #: of checkpoints; several are an ensemble
    calibrator: str = "temperature"  #: or grouped, adaptive
    objective: str = "nll"  #: or ece
    subset: str = "valid"  #: to fit on
    test_subset: str | None = None  #: measure the saved calibrator on it too
    source_lang: str | None = None  #: both of a checkpoint that knows several directions
    target_lang: str | None = None
    frequency_bounds: list | None = None  #: training counts at which a group of types begins; None for groups.BOUNDS
    prior_counts: str | None = None  #: file of 'type count' lines, for data without the training set
    max_tokens: int = 4000  #: in a batch
    seed: int = 1  #: of the split into halves
    cpu: bool = False


def calibrate(settings: Settings, folder: str | Path) -> Result:
    """The Result of fitting; features of the tokens are kept in `folder`. Raises UserError on bad input."""
    paths = settings.paths
    languages = {flag: getattr(settings, flag) for flag in ("source_lang", "target_lang") if getattr(settings, flag)}
    models, task = load_models(paths, settings.data, chosen_device(settings.cpu), languages)
    if is_of_images(task):
        _check_images(settings)
    tokens = collect(models, task, settings.subset, folder, settings.max_tokens)
    groups, unit, record = _classes(task) if is_of_images(task) else _types(settings, task, tokens)
    fitting = Fitting(settings.calibrator, settings.objective, groups, settings.seed)

    statistics_of = fitting.cross_fitted(tokens)
    fits = [fitting.fit_and_check(tokens.only(i)) for i in range(len(paths))]
    calibrators, problems = [calibrator for calibrator, _ in fits], [problem for _, problem in fits]
    if settings.test_subset:
        test = collect(models, task, settings.test_subset, folder, settings.max_tokens)
        uncalibrated = [Temperature()] * len(paths)
        statistics_of["test before"], statistics_of["test after"] = test.statistics([uncalibrated, calibrators])
    measures = {}
    for when, statistics in statistics_of.items():
        temperature = _temperature(when, calibrators)
        measures[when] = by_group(
            statistics,
            test if when.startswith("test") else tokens,
            groups,
            functools.partial(signature, temperature, unit),
        )
    measures["warnings"] = [
        f"{os.path.basename(path)}: {problem}: do not use this calibrator, or fit it on other data"
        for path, problem in zip(paths, problems, strict=True)
        if problem is not None
    ] + _warnings(statistics_of)
    calibration = Calibration(
        members=[
            Member(os.path.basename(path), sha256(path), calibrator)
            for path, calibrator in zip(paths, calibrators, strict=True)
        ],
        dictionary=record,
        corpus=_corpus(settings, task, tokens),
        signature=signature(_temperature("after", calibrators), unit, len(tokens)),
        measures=measures,
    )
    return Result(calibration, {when: _reliability(statistics_of[when]) for when in ("before", "after")})


def _reliability(statistics):
    """Rows of a reliability diagram of TokenStatistics."""
    return reliability(bin_sums(statistics.confidence, statistics.correct))


def _check_images(settings):
    """Raise UserError for what only translation has."""
    if settings.calibrator != "temperature":
        raise UserError(
            f"--calibrator {settings.calibrator}: groups by training frequency and features of decoding steps are for "
            "translation: images need --calibrator temperature"
        )
    for flag in ("frequency_bounds", "prior_counts", "source_lang", "target_lang"):
        if getattr(settings, flag):
            raise UserError(f"--{flag.replace('_', '-')}: is for translation: leave it out for images")


def _classes(task):
    """(no groups, unit, record) of the classes of images."""
    return None, "image", classes_record(task.classes)


def _types(settings, task, tokens):
    """(TypeGroups, unit, record) of the types of a dictionary."""
    dictionary = task.target_dictionary
    counts = target_counts(task, settings.prior_counts)
    groups = type_groups(counts, dictionary.eos(), tokens.target, settings.frequency_bounds)
    return groups, subword_unit(dictionary.symbols), dictionary_record(dictionary)


@dataclass(frozen=True)
class Fitting:
    """How to fit: the kind of calibrator and the objective (see fit.fit), the groups, the seed of the halves."""

    kind: str
    objective: str
    groups: object
    seed: int

    def fit(self, tokens: Tokens, index: torch.Tensor | None = None) -> Any:
        """The calibrator of a `Tokens` of one member."""
        return fit(self.kind, tokens, self.groups, self.objective, index)

    def fit_and_check(self, tokens: Tokens) -> tuple[Any, str | None]:
        """(calibrator, problem) of a `Tokens` of one member; see fit.fit_and_check."""
        return fit_and_check(self.kind, tokens, self.groups, self.objective)

    def cross_fitted(self, tokens: Tokens) -> dict[str, TokenStatistics]:
        """{"before", "after": TokenStatistics}, for an ensemble those of the members "member 1 before", … too.

        After: each half of the sentences under calibrators that were fitted on the other half.
        """
        members = range(len(tokens.members))
        # the ensemble, then, where there are several, each member by itself
        views = [("", tokens, slice(None))]
        if len(members) > 1:
            views += [(f"member {i + 1} ", tokens.only(i), slice(i, i + 1)) for i in members]
        statistics = {}
        for name, part, _ in views:
            (statistics[name + "before"],) = part.statistics([[Temperature()] * len(part.members)])
        half = self._halves(tokens)
        opposite = [[self.fit(tokens.only(i), other) for i in members] for other in reversed(half)]
        for name, part, chosen in views:
            pieces = [part.statistics([c[chosen]], index)[0] for c, index in zip(opposite, half, strict=True)]
            statistics[name + "after"] = _in_order(pieces, half)
        return statistics

    def _halves(self, tokens):
        """Indices of the tokens of either half of the sentences."""
        sentences = tokens.sentence.unique()
        if len(sentences) < 2:
            raise UserError("one sentence alone: cross-fitting needs two, and a calibrator many")
        order = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(self.seed))
        first = torch.isin(tokens.sentence, sentences[order[: len(order) // 2]])
        return [first.nonzero().flatten(), (~first).nonzero().flatten()]


def _temperature(when, calibrators):
    """T of a signature: "1" before; after it "1.37" or the kind, of several members with commas between."""
    if when.endswith("before"):
        return "1"
    if when.startswith("member"):
        calibrators = [calibrators[int(when.split()[1]) - 1]]
    return ",".join(
        f"{calibrator.temperature:.4g}" if isinstance(calibrator, Temperature) else type(calibrator).__name__.lower()
        for calibrator in calibrators
    )


def _in_order(pieces, indices):
    order = torch.cat(indices).argsort()
    return TokenStatistics(*(x[order] for x in TokenStatistics.concatenate(pieces)))


def _warnings(statistics):
    """Where calibration does not help on tokens that it was not fitted on."""
    warnings = []
    for before in [when for when in statistics if when.endswith("before")]:
        after = before.removesuffix("before") + "after"
        nll = [float(statistics[when].nll.double().mean()) for when in (before, after)]
        if nll[1] > nll[0]:
            warnings.append(
                f"{after}: the held-out nll is {nll[1]:.4f}, without calibration {nll[0]:.4f}: do not use this "
                "calibrator, or fit it on more data"
            )
    return warnings


def _corpus(settings, task, tokens):
    own = settings_of(task)
    return {
        "data": os.path.basename(os.path.normpath(settings.data)),
        "split": settings.subset,
        "source_lang": getattr(own, "source_lang", None),
        "target_lang": getattr(own, "target_lang", None),
        "sentences": len(tokens.sentence.unique()),
        "tokens": len(tokens),
    }
