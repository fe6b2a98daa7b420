"""sacreBLEU's private calls: what they look like, and that they give what its public ones give."""

import ast
import inspect
import logging
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from sacrebleu import significance
from sacrebleu.metrics import BLEU, CHRF, TER, lib_ter
from sacrebleu.metrics.base import Metric

from labo_fairseq.measures import sacre

PACKAGE = Path(__file__).parents[2] / "labo_fairseq"
REFERENCES = [
    ["The cat sat on the mat today.", "It rained all day long here.", "A dog runs over the green meadow."],
    ["A cat was sitting on the mat.", "It was raining the whole day here.", "The dog runs across a meadow."],
]
SYSTEMS = [
    ["The cat is on the mat today.", "It rained the whole day here.", "A dog runs over a meadow."],
    ["A cat sat on a mat.", "The rain fell all day.", "The dog is running over the green meadow."],
    ["on the mat sat the cat today.", "day long it rained.", "dog runs."],
]

PARAMETERS = {
    Metric._extract_corpus_statistics: ["self", "hypotheses", "references"],
    Metric._compute_score_from_stats: ["self", "stats"],
    Metric._preprocess_segment: ["self", "sent"],
    significance._compute_p_value: ["stats", "real_difference"],
    significance.estimate_ci: ["scores"],
    lib_ter._shift: ["words_h", "words_r", "cached_ed", "checked_candidates"],
    lib_ter._flip_trace: ["trace"],
    lib_ter.BeamEditDistance.__init__: ["self", "words_ref"],
    lib_ter.BeamEditDistance.__call__: ["self", "words_hyp"],
}  # fmt: skip


@pytest.mark.parametrize("function", PARAMETERS, ids=lambda function: function.__qualname__)
def test_parameters_are_those_that_the_adapter_passes(function):
    assert list(inspect.signature(function).parameters) == PARAMETERS[function]


METRICS = {
    "bleu": lambda references: BLEU(references=references),
    "chrf": lambda references: CHRF(references=references),
    "chrf++": lambda references: CHRF(word_order=2, references=references),
    "ter": lambda references: TER(references=references),
}


@pytest.mark.parametrize("references", [REFERENCES[:1], REFERENCES], ids=["one", "two"])
@pytest.mark.parametrize("name", METRICS)
def test_statistics_give_the_public_scores(name, references):
    metric = sacre.SentenceStatistics(METRICS[name](references))
    for system in SYSTEMS:
        public = METRICS[name](None)
        assert metric.value(metric.count(system).sum(axis=0)) == pytest.approx(
            public.corpus_score(system, references).score
        )
    assert metric.signature == str(public.get_signature())


@pytest.mark.parametrize("selected", [1, 4, 1 << 21])
@pytest.mark.parametrize("test", ["bs", "ar"])
@pytest.mark.parametrize("name", METRICS)
def test_p_values_are_those_of_the_public_test(monkeypatch, name, test, selected):
    monkeypatch.setattr(sacre, "_SELECTED", selected)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    named = [(str(i), system) for i, system in enumerate(SYSTEMS)]
    _, table = significance.PairedTest(named, {"m": METRICS[name](REFERENCES)}, None, test, 50)()
    (results,) = (column for heading, column in table.items() if heading != "System")
    metric = sacre.SentenceStatistics(METRICS[name](REFERENCES))
    counts = [metric.count(system) for system in SYSTEMS]
    assert sacre.paired_p_values(metric, counts, test, 50, 7) == [result.p_value for result in results[1:]]
    if test == "bs":
        scores = sacre.bootstrap_scores(metric, counts[1], 50, 7)
        assert sacre.mean_and_half_width(scores) == (results[1].mean, results[1].ci)


def test_edits_are_those_of_the_public_score():
    """Edits of TER: shifts, and what is not a match. Here nothing is shifted, or one phrase is."""
    for hypothesis, reference, shifts in [("a b c d", "a x c", 0), ("c d a b", "a b c d", 1), ("a", "a b c", 0)]:
        distance = sacre.EditDistance(reference.split())
        words = distance.shifted(hypothesis.split())
        edits = sum(operation != " " for operation in distance.operations(words)) + shifts
        score = TER().corpus_score([hypothesis], [[reference]]).score
        assert 100 * edits / len(reference.split()) == pytest.approx(score)
    assert sacre.EditDistance(["a", "b", "c"]).operations(["a", "x"]).count("d") == 1  # one word is missing


def test_words_are_those_of_the_tokenizer():
    assert sacre.SentenceStatistics(BLEU(lowercase=True)).words("The end, really.") == [
        "the",
        "end",
        ",",
        "really",
        ".",
    ]


def test_the_seed_is_the_only_one_that_counts_and_the_environment_stays(monkeypatch):
    import os

    monkeypatch.setenv("SACREBLEU_SEED", "99")
    metric = sacre.SentenceStatistics(BLEU(references=REFERENCES))
    counts = metric.count(SYSTEMS[0])
    first, again, other = (sacre.bootstrap_scores(metric, counts, 20, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert os.environ["SACREBLEU_SEED"] == "99"


def test_no_other_file_touches_what_is_private_in_sacrebleu():
    """Private names of sacreBLEU in any other file: an attribute or a string with one of these names."""
    private = {"_extract_corpus_statistics", "_compute_score_from_stats", "_preprocess_segment", "_ref_cache"}
    private |= {
        "_cache_references",
        "_aggregate_and_compute",
        "_bootstrap_resample",
        "_compute_p_value",
        "_shift",
        "_flip_trace",
        "lib_ter",
    }
    for path in PACKAGE.rglob("*.py"):
        if path.name == "sacre.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & private
        found |= {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        } & private
        assert not found, path


def test_the_installed_version_is_in_the_bounds_of_pyproject():
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"sacrebleu>=2.4,<2.7"' in text
    assert (2, 4) <= tuple(map(int, sacrebleu.__version__.split(".")[:2])) < (2, 7)


def test_its_messages_of_each_score_are_not_shown_where_fairseq_shows_info(caplog):
    """fairseq's commands call logging.basicConfig(level=INFO)."""
    with caplog.at_level(logging.INFO):
        logging.getLogger("sacrebleu").info("Computing BLEU for one of hundreds")
        logging.getLogger("sacrebleu").warning("something to know")
    assert "hundreds" not in caplog.text and "something to know" in caplog.text
