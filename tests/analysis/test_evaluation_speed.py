"""Seconds that the commands take on 7,000 sentences and three systems.

pytest -m slow -s tests/analysis/test_evaluation_speed.py
"""

import time

import pytest
from _analysis import finished_run, labo, prepared_corpus


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    path = tmp_path_factory.mktemp("speed")
    corpus = prepared_corpus(path / "data", number=7000)
    runs = [finished_run(path / name, corpus, errors / 10, errors) for errors, name in enumerate("abc", 1)]
    systems = [word for run in runs for word in ("--system", f"{run.name}={run}/generate-test.txt")]
    score = ["--reference", corpus / "raw/test.en", *systems]
    return score, [*score, "--dict", corpus / "bin/dict.de.txt", "--source", corpus / "bpe/test.de"]


@pytest.mark.slow
@pytest.mark.parametrize(("tests", "limit"), [("none", 10), ("bootstrap", 60)])
def test_score_and_splits_of_three_systems(arguments, tests, limit):
    seconds = []
    for name, words in zip(("score", "splits"), arguments, strict=True):
        start = time.perf_counter()
        result = labo(name, *words, "--significance", tests)
        seconds.append(time.perf_counter() - start)
        assert result.returncode == 0, result.stderr
        print(f"labo {name} --significance {tests}: {seconds[-1]:.1f} s")
    assert sum(seconds) < limit
