"""What `labo calibrate` does: collect the tokens, fit, fit on either half to measure on the other, put it together."""

import os
from dataclasses import dataclass

import torch

from ..criterions._prior import settings_of, target_counts
from ..errors import UserError
from ..files import sha256
from ..functional.calibration import TokenStatistics
from ..functional.calibrators import Temperature
from .collect import collect, is_of_images, load_models
from .file import Calibration, Member, classes_record, dictionary_record
from .fit import fit
from .groups import type_groups
from .measures import by_group, reliability, signature, subword_unit


@dataclass(frozen=True)
class Result:
    """A Calibration, and the rows of the reliability diagram {"before": …, "after": …} (measures.reliability)."""

    calibration: Calibration
    reliability: dict


def run(args, folder):
    """Result of fitting with the settings of `labo calibrate`; features of the tokens are kept in `folder`.

    args: data, path, subset, test_subset, source_lang, target_lang, calibrator, objective, frequency_bounds,
    prior_counts, max_tokens, seed, cpu, sweep
    """
    paths = args.path.split(os.pathsep)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    languages = {flag: getattr(args, flag) for flag in ("source_lang", "target_lang") if getattr(args, flag)}
    models, task = load_models(paths, args.data, device, languages)
    if is_of_images(task):
        _check_images(args)
    tokens = collect(models, task, args.subset, folder, args.max_tokens)
    groups, unit, record = _classes(task) if is_of_images(task) else _types(args, task, tokens)
    fitting = Fitting(args.calibrator, args.objective, groups, args.seed)

    found = fitting.cross_fitted(tokens)
    calibrators = [fitting.fit(tokens.only(i)) for i in range(len(paths))]
    if args.test_subset:
        test = collect(models, task, args.test_subset, folder, args.max_tokens)
        uncalibrated = [Temperature()] * len(paths)
        found["test before"], found["test after"] = test.statistics([uncalibrated, calibrators])
    measures = {}
    for when, statistics in found.items():
        temperature = _temperature(when, calibrators)
        measures[when] = by_group(
            statistics,
            test if when.startswith("test") else tokens,
            groups,
            lambda count, temperature=temperature: signature(temperature, unit, count),
        )
    measures["warnings"] = _warnings(found)
    calibration = Calibration(
        members=[
            Member(os.path.basename(path), sha256(path), calibrator)
            for path, calibrator in zip(paths, calibrators, strict=True)
        ],
        dictionary=record,
        corpus=_corpus(args, task, tokens),
        signature=signature(_temperature("after", calibrators), unit, len(tokens)),
        measures=measures,
    )
    return Result(
        calibration, {when: reliability(found[when].confidence, found[when].correct) for when in ("before", "after")}
    )


def _check_images(args):
    """Raise UserError for what only translation has."""
    if args.calibrator != "temperature":
        raise UserError(
            f"--calibrator {args.calibrator}: groups by training frequency and features of decoding steps are for "
            "translation: images need --calibrator temperature"
        )
    for flag in ("sweep", "frequency_bounds", "prior_counts", "source_lang", "target_lang"):
        if getattr(args, flag):
            raise UserError(f"--{flag.replace('_', '-')}: is for translation: leave it out for images")


def _classes(task):
    """(no groups, unit, record) of the classes of images."""
    return None, "image", classes_record(task.classes)


def _types(args, task, tokens):
    """(TypeGroups, unit, record) of the types of a dictionary."""
    dictionary = task.target_dictionary
    counts = target_counts(task, args.prior_counts)
    groups = type_groups(counts, dictionary.eos(), tokens.target, args.frequency_bounds)
    return groups, subword_unit(dictionary.symbols), dictionary_record(dictionary)


@dataclass(frozen=True)
class Fitting:
    """How to fit: the kind of calibrator and the objective (see fit.fit), the groups, the seed of the halves."""

    kind: str
    objective: str
    groups: object
    seed: int

    def fit(self, tokens, index=None):
        """The calibrator of a `Tokens` of one member."""
        return fit(self.kind, tokens, self.groups, self.objective, index)

    def cross_fitted(self, tokens):
        """{"before", "after": TokenStatistics}, for an ensemble those of the members "member 1 before", … too.

        After: each half of the sentences under calibrators that were fitted on the other half.
        """
        members = range(len(tokens.members))
        # the ensemble, then, where there are several, each member by itself
        views = [("", tokens, slice(None))]
        if len(members) > 1:
            views += [(f"member {i + 1} ", tokens.only(i), slice(i, i + 1)) for i in members]
        found = {}
        for name, part, _ in views:
            (found[name + "before"],) = part.statistics([[Temperature()] * len(part.members)])
        half = self._halves(tokens)
        opposite = [[self.fit(tokens.only(i), other) for i in members] for other in reversed(half)]
        for name, part, chosen in views:
            pieces = [part.statistics([c[chosen]], index)[0] for c, index in zip(opposite, half, strict=True)]
            found[name + "after"] = _in_order(pieces, half)
        return found

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


def _warnings(found):
    """Where calibration does not help on tokens that it was not fitted on."""
    warnings = []
    for before in [when for when in found if when.endswith("before")]:
        after = before.removesuffix("before") + "after"
        nll = [float(found[when].nll.double().mean()) for when in (before, after)]
        if nll[1] > nll[0]:
            warnings.append(
                f"{after}: the held-out nll is {nll[1]:.4f}, without calibration {nll[0]:.4f}: do not use this "
                "calibrator, or fit it on more data"
            )
    return warnings


def _corpus(args, task, tokens):
    settings = settings_of(task)
    return {
        "data": os.path.basename(os.path.normpath(args.data)),
        "split": args.subset,
        "source_lang": getattr(settings, "source_lang", None),
        "target_lang": getattr(settings, "target_lang", None),
        "sentences": len(tokens.sentence.unique()),
        "tokens": len(tokens),
    }
