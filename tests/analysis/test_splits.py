import json
import math
from collections import Counter

import numpy as np
import pytest
from _analysis import finished_run, labo, prepared_corpus, sacrebleu, write
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.analysis import bleu, frequency, splits, words
from labo_fairseq.errors import UserError

COUNTS = {"the": 1000, "dog": 50, "ze@@": 3, "bra": 1}


def test_scores_are_equation_18_and_its_variants():
    lines = ["the dog", "the ze@@ bra unseen", "", "the the  the"]
    assert frequency.frequency_scores(lines, COUNTS) == [525, 1004 / 4, 0, 1000]
    logs = [(3 + math.log10(50)) / 2, (3 + math.log10(3)) / 4, 0, 3]
    assert frequency.frequency_scores(lines, COUNTS, "log10") == pytest.approx(logs)
    assert frequency.frequency_scores(lines, COUNTS, "min") == [50, 0, 0, 1000]


SCORES = st.lists(st.sampled_from([0.0, 1.5, 1.5, 2.0, 7.0]), min_size=3, max_size=40)


@given(SCORES, st.integers(1, 3))
def test_equal_parts_are_a_partition_in_descending_order(scores, parts):
    found = frequency.split_by_score(scores, parts)
    ids = [i for split in found for i in split.ids]
    assert sorted(ids) == list(range(len(scores)))
    assert max(len(s.ids) for s in found) - min(len(s.ids) for s in found) <= 1
    # stable: descending score, and equal scores in the order of the corpus
    assert ids == [i for _, i in sorted((-score, i) for i, score in enumerate(scores))]
    assert all(split.highest == scores[split.ids[0]] and split.lowest == scores[split.ids[-1]] for split in found)


@given(st.data())
def test_ties_never_separate_pairs(tmp_path_factory, data):
    """Few scores and many sentences: what is written as line n of source and reference was one pair before."""
    source = data.draw(st.lists(st.sampled_from(["the", "the the", "dog", "dog the"]), min_size=3, max_size=30))
    references = [f"{i} {line}" for i, line in enumerate(source)]
    size = data.draw(st.none() | st.integers(1, len(source)))
    parts = 3 if size is None or 2 * size < len(source) else 1
    found = frequency.split_by_score(frequency.frequency_scores(source, COUNTS), parts, size)
    folder = tmp_path_factory.mktemp("splits")
    splits.write_splits(folder, found, source, [references])
    written = []
    for split in found:
        sides = [(folder / f"{split.name}.{kind}").read_text().splitlines() for kind in ("source", "reference")]
        written += zip(*sides, strict=True)
    pairs = Counter(zip(source, references, strict=True))
    assert not Counter(written) - pairs
    assert Counter(written) == pairs or size is not None


def test_parts_of_a_size_leave_the_rarest_out():
    scores = [5.0, 1.0, 3.0, 4.0, 2.0, 6.0, 0.0]
    found = frequency.split_by_score(scores, 3, 2)
    assert [(s.name, s.ids) for s in found] == [("most", (5, 0)), ("medium", (3, 2)), ("least", (4, 1))]
    assert [len(s.ids) for s in frequency.split_by_score(scores, 3, 3)] == [3, 3, 1]
    assert [s.name for s in frequency.split_by_score(scores, 2)] == ["part1", "part2"]
    for parts, size in ((8, None), (3, 4), (2, 7)):
        with pytest.raises(UserError, match=f"--parts: {parts}: 7 sentences are too few"):
            frequency.split_by_score(scores, parts, size)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\nb\n", "dict.txt:2: 'b': expected `token count`"),
        ("a 1\nb x\n", "dict.txt:2: 'b x'"),
        ("a 1\na 2\n", "dict.txt:2: 'a' comes twice"),
        ("", "dict.txt: no tokens"),
    ],
)
def test_damaged_dictionaries_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        frequency.read_dictionary(write(tmp_path / "dict.txt", text))


def test_dictionary_as_fairseq_writes_it(tmp_path):
    file = write(tmp_path / "dict.txt", "the 10\n\u2581x 3\nmadeupword0000 0\n<pad> 7 #fairseq:overwrite\n")
    assert frequency.read_dictionary(file) == {"the": 10, "\u2581x": 3, "madeupword0000": 0, "<pad>": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared corpus `data` and two runs."""
    path = tmp_path_factory.mktemp("splits_cli")
    corpus = prepared_corpus(path / "data")
    finished_run(path / "a", corpus, 0.3)
    finished_run(path / "b", corpus, 0.2, seed=2)
    return path


DATA = ("--dict", "data/bin/dict.de.txt", "--source", "data/bpe/test.de", "--reference", "data/raw/test.en")
SYSTEMS = ("--system", "a=a/generate-test.txt", "--system", "b=b/generate-test.txt")


def tables(result):
    """{title: [row]} of TSV tables."""
    assert result.returncode == 0, result.stderr
    parts = [part.splitlines() for part in result.stdout.split("\n\n")]
    return {p[0].removeprefix("# "): [row.split("\t") for row in p[1:] if not row.startswith("#")] for p in parts}


def test_table_4_agrees_with_the_sacrebleu_command_on_the_written_splits(folder, tmp_path):
    found = tables(labo("splits", *DATA, *SYSTEMS, "--write-splits", tmp_path / "out", "--samples", 50, cwd=folder))
    heading, first, second, difference, interval, p_value = found["BLEU by split"]
    assert heading == ["system", "all", "most", "medium", "least"]
    assert [row[0] for row in (first, second, difference)] == ["a", "b", "b − a"]
    assert interval[0] == "b − a ±" and p_value[0] == "b − a p (bootstrap)"
    texts = {}
    for name in "ab":
        log = (folder / name / "generate-test.txt").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in log.splitlines() if line.startswith("D-")]
        texts[name] = {int(row[0][2:]): row[2] for row in rows}
    sources = (folder / "data/bpe/test.de").read_text(encoding="utf-8").splitlines()
    references = (folder / "data/raw/test.en").read_text(encoding="utf-8").splitlines()
    for column, split in enumerate(("most", "medium", "least"), 2):
        written = (tmp_path / "out" / f"{split}.reference").read_text(encoding="utf-8").splitlines()
        pairs = list(zip((tmp_path / "out" / f"{split}.source").read_text().splitlines(), written, strict=True))
        known = list(zip(sources, references, strict=True))
        ids = [known.index(pair) for pair in pairs]
        scores = []
        for row, name in ((first, "a"), (second, "b")):
            hypotheses = write(tmp_path / "hyp", "".join(texts[name][i] + "\n" for i in ids))
            scores.append(
                sacrebleu(tmp_path / "out" / f"{split}.reference", "-i", hypotheses, "-m", "bleu", "-b", "-w", 2)
            )
            assert row[column] == scores[-1]
        assert float(difference[column]) == pytest.approx(float(scores[1]) - float(scores[0]), abs=0.011)
        assert 0 < float(p_value[column]) <= 1 and float(interval[column]) > 0


def test_statistics_of_the_splits_add_up_to_those_of_the_corpus(folder):
    found = json.loads(labo("splits", *DATA, *SYSTEMS, "--significance", "none", "--json", cwd=folder).stdout)
    ids = [i for split in found["splits"] for i in split["ids"]]
    assert sorted(ids) == list(range(60))
    references = (folder / "data/raw/test.en").read_text(encoding="utf-8").splitlines()
    metric = bleu.Metric("bleu", references)
    counts = metric.count([line.replace("dog", "cat") for line in references])
    parts = splits.scores_by_split(metric, {"s": counts}, [frequency.Split(**split) for split in found["splits"]])
    total = sum(counts[np.array(part.ids)].sum(axis=0) for part in parts[1:])
    assert np.array_equal(total, counts.sum(axis=0))
    assert metric.score(total[None]) == metric.score(counts)


def test_words_by_training_count_by_hand():
    metric = bleu.Metric("bleu", ["the dog , the cat", "zebra"])
    training = words.count_words(metric, ["the the the the the dog dog", "cat"])
    outputs, wanted = [["the", "dog", "dog", "yak"], ["the"]], [["the", "dog", ",", "the", "cat"], ["zebra"]]
    found = words.by_frequency(outputs, wanted, training)
    names = [words.bucket_name(words.FREQUENCIES, i) for i in range(len(found))]
    assert names == ["0", "1", "2", "3", "4", "5-9", "10-99", "100-999", "1000+"]
    assert [(m.reference, m.output, m.matched) for m in found[:6]] == [
        (2, 1, 0),  # "," and zebra; yak: never seen in training
        (1, 0, 0),  # cat
        (1, 2, 1),  # dog, once of twice
        (0, 0, 0),
        (0, 0, 0),
        (2, 2, 1),  # the: of the second sentence's one, none is wanted there
    ]
    assert found[2].f1 == pytest.approx(2 / 3) and found[3].f1 is None and found[0].f1 == 0
    by_length = words.by_length(outputs, wanted)
    assert (by_length[0].reference, by_length[0].output, by_length[0].matched) == (6, 5, 2)


def test_tables_of_words(folder):
    found = tables(
        labo("splits", *DATA, *SYSTEMS, "--train", "data/raw/train.en", "--significance", "none", cwd=folder)
    )
    rows = next(rows for title, rows in found.items() if title.startswith("word F1"))
    reference = (folder / "data/raw/test.en").read_text(encoding="utf-8")
    # 13a sets nothing apart here but full stops, and keeps hyphens inside words
    assert sum(int(row[1]) for row in rows[1:]) == len(reference.replace(".", " .").split())
    lengths = found["scores by length of the reference"]
    assert sum(int(row[1]) for row in lengths[1:]) == 60


def test_by_target_and_size_and_lowercase(folder):
    arguments = ("--by", "target", "--target", "data/bpe/test.en", "--size", 10, "--parts", 2, "--score", "min")
    found = tables(labo("splits", *DATA, *SYSTEMS, *arguments, "--lowercase", "--significance", "none", cwd=folder))
    rows = found["splits by training frequency of the target (min count of its tokens)"]
    assert [row[:2] for row in rows[1:]] == [["part1", "10"], ["part2", "10"]]
    assert "40 of 60 sentences" in labo("splits", *DATA, *arguments, cwd=folder).stdout


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--source", "data/raw/test.de"], "data/raw/test.de:1: "),
        (["--source", "short.de"], "short.de: 1 sentences, but data/raw/test.en has 60"),
        (["--dict", "other.txt"], "is not in other.txt, in all "),
        (["--dict", "data/bpe/test.de"], "data/bpe/test.de:1: "),
        (["--parts", "0"], "--parts: 0: must be 1 or more"),
        (["--max-unknown", "2"], "--max-unknown: 2.0: must be a share"),
        (["--system", "x=short.de"], "short.de: 1 sentences, but data/raw/test.en has 60"),
        (["--system", "a=a/data", "--system", "a=b/data"], "--system: a: given twice"),
        (["--by", "target", "--target", "short.de"], "short.de: 1 sentences, but data/raw/test.en has 60"),
        (["--by", "target"], "--target: missing"),
        (["--write-splits", "short.de"], "--write-splits: short.de: File exists"),
        (["--source", "a/generate-test.txt"], "a/generate-test.txt: is a generate log"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, changed, message):
    write(folder / "short.de", "a dog\n")
    write(folder / "other.txt", "fremd 10\n")
    result = labo("splits", *DATA, *changed, cwd=folder)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("labo splits: ")


@pytest.mark.parametrize(
    "unknown, flags, code",
    [
        (2, [], 0),  # of 300 tokens: nothing to say
        (5, [], 0),  # 1.7 %, as in a small corpus of one's own: a warning
        (29, [], 0),  # 9.7 %
        (31, [], 2),  # 10.3 %: another corpus
        (5, ["--max-unknown", "0.01"], 2),
        (31, ["--max-unknown", "0.2"], 0),
    ],
)
def test_some_unknown_tokens_are_warned_about(tmp_path, unknown, flags, code):
    words = ["known"] * (300 - unknown) + ["new"] * unknown
    lines = "".join(" ".join(words[i::100]) + "\n" for i in range(100))
    write(tmp_path / "source", lines)
    write(tmp_path / "reference", lines)
    write(tmp_path / "dict", "known 10\n")
    data = ["--dict", "dict", "--source", "source", "--reference", "reference"]
    done = labo("splits", *data, *flags, cwd=tmp_path)
    assert done.returncode == code
    assert ("are not" in done.stderr) == (unknown == 5 or unknown == 29 or code == 2)
    assert done.stderr.startswith("labo splits: " if code else "warning: " if "are not" in done.stderr else "")
