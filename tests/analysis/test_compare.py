import json

import pytest
from _analysis import finished_run, labo, prepared_corpus, sacrebleu, write
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.analysis import compare

SENTENCES = st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=1, max_size=4)


def test_repeated_and_copied_by_hand():
    sentences = [["a", "b", "a", "b", "a"], ["c"]]
    assert compare.repeated_share(sentences, 1) == 3 / 6
    assert compare.repeated_share(sentences, 2) == 2 / 4  # ab, ba, ab, ba
    assert compare.repeated_share(sentences, 4) == 0
    assert compare.repeated_share([["a"]], 2) is None
    sources = [["a", "b", "x"], ["c", "c"]]
    assert compare.copied_share(sentences, sources, 1) == 3 / 6  # a, b and c, each as often as it stands there
    assert compare.copied_share(sentences, sources, 2) == 1 / 4


@given(SENTENCES, st.sampled_from(compare.ORDERS))
def test_shares_by_going_through_the_sentences(sentences, order):
    repeated = total = 0
    for words in sentences:
        seen = set()
        for start in range(len(words) - order + 1):
            ngram = tuple(words[start : start + order])
            repeated, total = repeated + (ngram in seen), total + 1
            seen.add(ngram)
    expected = repeated / total if total else None
    assert compare.repeated_share(sentences, order) == (pytest.approx(expected) if total else None)
    assert compare.copied_share(sentences, sentences, order) == (1 if total else None)


@given(st.data())
def test_unigram_and_bigram_matches_are_those_of_bleu(data):
    """BLEU's own counts of clipped matches, over all n-grams of an order."""
    from labo_fairseq.analysis import bleu

    wanted = data.draw(SENTENCES)
    outputs = data.draw(
        st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=len(wanted), max_size=len(wanted))
    )
    metric = bleu.Metric("tokenized", [" ".join(words) for words in wanted])
    counts = metric.count([" ".join(words) for words in outputs]).sum(axis=0)
    matches = compare.matched_ngrams(outputs, wanted)
    for order in compare.ORDERS:
        assert sum(n for ngram, n in matches.items() if len(ngram) == order) == counts[1 + order]


def test_ngram_differences_by_hand():
    ours = {("a",): 3, ("b",): 1, ("c",): 1, ("d",): 5}
    theirs = {("a",): 0, ("b",): 0, ("c",): 0, ("d",): 5}
    found = compare.ngram_differences(ours, theirs, 2)
    assert found == [(("a",), 3, 0, 4 / 5), (("b",), 1, 0, 2 / 3)]


def test_wins_and_losses_leave_equal_sentences_out():
    assert compare.wins_and_losses([5, 1, 3, 3], [1, 5, 3, 2], 3) == ([0, 3], [1])
    assert compare.wins_and_losses([5, 1], [1, 5], 0) == ([], [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare_cli")
    corpus = prepared_corpus(path / "data")
    finished_run(path / "a", corpus, 0.5)
    finished_run(path / "b", corpus, 0.2, seed=2)
    return path


ARGUMENTS = (
    "--reference",
    "data/raw/test.en",
    "--system",
    "a=a/generate-test.txt",
    "--system",
    "b=b/generate-test.txt",
)


def test_tables(folder):
    result = labo("compare", *ARGUMENTS, "--source", "data/raw/test.de", "--top", 5, cwd=folder)
    assert result.returncode == 0, result.stderr
    parts = [part.splitlines() for part in result.stdout.split("\n\n")]
    titles = [part[0] for part in parts]
    assert titles[2] == "# n-grams that b gets right more often" and titles[4] == "# sentences where b is better"
    systems, lengths, _, _, better, worse = ([row.split("\t") for row in p[1:] if row[0] != "#"] for p in parts)
    assert [row[0] for row in systems[1:]] == ["a", "b", "reference"]
    # source and reference are the same text here
    assert systems[3][3:] == ["1.000", *systems[3][4:7], "100.00", "100.00", "100.00", "100.00"]
    for column in (1, 2):
        assert sum(int(row[column]) for row in lengths[1:]) == 60
    assert len(better) == 6 and all(float(row[2]) > float(row[1]) for row in better[1:])
    assert all(float(row[2]) < float(row[1]) for row in worse[1:])
    hyp, ref = (write(folder / name, better[1][column] + "\n") for name, column in (("h", 5), ("r", 3)))
    assert better[1][2] == sacrebleu(ref, "-i", hyp, "-m", "chrf", "-b", "-w", 2)


def test_json(folder):
    found = json.loads(labo("compare", *ARGUMENTS, "--json", cwd=folder).stdout)["tables"]
    assert len(found) == 6 and all(len(row) == len(table["columns"]) for table in found for row in table["rows"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (ARGUMENTS[:4], "--system: 1 given: two systems are compared"),
        ([*ARGUMENTS, "--source", "short"], "short: 1 sentences, but data/raw/test.en has 60"),
        ([*ARGUMENTS, "--top", "-1"], "--top: -1: must be 0 or more"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, message):
    write(folder / "short", "a\n")
    result = labo("compare", *arguments, cwd=folder)
    assert result.returncode == 2 and message in result.stderr and len(result.stderr.splitlines()) == 1
