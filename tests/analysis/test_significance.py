import json
import math
import os
import random

import numpy as np
import pytest
from _analysis import sacrebleu, write

from labo_fairseq.analysis import bleu
from labo_fairseq.measures import significance

RNG = random.Random(3)
WORDS = "a dog runs over the green meadow and two cats sleep near an old tree".split()
REFERENCES = [" ".join(RNG.choices(WORDS, k=RNG.randint(5, 12))) for _ in range(80)]


def noisy(share):
    return [" ".join(RNG.choice(WORDS) if RNG.random() < share else w for w in line.split()) for line in REFERENCES]


BASELINE, BETTER = noisy(0.4), noisy(0.25)


def paired(name="bleu", systems=(BASELINE, BETTER), **options):
    metric = bleu.Metric(name, REFERENCES)
    return significance.paired(metric, [metric.count(lines) for lines in systems], **options)


@pytest.fixture
def files(tmp_path):
    """Arguments of the sacrebleu command: the reference and both systems."""
    named = {"ref": REFERENCES, "base": BASELINE, "better": BETTER}
    reference, *systems = [write(tmp_path / name, "\n".join(lines) + "\n") for name, lines in named.items()]
    return [reference, "-i", *systems]


@pytest.mark.parametrize(("name", "metric"), [("bleu", "bleu"), ("chrf2", "chrf"), ("ter", "ter")])
def test_bootstrap_is_that_of_the_sacrebleu_command(files, name, metric):
    # text, because the command's JSON fails on the numbers of chrF and TER
    output = sacrebleu(*files, "-m", metric, "--paired-bs", "--paired-bs-n", 200, "-f", "text", "-w", 4)
    base, better = paired(name, samples=200)
    for found in (base, better):
        assert f"({found.mean:.4f} ± {found.interval:.4f})" in output
    assert f"(p = {better.p_bootstrap:.4f})" in output
    assert base.p_bootstrap is base.difference is base.difference_interval is None


@pytest.mark.parametrize(("name", "metric"), [("bleu", "bleu"), ("chrf2", "chrf"), ("ter", "ter")])
def test_randomization_is_that_of_the_sacrebleu_command(files, name, metric):
    output = sacrebleu(*files, "-m", metric, "--paired-ar", "--paired-ar-n", 500, "-f", "json", "-w", 9)
    (base, _), (better, p_value) = [
        (value["score"], value["p_value"])
        for row in json.loads(output)
        for key, value in row.items()
        if key != "system"
    ]
    found = paired(name, tests=("ar",), trials=500)
    assert found[1].p_randomization == pytest.approx(p_value, abs=1e-9)
    assert found[1].difference == pytest.approx(better - base, abs=1e-7)
    assert found[0].interval is found[1].p_bootstrap is None


def test_interval_of_the_difference_is_of_the_same_samples():
    """Literally: draw sentences, score both systems on them, sort the differences, cut 2.5% at each end."""
    samples, rng = 200, np.random.default_rng(12345)
    chosen = rng.choice(len(REFERENCES), size=(samples, len(REFERENCES)), replace=True)
    differences = []
    for ids in chosen:
        references = [REFERENCES[i] for i in ids]
        scores = [bleu.corpus_bleu([lines[i] for i in ids], references).value for lines in (BETTER, BASELINE)]
        differences.append(scores[0] - scores[1])
    differences.sort()
    half_width = (differences[samples - samples // 40 - 1] - differences[samples // 40]) / 2
    assert paired(samples=samples)[1].difference_interval == pytest.approx(half_width, abs=1e-4)


def test_a_system_against_itself():
    same = paired(systems=(BASELINE, BASELINE), tests=("bs", "ar"), samples=100, trials=100)[1]
    assert same.difference == same.difference_interval == 0
    assert same.p_bootstrap == same.p_randomization == 1


# reference, and pairs of systems with different text and equal scores
EQUAL_SCORES = {
    "too short for 4-grams": (["xx yy zz", "aa bb cc"], ["xx yy", "aa bb cc"], ["xx yy zz", "aa cc"], "bleu"),
    "the same mistake in another sentence": (
        ["a b c d e f", "g h i j k l"], ["a b c d e f", "g h i j k x"], ["a b c d e x", "g h i j k l"], "bleu",
    ),
    "another wrong word": (["one two", "six ten"], ["one twx", "six ten"], ["one txo", "six ten"], "ter"),
    "other wrong words": (["a b c d e f"] * 4, ["a b c d e x"] * 4, ["a b c d e y"] * 4, "chrf2"),
    "nothing right": (["a b c d"] * 3, ["x x x x"] * 3, ["y y y y"] * 3, "bleu"),
    "the order of sentences": (["a b c d", "a b c d"], ["a b c d", "a b c x"], ["a b c x", "a b c d"], "tokenized"),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL_SCORES)
def test_a_difference_of_0_has_p_1(name):
    references, first, second, metric = EQUAL_SCORES[name]
    assert first != second
    metric = bleu.Metric(metric, references)
    counts = [metric.count(lines) for lines in (first, second, first)]
    _, other, same = significance.paired(metric, counts, ("bs", "ar"), samples=100, trials=100)
    for found in (other, same):
        assert found.difference == pytest.approx(0, abs=1e-9)
        assert found.p_bootstrap == found.p_randomization == 1


def test_systems_beside_an_equal_one_keep_their_p_values():
    """The p-values that sacreBLEU gives to each pair do not depend on which others are tested."""
    options = {"tests": ("bs", "ar"), "samples": 100, "trials": 100}
    alone = paired(systems=(BASELINE, BETTER), **options)[1]
    beside = paired(systems=(BASELINE, BASELINE, BETTER, BASELINE), **options)
    assert (beside[2].p_bootstrap, beside[2].p_randomization) == (alone.p_bootstrap, alone.p_randomization)
    assert [found.p_bootstrap for found in (beside[1], beside[3])] == [1, 1] and alone.p_bootstrap < 0.2


def test_splits_give_p_1_where_a_part_does_not_differ():
    from labo_fairseq.analysis.frequency import Split
    from labo_fairseq.analysis.splits import scores_by_split

    metric = bleu.Metric("bleu", REFERENCES)
    other = [*BASELINE[:40], *BETTER[40:]]
    counts = {"a": metric.count(BASELINE), "b": metric.count(other)}
    halves = [Split("equal", tuple(range(40)), 1, 1), Split("other", tuple(range(40, 80)), 1, 1)]
    settings = {"samples": 50, "trials": 50, "seed": 1}
    every, equal, different = scores_by_split(metric, counts, halves, ("bs", "ar"), settings)
    assert equal.tests[1].p_bootstrap == equal.tests[1].p_randomization == 1
    assert every.tests[1].p_randomization < 1 and different.tests[1].p_randomization < 1


@pytest.mark.parametrize(("only_first", "only_other"), [(0, 0), (1, 1), (7, 7), (500, 500)])
def test_classifiers_that_are_right_as_often_have_p_1(only_first, only_other):
    first = np.array([True] * only_first + [False] * only_other + [True, False])
    other = np.array([False] * only_first + [True] * only_other + [True, False])
    assert significance.mcnemar(first, other) == 1


@pytest.mark.parametrize("values", [[0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2, 0.3], [30.1, 30.3, 30.2]])
def test_seeds_with_equal_means_have_p_1(values):
    """Also where the means differ by the rounding of their sums."""
    found = significance.across_seeds([[sum(values) / len(values)] * 2, values])[1]
    assert found.p_welch == 1


def test_the_seed_decides_and_the_environment_stays(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    first, again, other = (paired(samples=50, seed=seed)[1] for seed in (1, 1, 2))
    assert first == again and first.interval != other.interval
    assert os.environ["SACREBLEU_SEED"] == "7"
    monkeypatch.delenv("SACREBLEU_SEED")
    paired(samples=50)
    assert "SACREBLEU_SEED" not in os.environ


def test_seeds_by_the_formulas_of_welch():
    stats = pytest.importorskip("scipy.stats", reason="needs scipy")
    base, system = [33.1, 33.5, 33.9], [34.0, 34.1, 34.6, 34.3]
    alone, seeds = significance.across_seeds([base, system])
    assert alone.mean == pytest.approx(33.5) and alone.std == pytest.approx(0.4) and alone.p_welch is None
    variances = [np.var(values, ddof=1) / len(values) for values in (base, system)]
    t = (np.mean(system) - np.mean(base)) / math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 3)
    assert seeds.difference == pytest.approx(0.75)
    assert seeds.p_welch == pytest.approx(2 * stats.t.sf(t, freedom))
    assert seeds.std == pytest.approx(np.std(system, ddof=1))


@pytest.mark.parametrize(("system", "p"), [([34.0], None), ([34.0, 34.0], None), ([33.0, 33.0], 1), ([32.0, 34.0], 1)])
def test_p_value_without_variance_or_without_a_difference(system, p):
    found = significance.across_seeds([[33.0, 33.0], system])[1]
    assert found.p_welch == p and found.difference == np.mean(system) - 33
