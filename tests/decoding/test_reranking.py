"""labo rerank: exact line search, tuning on data whose best weights are known, files, and the output."""

import itertools
import json

import numpy as np
import pytest
from _analysis import entry, write

from labo_fairseq.analysis.bleu import Metric
from labo_fairseq.cli import main
from labo_fairseq.decoding import reranking
from labo_fairseq.decoding.reranking import Lists, Weights, envelope
from labo_fairseq.errors import UserError
from labo_fairseq.records.generate_log import parse_generate_log, read_generate_log

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel".split()


# --- the line search ---


@pytest.mark.parametrize("seed", range(6))
def test_the_envelope_is_the_highest_line_everywhere(seed):
    """Against evaluating all lines on a fine grid; with equal slopes, equal lines and three through one point."""
    rng = np.random.default_rng(seed)
    offsets, slopes = rng.integers(-4, 5, size=(2, 12)).astype(float)
    order, steps = envelope(offsets, slopes)
    assert len(steps) == len(order) - 1 and steps == sorted(steps)
    for x in np.linspace(-9.97, 9.97, 401):
        chosen = order[int(np.searchsorted(steps, x))]
        assert offsets[chosen] + x * slopes[chosen] == pytest.approx((offsets + x * slopes).max())


def test_of_equal_lines_the_first_is_taken():
    assert envelope(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == ([0], [])


def lists_and_counts(seed, sentences=40, size=6):
    """(Lists, counts, metric): the feature `good` is the share of right words plus noise, `noise` is noise."""
    rng = np.random.default_rng(seed)
    references, texts, rows = [], [], []
    for _ in range(sentences):
        reference = rng.permutation(WORDS).tolist()
        for _ in range(size):
            right = int(rng.integers(3, 9))
            texts.append(" ".join(reference[:right] + ["x"] * (8 - right)))
            rows.append([rng.normal(), right / 8 + 0.1 * rng.normal()])
            references.append(" ".join(reference))
    lists = Lists(("score", "good"), np.array(rows), np.arange(0, sentences * size + 1, size))
    metric = Metric("bleu", references)
    return lists, metric.count(texts), metric


def bleu_of(lists, counts, metric, weights):
    return metric.value(counts[lists.best(np.array(weights))].sum(0))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_weights_are_as_good_as_any_of_a_fine_grid(seed):
    """Two features: the ranking depends on the angle of the weights alone, so that a grid of angles sees everything."""
    lists, counts, metric = lists_and_counts(seed)
    found = reranking.tune(lists, counts, metric)
    angles = np.linspace(0, 2 * np.pi, 2000)
    best = max(bleu_of(lists, counts, metric, (np.cos(a), np.sin(a))) for a in angles)
    assert found.score >= best - 1e-9 and found.score == pytest.approx(bleu_of(lists, counts, metric, found.weights))
    assert found.before == pytest.approx(metric.value(counts[lists.starts[:-1]].sum(0)))
    assert found.weights[1] > 0 and found.held_out.difference > 5


def test_the_same_seed_gives_the_same_weights():
    lists, counts, metric = lists_and_counts(4)
    first, second = (reranking.tune(lists, counts, metric, seed=3).weights for _ in range(2))
    assert first.tolist() == second.tolist()


def test_noise_gains_nothing_that_lasts():
    """Features that say nothing: the tuned score rises, that of the held-out halves does not."""
    lists, counts, metric = lists_and_counts(5, sentences=30)
    rng = np.random.default_rng(0)
    noise = Lists(tuple("abcd"), rng.normal(size=(len(counts), 4)), lists.starts)
    found = reranking.tune(noise, counts, metric, restarts=2)
    gain, held = found.score - found.before, found.held_out
    assert gain > 2 and held.difference < gain - 2
    assert abs(held.difference) < 2 * held.difference_interval


def test_chrf_too():
    lists, counts, _ = lists_and_counts(6)
    texts = ["alpha bravo"] * len(counts)
    metric = Metric("chrf2", texts)
    found = reranking.tune(lists, metric.count(texts), metric, restarts=1)
    assert found.score == pytest.approx(100) and found.before == pytest.approx(100)


# --- features ---


LOG = (
    "S-0\tein hund\nT-0\ta dog\n"
    "H-0\t-0.5\ta cat\nP-0\t-1.0 -0.25 -0.25\nC-0\t0.75\nH-0\t-0.75\ta dog\nP-0\t-1.0 -1.0 -0.25\nC-0\t0.5\n"
    "S-1\tzwei\nT-1\ttwo\nH-1\t-0.25\ttwo\nP-1\t-0.25 -0.25\nC-1\t1.0\nH-1\t-2.0\tone\nP-1\t-3.5 -0.5\nC-1\t0.0\n"
)


def test_features_of_a_log():
    lists = reranking.lists_of(parse_generate_log(LOG, "log"), "log")
    assert lists.names == ("score", "logprob", "length", "least", "confidence")
    assert lists.starts.tolist() == [0, 2, 4]
    score, logprob, length, least, confidence = lists.features.T
    assert score.tolist() == [-0.5, -0.75, -0.25, -2.0] and length.tolist() == [3, 3, 2, 2]
    assert logprob == pytest.approx(np.log(2) * np.array([-1.5, -2.25, -0.5, -4.0]))
    assert least == pytest.approx(np.log(2) * np.array([-1.0, -1.0, -0.25, -3.5]))
    assert confidence[:2] == pytest.approx([np.log(3), 0]) and np.isfinite(confidence).all()


def test_the_sums_of_forced_scores(tmp_path):
    lines = [entry(i, "a b", positional=[-1.0, -0.5, -0.25 * i]) for i in (2, 0, 1)]
    found = reranking.read_feature(write(tmp_path / "forced.txt", "".join(lines)))
    assert found == pytest.approx(np.log(2) * np.array([-1.5, -1.75, -2.0]))


@pytest.mark.parametrize(
    "text, message",
    [
        ("1.5\nx\n", "scores:2: 'x' is not a number"),
        ("1.5\n\n", "scores:2: '' is not a number"),
        ("nan\n", "scores:1: 'nan' is not finite"),
        ("1\n-inf\n", "scores:2: '-inf' is not finite"),
        (LOG, "has several hypotheses of a sentence"),
    ],
)
def test_broken_scores_are_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        reranking.read_feature(write(tmp_path / "scores", text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


# --- the file ---


def test_weights_come_back(tmp_path):
    weights = Weights({"score": 1.5, "other": -0.25}, {"metric": "BLEU"})
    reranking.save(weights, tmp_path / "w.json")
    assert reranking.load(tmp_path / "w.json") == weights
    content = json.loads((tmp_path / "w.json").read_text())
    assert (content["format"], content["version"]) == ("labo-rerank-weights", 1)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not a file of weights"),
        ("[1]", "not a file of weights"),
        ('{"format": "labo-calibration", "version": 1}', "not a file of weights"),
        ('{"format": "labo-rerank-weights", "version": 2}', "version 2"),
        ('{"format": "labo-rerank-weights", "version": 1}', "broken file of weights"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {}, "tuned_on": {}}', "broken"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {"a": "1"}, "tuned_on": {}}', "broken"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {"a": true}, "tuned_on": {}}', "broken"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {"a": NaN}, "tuned_on": {}}', "broken"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {"a": 1e99}, "tuned_on": {}}', "broken"),
        ('{"format": "labo-rerank-weights", "version": 1, "weights": {"a": 1}, "tuned_on": []}', "broken"),
        ("[" * 5000, "not a file of weights"),
    ],
)
def test_broken_files_are_one_line(tmp_path, text, message):
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        reranking.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


# --- the command ---


def rerank(capsys, *arguments):
    code = main(["rerank", *map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """n-best lists in which the second hypothesis is right, as the file `other` says and the log does not."""
    lines, other = [], []
    for i in range(8):
        words = WORDS[i:] + WORDS[:i]
        lines.append(f"S-{i}\tquelle{i}\nT-{i}\t{' '.join(words)}\n")
        for j in range(3):
            text = " ".join(words if j == 1 else [*words[:4], *WORDS[: 3 + j]])
            # the longer the list goes on the less likely
            scores = " ".join(["-0.5000"] * len(text.split()) + [f"-{0.5 + j}000"])
            lines.append(f"H-{i}\t-{0.5 + j / 4}\t{text}\nD-{i}\t-{0.5 + j / 4}\t{text}\nP-{i}\t{scores}\n")
            other.append(f"{3.0 if j == 1 else -1.0 - j}\n")
    write(tmp_path / "log", "".join(lines))
    write(tmp_path / "other", "".join(other))
    write(tmp_path / "ref", "".join(f"{' '.join(WORDS[i:] + WORDS[:i])}\n" for i in range(8)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_candidates_to_a_reranked_log(folder, capsys):
    code, out, _ = rerank(capsys, "log", "--write-candidates", "cand", "--languages", "de-en")
    assert code == 0 and out.startswith("24 candidates of 8 sentences in cand/candidates.{de,en}")
    assert (folder / "cand/candidates.de").read_text().splitlines()[:4] == ["quelle0"] * 3 + ["quelle1"]
    hypotheses = [" ".join(h.tokens) for s in read_generate_log("log") for h in s.hypotheses]
    assert (folder / "cand/candidates.en").read_text().splitlines() == hypotheses

    tune = ["log", "--feature", "other=other", "--tune", "--reference", "ref", "--weights", "w.json"]
    code, out, _ = rerank(capsys, *tune)
    assert code == 0 and "100.00 reranked" in out
    assert list(reranking.load("w.json").weights) == ["score", "logprob", "length", "least", "other"]
    code, out, _ = rerank(capsys, *tune, "--metric", "chrf", "--features", "score", "--json")
    content = json.loads(out)
    assert list(content["weights"]) == ["score", "other"] and content["tuned_on"]["metric"] == "chrF2"
    assert content["tuned_on"]["after"] == pytest.approx(100) and content["tuned_on"]["candidates"] == 24

    code, out, _ = rerank(capsys, "log", "--feature", "other=other", "--weights", "w.json")
    assert code == 0
    found, before = parse_generate_log(out, "out"), read_generate_log("log")
    assert [s.hypotheses[0].tokens for s in found] == [s.hypotheses[1].tokens for s in before]
    assert [s.hypotheses[0].positional_scores for s in found] == [s.hypotheses[1].positional_scores for s in before]
    assert [(s.source, s.target, len(s.hypotheses)) for s in found] == [(s.source, s.target, 1) for s in before]
    code, out, _ = rerank(capsys, "log", "--feature", "other=other", "--weights", "w.json", "--nbest", 3)
    for sentence in parse_generate_log(out, "out"):
        scores = [h.score for h in sentence.hypotheses]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert sum(2**score for score in scores) == pytest.approx(1)  # shares of the list
    write(folder / "reranked", out)
    assert main(["score", "--reference", "ref", "--system", "a=reranked"]) == 0
    assert "a\t100.00" in capsys.readouterr().out


def test_detokenized_and_joined(tmp_path, capsys):
    log = "S-0\tx\nT-0\ty\nH-0\t-0.5\tha@@ us , ja\nD-0\t-0.5\tha@@ us , ja\nP-0\t-0.5 -0.5 -0.5 -0.5 -0.5\n"
    log += "H-0\t-0.6\thaus ja\nD-0\t-0.6\thaus ja\nP-0\t-0.5 -0.7 -0.6\n"
    write(tmp_path / "log", log)
    reranking.save(Weights({"length": 1.0}), tmp_path / "w.json")
    flags = ["--weights", tmp_path / "w.json", "--tokenizer", "moses", "--language", "de"]
    code, out, _ = rerank(capsys, tmp_path / "log", *flags)
    assert code == 0 and "\tha@@ us , ja\n" in out  # H- stays in subwords, to which P- belongs
    assert [line.split("\t")[2] for line in out.splitlines() if line.startswith("D-")] == ["haus, ja"]


TUNE = ["--tune", "--reference", "ref", "--weights", "w.json"]


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--weights: missing"),
        (["--weights", "none.json"], "none.json: No such file"),
        (["--tune", "--weights", "w.json"], "--reference: missing"),
        ([*TUNE, "--features", "magic"], "--features: magic: unknown: choose from score, logprob"),
        ([*TUNE, "--features", "confidence"], "log: has no C- lines"),
        ([*TUNE, "--features"], "--features: none is left"),
        ([*TUNE, "--feature", "score=other"], "--feature score: is the name of a feature of the log"),
        ([*TUNE, "--feature", "other"], "--feature: other: must read NAME=FILE"),
        ([*TUNE, "--feature", "a=other", "--feature", "a=other"], "--feature: a: given twice"),
        ([*TUNE, "--feature", "short=ref"], "ref:1: "),
        ([*TUNE, "--feature", "few=few"], "--feature few: 2 scores for the 24 hypotheses of log"),
        (["--tune", "--reference", "few", "--weights", "w.json"], "log: 8 sentences, but few has 2"),
        (["--weights", "of-other.json"], "--feature other=FILE: missing: of-other.json has a weight for it"),
        (["--weights", "own.json", "--feature", "a=other"], "--feature a: own.json has no weight for it"),
        (["--weights", "own.json", "--features", "score"], "--features: is for --tune"),
        (["--write-candidates", "c"], "--languages: give source and target"),
        (["--write-candidates", "c", "--languages", "de-de"], "--languages: give source and target"),
        (["--write-candidates", "ref", "--languages", "de-en"], "--write-candidates: ref: "),
    ],
)
def test_bad_input_is_one_line(folder, capsys, flags, message):
    write(folder / "few", "1\n2\n")
    reranking.save(Weights({"score": 1.0, "other": 1.0}), folder / "of-other.json")
    reranking.save(Weights({"score": 1.0}), folder / "own.json")
    code, out, errors = rerank(capsys, "log", *flags)
    assert code == 2 and not out and errors.startswith("labo rerank: ") and len(errors.splitlines()) == 1
    assert message in errors


def test_a_log_without_subwords_is_warned_of(folder, capsys):
    """The words of LOG may be whole because its models know no subwords, or because they were joined."""
    _, _, errors = rerank(capsys, "log", "--write-candidates", "cand", "--languages", "de-en")
    assert "log: shows no subwords" in errors


def test_weights_of_the_own_score_change_nothing(folder, capsys):
    reranking.save(Weights({"score": 2.0}), "own.json")
    code, out, _ = rerank(capsys, "log", "--weights", "own.json", "--nbest", 3)
    assert code == 0
    pairs = zip(parse_generate_log(out, "out"), read_generate_log("log"), strict=True)
    for after, before in pairs:
        assert [h.tokens for h in after.hypotheses] == [h.tokens for h in before.hypotheses]


def test_the_order_of_the_features_does_not_matter(folder, capsys):
    outputs = []
    for names in itertools.permutations(["score", "length", "other"]):
        reranking.save(Weights({name: {"score": 1.0, "length": -0.5, "other": 0.25}[name] for name in names}), "p.json")
        outputs.append(rerank(capsys, "log", "--weights", "p.json", "--feature", "other=other", "--nbest", 3)[1])
    # sums of three numbers in another order may differ in their last digit
    orders = [[h.tokens for s in parse_generate_log(o, "o") for h in s.hypotheses] for o in outputs]
    assert all(order == orders[0] for order in orders)
