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
