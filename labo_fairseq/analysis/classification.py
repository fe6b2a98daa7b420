"""Tables and figures about image classifiers, from files of predictions; sections of the report."""

import statistics
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..measures import significance
from ..measures.classification import confusion, log_probabilities, measures, negative_log_likelihood
from ..measures.significance import mcnemar
from ..measures.temperature import search
from ..records import predictions
from ..records.tables import TextTable, shown

# heading: (key of measured(), factor, layout); the first ones with a test where there are several seeds
COLUMNS = {
    "accuracy": ("accuracy", 100, ".2f"),
    "top-5": ("top5", 100, ".2f"),
    "ECE": ("ece", 1, ".4f"),
    "ECE after": ("ece_after", 1, ".4f"),
    "NLL": ("nll", 1, ".4f"),
    "NLL after": ("nll_after", 1, ".4f"),
    "T": ("temperature", 1, ".3f"),
    "risk-coverage area": ("risk_coverage_area", 1, ".4f"),
}
TESTED = ("accuracy", "top-5", "ECE", "ECE after")


@dataclass(frozen=True)
class Seed:
    """One training: predictions to measure, the temperature that other images chose (None without such), notes.

    temperature_problem: why no temperature is the best one, or None
    """

    test: predictions.Predictions
    temperature: float | None
    warnings: tuple = ()
    temperature_problem: str | None = None

    def measured(self):
        """{name: value}: measures.classification.measures, and what follows from the temperature (None without T).

        ece_after, nll_after, signature_after, temperature, temperature_problem
        """
        before = measures(self.test.logits, self.test.labels)
        after = {} if self.temperature is None else measures(self.test.logits, self.test.labels, self.temperature)
        extra = {f"{name}_after": after.get(name) for name in ("ece", "nll", "signature")}
        own = {"temperature": self.temperature, "temperature_problem": self.temperature_problem}
        return {**before, **extra, **own}


def seed_of(checkpoint, subset, fit_subset, fit_share=1.0):
    """The Seed of the files beside a checkpoint. Raises UserError for a missing or damaged one.

    fit_share: share of the fit_subset's images, drawn at random, that the temperature is fitted to
    """
    test = predictions.read(predictions.path_beside(checkpoint, subset))
    path = predictions.path_beside(checkpoint, fit_subset)
    if not path.exists():
        return Seed(test, None, (f"{path}: not there: nothing to fit a temperature to",))
    fitted = predictions.read(path)
    same = np.array_equal(fitted.labels, test.labels) and np.array_equal(fitted.logits, test.logits)
    note = f"{test.data}: {fit_subset} and {subset} are the same images: the ECE after calibration is not held out"
    notes = [note] if same else []
    for name, images in ((subset, test), (fit_subset, fitted)):
        if images.clean_labels is not None:
            wrong = 100 * float((images.clean_labels != images.labels).mean())
            notes.append(f"{name}: {wrong:.1f} % of the labels are noise that the training run added: all is by them")
    temperature, problem = fit_temperature(predictions.share_of(fitted, fit_share))
    if problem is not None:
        notes.append(f"{checkpoint}: {problem}: the measures after calibration mean little")
    return Seed(test, temperature, tuple(dict.fromkeys(notes)), problem)


def check_same_images(systems):
    """Raise UserError where the systems were measured on different images or classes."""
    (first, one), *others = ((name, seed.test) for name, seeds in systems.items() for seed in seeds)
    for name, test in others:
        if test.classes != one.classes or not np.array_equal(test.labels, one.labels):
            raise UserError(f"{name}: was measured on other images or classes than {first}: report on them separately")


def table(systems):
    """TextTable of {name: [Seed, …]}, the first system being what the others are compared with.

    Several seeds: mean, sample standard deviation, difference and Welch's test. One: McNemar's exact test of accuracy.
    """
    measured = {name: [seed.measured() for seed in seeds] for name, seeds in systems.items()}
    several = max(map(len, systems.values())) > 1
    columns = [["system", *systems]]
    if several:
        columns.append(["seeds", *(str(len(seeds)) for seeds in systems.values())])
    for heading, (key, factor, layout) in COLUMNS.items():
        values = [[factor * m[key] for m in seeds if m[key] is not None] for seeds in measured.values()]
        columns.append([heading, *(shown(statistics.fmean(v) if v else None, layout) for v in values)])
        if several:
            columns += _over_seeds(heading, values, layout)
    if not several and len(systems) > 1:
        first, *others = (seeds[0].test for seeds in systems.values())
        columns.append(["accuracy p (McNemar)", "–", *(shown(_mcnemar(first, other), ".4f") for other in others)])
    notes = dict.fromkeys(note for seeds in systems.values() for seed in seeds for note in seed.warnings)
    signatures = [f"{name}: {seeds[0]['signature']}" for name, seeds in measured.items()]
    signatures += [
        f"{name} after: {s[0]['signature_after']}" for name, s in measured.items() if s[0]["signature_after"]
    ]
    return TextTable("accuracy (%), calibration, NLL (nats)", list(zip(*columns, strict=True)), [*signatures, *notes])


def _over_seeds(heading, values, layout):
    if not all(values):
        return []
    seeds = significance.across_seeds(values)
    columns = [[f"{heading} std", *(shown(s.std, layout) for s in seeds)]]
    if heading in TESTED and len(values) > 1:
        columns.append([f"{heading} difference", *(shown(s.difference, "+" + layout) for s in seeds)])
        columns.append([f"{heading} p (Welch)", *(shown(s.p_welch, ".4f") for s in seeds)])
    return columns


def as_json(systems):
    """Everything that `table` shows, unrounded: {"systems": {name: [{…} of each seed]}}."""
    return {"systems": {name: [seed.measured() for seed in seeds] for name, seeds in systems.items()}}


# sections: each takes ({name: [Seed, …]}, folder of the figures and tables) and returns a Section


def per_class(systems):
    """TextTable: accuracy in percent of every class, the hardest of the first system first."""
    test = {name: seeds[0].test for name, seeds in systems.items()}
    rates, sizes = {}, None
    for name, one in test.items():
        counts = confusion(one.logits, one.labels)
        sizes = counts.sum(1) if sizes is None else sizes
        with np.errstate(invalid="ignore"):
            rates[name] = 100 * counts.diagonal() / counts.sum(1)
    first = next(iter(test.values()))
    order = np.argsort(next(iter(rates.values())), kind="stable")
    rows = [["class", "images", *rates]]
    for i in order:
        cells = (shown(None if np.isnan(r[i]) else r[i], ".2f") for r in rates.values())
        rows.append([first.classes[i], str(sizes[i]), *cells])
    return TextTable("accuracy of each class (%)", rows)


def most_frequent_mistakes(name, classes, counts, most=5):
    """TextTable of the pairs of classes that a confusion matrix, (K, K), exchanges most often."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows = [["true", "predicted", "images"]]
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            rows.append([classes[i], classes[j], str(wrong[i, j])])
    return TextTable(f"most frequent mistakes of {name}", rows)


def worst_mistakes(images, most=12):
    """[(index, true class, predicted class, its probability)] of some Predictions: the surest wrong ones, surest first.

    Classes are indices; probabilities are at T = 1.
    """
    probabilities = np.exp(log_probabilities(images.logits))
    predicted = probabilities.argmax(1)
    sure = np.where(predicted == images.labels, -1.0, probabilities.max(1))
    picked = [int(i) for i in np.argsort(-sure, kind="stable")[:most] if sure[i] >= 0]
    return [(i, int(images.labels[i]), int(predicted[i]), float(sure[i])) for i in picked]


def fit_temperature(images):
    """The Optimum in T of the negative log-likelihood (Guo et al. 2017) of some Predictions; see temperature.search."""
    return search(
        lambda factors: [negative_log_likelihood(images.logits, images.labels, t) for t in factors], precision=1e-5
    )


def _mcnemar(first, other):
    """p-value of two Predictions; None where they are of different images."""
    if not np.array_equal(first.labels, other.labels):
        return None
    return mcnemar(*(one.logits.argmax(1) == one.labels for one in (first, other)))
