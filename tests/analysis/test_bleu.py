import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from _analysis import sacrebleu, write
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.analysis import bleu
from labo_fairseq.errors import UserError

REFERENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "She doesn't sell sea shells, by the sea shore!",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "An empty room\u2028with one odd line separator",
]
HYPOTHESES = [
    "The quick brown fox jumped over a lazy dog.",
    "she does not sell sea shells, by the sea shore!  ",
    "Zwölf Boxkämpfer jagen quer über den großen Deich.",
    "",
]


def by_name(name):
    def score(hypotheses, references, lowercase):
        metric = bleu.Metric(name, references, lowercase)
        return metric.score(metric.count(hypotheses))

    return score


@pytest.fixture
def files(tmp_path):
    return (
        write(tmp_path / "ref.txt", "\n".join(REFERENCES) + "\n"),
        write(tmp_path / "hyp.txt", "\n".join(HYPOTHESES) + "\n"),
    )


@pytest.mark.parametrize(
    ("function", "options", "lowercase"),
    [
        (bleu.corpus_bleu, ["-m", "bleu"], False),
        (bleu.corpus_bleu, ["-m", "bleu", "-lc"], True),
        (bleu.chrf, ["-m", "chrf"], False),
        (bleu.chrf, ["-m", "chrf", "--chrf-lowercase"], True),
        (by_name("chrf++"), ["-m", "chrf", "--chrf-word-order", "2"], False),
        (by_name("ter"), ["-m", "ter"], False),
        (bleu.tokenized_bleu, ["-m", "bleu", "-tok", "none", "--smooth-method", "none", "--force"], False),
    ],
)
def test_scores_and_signatures_are_those_of_the_sacrebleu_command(files, function, options, lowercase):
    score = function(HYPOTHESES, REFERENCES, lowercase=lowercase)
    reference, system = files
    line = sacrebleu(reference, "-i", system, *options, "-w", 6, "-f", "text")
    signature, value = line.split("|", 1)[1].split(" = ", 1)
    assert score.signature == signature
    assert f"{score.value:.6f}" == value.split()[0]
    assert score.value > 10


def fairseq_bleu(hypotheses, references):
    """BLEU4 by fairseq's own compiled library, which works without importing fairseq."""
    package = Path(importlib.util.find_spec("fairseq").origin).parent
    library = ctypes.CDLL(str(next(package.glob("libbleu*.so"))))
    vocabulary = {}

    def encode(line):
        numbers = [vocabulary.setdefault(token, 10 + len(vocabulary)) for token in line.split()] + [2]
        return len(numbers), (ctypes.c_int * len(numbers))(*numbers)

    statistics = (ctypes.c_size_t * 10)()
    library.bleu_zero_init(statistics)
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        (reference_length, reference_data), (length, data) = encode(reference), encode(hypothesis)
        library.bleu_add(
            statistics,
            ctypes.c_size_t(reference_length),
            reference_data,
            ctypes.c_size_t(length),
            data,
            ctypes.c_int(1),
            ctypes.c_int(2),
        )
    reference_length, length, *counts = statistics
    product = 1.0
    for match, count in zip(counts[::2], counts[1::2], strict=True):
        product *= match / count
    return 100 * min(1, 2.718281828459045 ** (1 - reference_length / length)) * product**0.25


@pytest.mark.skipif(importlib.util.find_spec("fairseq") is None, reason="needs fairseq's libbleu")
@pytest.mark.parametrize("order", [slice(None), slice(0, 1), slice(3, 4)])
def test_tokenized_bleu_is_fairseqs_bleu4(order):
    hypotheses = [*HYPOTHESES[:3], "An empty chair"][order]  # the last has no matching 4-gram: 0 without smoothing
    references = REFERENCES[order]
    expected = fairseq_bleu(hypotheses, references) if order != slice(3, 4) else 0.0
    assert bleu.tokenized_bleu(hypotheses, references).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("function", [bleu.corpus_bleu, bleu.chrf, bleu.tokenized_bleu])
def test_different_counts_are_refused(function):
    with pytest.raises(UserError, match=r"2 sentences, but references has 4: .* id 2 \(line 3\)"):
        function(HYPOTHESES[:2], REFERENCES)
    with pytest.raises(UserError, match="4 sentences, but references has 1"):
        function(HYPOTHESES, REFERENCES[:1])
    with pytest.raises(UserError, match="no sentences"):
        function([], [])


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["ein@@ ig@@ e Wor@@ te", "ganz"], ["einige Worte", "ganz"]),
        (["am Ende ab@@"], ["am Ende ab"]),
        (["▁ein ig e ▁Wort e", "▁ganz", ""], ["einige Worte", "ganz", ""]),
        (["a ▁ b", "c  d", "e"], ["a ▁ b", "c  d", "e"]),
        (["user@@example mail @@ x "], ["user@@example mail @@ x "]),  # a mark ends a piece; these do not
        (["", "▁the ▁c at"], ["", "the cat"]),
        (["", "", "", "", "▁a ▁b"], ["", "", "", "", "a b"]),
        (["me@@ home", *["plain"] * 100], ["me@@ home", *["plain"] * 100]),  # too rare to be subwords
        (["me@@ home", *["plain"] * 99], ["mehome", *["plain"] * 99]),
        (["untouched  "], ["untouched  "]),
    ],
)
def test_subwords_are_joined(lines, joined):
    assert bleu.remove_subwords(lines) == joined


def test_tokenized_text_is_noticed():
    assert bleu.looks_tokenized(["a dog , a cat .", "two dogs ."])
    assert bleu.looks_tokenized(["it &apos;s"])
    assert not bleu.looks_tokenized(REFERENCES)
    assert not bleu.looks_tokenized(["Vraiment ?", "Oui ; non !"])  # French sets spaces before these
    assert not bleu.looks_tokenized(["one slip .", *["fine."] * 20])
    assert not bleu.looks_tokenized([])


COMPOUNDS = ["a well-known-to-all x-y-z dog", "-a- b- -c - d", "grün-weiß\u00a0-x 2-0 ##AT##", ""]


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl, as fairseq's script does")
def test_compounds_are_split_as_by_the_perl_line_of_fairseq():
    perl = ["perl", "-ple", r"s{(\S)-(\S)}{$1 ##AT##-##AT## $2}g"]
    text = "".join(line + "\n" for line in COMPOUNDS)
    expected = subprocess.run(perl, input=text, capture_output=True, encoding="utf-8", check=True).stdout
    assert [bleu.split_compounds(line) for line in COMPOUNDS] == expected.split("\n")[:-1]


def test_compound_bleu_is_tokenized_bleu_of_split_text_and_says_so():
    hypotheses, references = ["a well-known dog runs home"], ["a well-known man runs home"]
    score = by_name("compound")(hypotheses, references, False)
    split = bleu.tokenized_bleu(
        ["a well ##AT##-##AT## known dog runs home"], ["a well ##AT##-##AT## known man runs home"]
    )
    assert score.value == split.value > 0
    assert "tok:compound-split" in score.signature and "tok:compound-split" not in split.signature


@given(st.data())
@pytest.mark.parametrize("name", list(bleu.METRICS))
def test_statistics_of_a_partition_add_up(name, data):
    words = st.lists(st.sampled_from("a b c-d e, f. g".split()), max_size=6).map(" ".join)
    references = data.draw(st.lists(words, min_size=1, max_size=8))
    hypotheses = data.draw(st.lists(words, min_size=len(references), max_size=len(references)))
    part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(references), max_size=len(references))))
    metric = bleu.Metric(name, references)
    counts = metric.count(hypotheses)
    alone = [
        bleu.Metric(name, [references[i] for i in ids]).count([hypotheses[i] for i in ids]).sum(axis=0)
        for ids in (np.flatnonzero(part == p) for p in range(3))
        if len(ids)
    ]
    assert np.array_equal(sum(alone), counts.sum(axis=0))


def test_sentence_scores_and_words():
    metric = bleu.Metric("chrf2", REFERENCES)
    assert metric.sentence_scores(HYPOTHESES) == [
        bleu.chrf([h], [r]).value for h, r in zip(HYPOTHESES, REFERENCES, strict=True)
    ]
    assert bleu.Metric("bleu", REFERENCES, lowercase=True).words("The end, really.") == [
        "the",
        "end",
        ",",
        "really",
        ".",
    ]
