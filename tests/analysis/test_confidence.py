import importlib.util
import json
import math

import numpy as np
import pytest
from _analysis import detokenized, entry, finished_run, labo, prepared_corpus, sacrebleu, write

from labo_fairseq.analysis import confidence, frequency
from labo_fairseq.analysis.references import of_lines
from labo_fairseq.analysis.systems import read_system
from labo_fairseq.errors import UserError

NEEDS_MATPLOTLIB = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")


@pytest.fixture
def log(tmp_path):
    lines = entry(0, "a b", positional=[-1.0, -2.0, 0.0]) + entry(1, "c", positional=[-0.5, -40.0])
    return write(tmp_path / "gen.txt", lines)


def test_probabilities_are_powers_of_two_with_the_end_of_the_sentence(log):
    first, second = confidence.token_probabilities(read_system("s", log))
    assert first.tolist() == [0.5, 0.25, 1.0]
    assert second.tolist() == pytest.approx([2**-0.5, 2**-40])


def test_only_the_best_translation_counts(tmp_path):
    two = write(tmp_path / "n", "H-0\t-2.0\ta\nP-0\t-2.0 -2.0\nH-0\t-1.0\tb\nP-0\t-1.0 -1.0\n")
    assert confidence.token_probabilities(read_system("s", two))[0].tolist() == [0.5, 0.5]


def test_histogram_by_hand():
    values = {"s": [np.array([0.0, 0.1, 0.25, 0.5]), np.array([0.75, 1.0, 1.0, 1.0])]}
    split = frequency.Split("most", (1,), 1.0, 1.0)
    every, most = confidence.histograms(values, [split], bins=4)
    assert every.counts == (2, 1, 1, 4)  # closed on the left, 1.0 in the last
    assert every.tokens == 8 and every.mean == pytest.approx(4.6 / 8) and every.median == 0.625
    assert every.entropy == pytest.approx(2 * (1 / 4) + 2 * (3 / 8) + 1 / 2)  # 1/4, 1/8, 1/8, 1/2
    assert every.surprisal == math.inf
    assert (most.split, most.counts, most.sentences) == ("most", (0, 0, 0, 4), 1)
    assert most.surprisal == pytest.approx(-math.log2(0.75) / 4) and most.entropy == 0
    assert confidence.overlap(every, most) == 0.5 and confidence.overlap(most, most) == 1
    far = confidence.histograms({"s": [np.array([0.1])]}, bins=4)[0]
    assert confidence.overlap(far, most) == 0


def test_rounding_above_one_stays_in_the_last_bin():
    (found,) = confidence.histograms({"s": [np.exp2(np.array([0.0001, -0.0]))]}, bins=20)
    assert found.counts[-1] == 2


def test_confident_sentences_are_scored_first(tmp_path):
    references = ["one two three four five", "six seven eight nine ten", "a b c d e", "f g h i j"]
    outputs = ["one two three four five", "six seven eight nine two", "z z z z z", "f g y h i"]
    lines = "".join(
        f"H-{i}\t-1.0\t{text}\nC-{i}\t{c}\n"
        for i, (text, c) in enumerate(zip(outputs, (0.9, 0.2, 0.1, 0.9), strict=True))
    )
    system = read_system("s", write(tmp_path / "gen.txt", lines))
    points = confidence.risk_coverage(system, of_lines(references, "ref"))
    assert [p[0] for p in points] == list(confidence.COVERAGES) and points[0][1:3] == (1, 0.9)
    assert points[0][3] == pytest.approx(100)  # ties stay in the order of the corpus
    half = points[4]
    hyp = write(tmp_path / "hyp", "".join(outputs[i] + "\n" for i in (0, 3)))
    ref = write(tmp_path / "ref", "".join(references[i] + "\n" for i in (0, 3)))
    assert half[1] == 2 and f"{half[3]:.6f}" == sacrebleu(ref, "-i", hyp, "-m", "bleu", "-b", "-w", 6)
    assert points[-1][1:3] == (4, 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("confidence_cli")
    corpus = prepared_corpus(path / "data")
    finished_run(path / "a", corpus, 0.3)
    finished_run(path / "b", corpus, 0.2, seed=2)
    return path


SYSTEMS = ("--system", "a=a/generate-test.txt", "--system", "b=b/generate-test.txt")
SPLITS = ("--dict", "data/bin/dict.de.txt", "--source", "data/bpe/test.de")


def test_tables(folder):
    result = labo("confidence", *SYSTEMS, *SPLITS, "--bins", 10, cwd=folder)
    assert result.returncode == 0, result.stderr
    summary, histogram, between_splits, between_systems = (part.splitlines() for part in result.stdout.split("\n\n"))
    rows = [line.split("\t") for line in summary[1:] if not line.startswith("#")]
    by_place = {(row[0], row[1]): row for row in rows[1:]}
    for name in "ab":
        tokens = [int(by_place[name, split][3]) for split in ("all", "most", "medium", "least")]
        assert tokens[0] == sum(tokens[1:])
        log = (folder / name / "generate-test.txt").read_text().splitlines()
        scores = [float(x) for line in log if line.startswith("P-") for x in line.split("\t")[1].split()]
        assert tokens[0] == len(scores)
        assert float(by_place[name, "all"][6]) == pytest.approx(-sum(scores) / len(scores), abs=0.0006)
    shares = np.array([[float(x) for x in line.split("\t")[2:]] for line in histogram[2:]])
    assert shares.shape == (10, 8) and shares.sum(axis=0) == pytest.approx(100, abs=0.06)
    assert between_splits[1].split("\t") == ["system", "most, medium", "most, least", "medium, least"]
    assert between_systems[2].startswith("a, b\t")


def test_json_and_one_system_alone(folder):
    result = labo("confidence", *SYSTEMS[:2], "--json", cwd=folder)
    (found,) = json.loads(result.stdout)["histograms"]
    assert found["split"] == "all" and sum(found["counts"]) == found["tokens"] and len(found["counts"]) == 20
    assert "overlap" not in labo("confidence", *SYSTEMS[:2], cwd=folder).stdout


@NEEDS_MATPLOTLIB
@pytest.mark.parametrize(("name", "magic"), [("f.png", b"\x89PNG"), ("f.pdf", b"%PDF"), ("f.svg", b"<?xml")])
def test_figure(folder, tmp_path, name, magic):
    result = labo("confidence", *SYSTEMS, *SPLITS, "--figure", tmp_path / name, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / name).read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system", "t=data/raw/test.en"], "data/raw/test.en: is no generate log"),
        (["--system", "t=h.txt"], "h.txt: has no P- lines"),
        ([*SYSTEMS, "--dict", "data/bin/dict.de.txt"], "--dict and --source: one is missing"),
        ([*SYSTEMS, *SPLITS, "--by", "target"], "--dict and --target: one is missing"),
        (["--system", "t=p.txt", *SPLITS], "p.txt: 1 sentences, but data/bpe/test.de has 60"),
        ([*SYSTEMS, "--bins", "1"], "--bins: 1: must be 2 or more"),
        ([*SYSTEMS, "--reference", "data/raw/test.en"], "--reference: no log has C- lines"),
        ([*SYSTEMS, "--figure", "f.gif"], "--figure: f.gif: must end in .png, .pdf or .svg"),
        ([*SYSTEMS, "--figure", "none/f.png"], "none/f.png: No such file or directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, message):
    write(folder / "h.txt", "H-0\t-1.0\ta\n")
    write(folder / "p.txt", "H-0\t-1.0\ta\nP-0\t-1.0 -1.0\n")
    result = labo("confidence", *arguments, cwd=folder)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_text_files_have_no_probabilities(tmp_path):
    with pytest.raises(UserError, match="is no generate log"):
        confidence.token_probabilities(read_system("s", write(tmp_path / "t", detokenized(["a", "."]) + "\n")))


def confident_log(path, confidences):
    """A log whose i-th translation has i of four words right, so that sentence chrF2 rises with i."""
    words = ["alpha", "bravo", "chance", "dozen"]
    text = ""
    for i, value in enumerate(confidences):
        hypothesis = " ".join(words[:i] + ["xxxx"] * (4 - i))
        lines = entry(i, hypothesis, positional=[-0.1 * (9 - i)] * 5, target=" ".join(words)).splitlines()
        text += "\n".join([*lines, f"C-{i}\t{value}"]) + "\n"
    return write(path, text)


@pytest.mark.parametrize(
    "confidences, kendall",
    [([0.1, 0.2, 0.5, 0.6, 0.9], 1), ([0.9, 0.6, 0.5, 0.2, 0.1], -1), ([0.1, 0.3, 0.2, 0.6, 0.9], 0.8)],
)
def test_confidence_and_sentence_chrf(tmp_path, confidences, kendall):
    """Five sentences are ten pairs: one of them the wrong way round gives (9 − 1) / 10."""
    system = read_system("s", confident_log(tmp_path / "gen.txt", confidences))
    found = confidence.chrf_correlations(system, of_lines(["alpha bravo chance dozen"] * 5, "ref"), samples=50)
    assert found["confidence"]["kendall"].value == pytest.approx(kendall)
    assert found["mean log-probability"]["kendall"].value == pytest.approx(1)


def test_correlations_are_printed(tmp_path):
    log = confident_log(tmp_path / "gen.txt", [0.1, 0.3, 0.2, 0.6, 0.9])
    reference = write(tmp_path / "ref", "alpha bravo chance dozen\n" * 5)
    done = labo("confidence", "--system", f"s={log}", "--reference", reference)
    assert done.returncode == 0, done.stderr
    assert "# correlation with sentence chrF2\nsystem\tnumber\tKendall\t95% from\tto\tPearson" in done.stdout
    assert "\ns\tconfidence\t+0.800\t" in done.stdout
    content = json.loads(labo("confidence", "--system", f"s={log}", "--reference", reference, "--json").stdout)
    assert content["correlations"]["s"]["confidence"]["kendall"]["value"] == pytest.approx(0.8)


def test_no_correlation_of_equal_confidences(tmp_path):
    log = confident_log(tmp_path / "gen.txt", [0.5] * 5)
    reference = write(tmp_path / "ref", "alpha bravo chance dozen\n" * 5)
    done = labo("confidence", "--system", f"s={log}", "--reference", reference, "--json")
    assert json.loads(done.stdout)["correlations"]["s"]["confidence"]["pearson"]["value"] is None
