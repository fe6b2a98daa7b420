"""Minimum-Bayes-risk decoding: choices, weights and fits by definition, one pair at a time, with sacreBLEU."""

import json
import math
import random
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from labo_fairseq.cli import main
from labo_fairseq.decoding import mbr, utilities
from labo_fairseq.errors import UserError
from labo_fairseq.records.generate_log import Hypothesis, Sentence, log_lines, parse_generate_log, read_generate_log
from labo_fairseq.records.mbr import Fit, read_choices, read_fit, read_mbr, write_fit

LN2 = math.log(2)
WORDS = "ein mann fährt auf einem rad durch die stadt und die frau sieht zu".split()


def hypothesis(text, *scores):
    """With these P- scores, base 2; the H- score is their mean."""
    return Hypothesis(sum(scores) / len(scores), tuple(text.split()), text, scores)


def sentence(i, *hypotheses, target="ein ziel"):
    return Sentence(i, f"source {i}", target, tuple(sorted(hypotheses, key=lambda h: -h.score)))


def random_log(seed, sentences=6, hypotheses=7):
    """A log of random texts, some of them several times; every text has one score of its own."""
    rng = random.Random(seed)
    log = []
    for i in range(sentences):
        found = []
        for text in sorted({" ".join(rng.sample(WORDS, rng.randint(1, 7))) for _ in range(hypotheses)}):
            scores = [-rng.randint(1, 9000) / 10000 for _ in range(len(text.split()) + 1)]
            found += [hypothesis(text, *scores)] * rng.choice([1, 1, 1, 3])
        log.append(sentence(i, *found, target=" ".join(rng.sample(WORDS, 5))))
    return log


@pytest.fixture
def write(tmp_path):
    def write(name, log):
        (tmp_path / name).write_text("".join(map(log_lines, log)), encoding="utf-8")
        return tmp_path / name

    return write


# --- lines of a log ---


def test_lines_of_a_log_are_read_back():
    full = Hypothesis(-0.25, ("a@@", "b"), "ab", (-0.25, -0.5, 0.0), "0-0 1-1", 0.75)
    plain = Hypothesis(-1.5, ("a", "c"), None, None)
    assert parse_generate_log(log_lines(Sentence(0, "x", "y", (full,))), "a") == [Sentence(0, "x", "y", (full,))]
    assert parse_generate_log(log_lines(Sentence(0, "x", None, (plain,))), "b") == [Sentence(0, "x", None, (plain,))]


# --- candidates and weights ---


def test_the_same_text_is_one_candidate_with_as_many_draws():
    a, b = hypothesis("ein mann", -1.0, -1.0, -0.5), hypothesis("eine frau", -1.0, -2.0, -0.5)
    (one,) = mbr.candidates_of([[sentence(0, a, b, a, a)]], ["log"])
    assert one.texts == ["ein mann", "eine frau"] and one.draws.tolist() == [[3, 1]]
    np.testing.assert_allclose(one.weights(None), [0.75, 0.25])
    # drawn three times, it still has the probability 2^-2.5 once; the other one 2^-3.5
    np.testing.assert_allclose(one.weights(1.0), [2 / 3, 1 / 3])
    np.testing.assert_allclose(one.weights(2.0), np.array([math.sqrt(2), 1]) / (1 + math.sqrt(2)))


def test_different_divisions_of_a_text_into_subwords_add_up():
    """ "ab" as one subword with p = 1/4 and as two with 1/8; "c" with 1/4."""
    whole, divided = hypothesis("ab", -1.0, -1.0), Hypothesis(-1.0, ("ab",), "ab", (-1.0, -1.0, -1.0))
    (one,) = mbr.candidates_of([[sentence(0, whole, divided, divided, hypothesis("c", -1.0, -1.0))]], ["log"])
    np.testing.assert_allclose(one.weights(1.0), [0.6, 0.4])
    np.testing.assert_allclose(one.log_probs, [[math.log(3 / 8), math.log(1 / 4)]])
    assert one.hypotheses[0] == whole  # the more probable division stands for both


def test_each_of_several_logs_has_the_same_share():
    """Log 1: a and b as 3 : 1, log 2: b alone, though with a tiny probability."""
    first = [sentence(0, hypothesis("a", -1.0, 0.0), hypothesis("b", -1.0, math.log2(1 / 3)))]
    second = [sentence(0, hypothesis("b", -30.0, -20.0))]
    (one,) = mbr.candidates_of([first, second], ["1", "2"])
    assert one.texts == ["a", "b"] and one.draws.tolist() == [[1, 1], [0, 1]]
    np.testing.assert_allclose(one.weights(1.0), [0.375, 0.625], rtol=1e-6)
    np.testing.assert_allclose(one.weights(None), [0.25, 0.75])


def test_texts_without_d_lines_are_joined_subwords():
    (one,) = mbr.candidates_of(
        [[Sentence(0, None, None, (Hypothesis(-1.0, ("ein", "ma@@", "nn"), None, None),))]], ["x"]
    )
    assert one.texts == ["ein mann"]


@pytest.mark.parametrize(
    "second, message",
    [
        ([sentence(0, hypothesis("a", -1.0, -1.0))], "two: has 1 sentences, one has 2: give logs of one set"),
        (
            [sentence(0, hypothesis("a", -1.0, -1.0)), Sentence(1, "other", None, (hypothesis("a", -1.0, -1.0),))],
            "two: S-1 is another sentence than in one",
        ),
    ],
)
def test_logs_of_other_sentences_are_refused(second, message):
    first = [sentence(i, hypothesis("a", -1.0, -1.0)) for i in range(2)]
    with pytest.raises(UserError, match=message):
        mbr.candidates_of([first, second], ["one", "two"])


# --- decisions ---


def by_definition(hypotheses, metric, weight):
    """The text of highest Σ weight(other) · utility(text, other), over all hypotheses."""
    texts = sorted({h.text for h in hypotheses})
    total = sum(map(weight, hypotheses))
    values = [
        sum(weight(h) * metric.sentence_score(text, [h.text]).score for h in hypotheses) / total for text in texts
    ]
    return texts[int(np.argmax(values))], max(values)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "utility, metric",
    [(utilities.chrf(), CHRF()), (utilities.bleu(), BLEU(effective_order=True))],
    ids=["chrf", "bleu"],
)
@pytest.mark.parametrize("temperature", [None, 1.0, 3.0, 0.3])
def test_the_choice_is_that_of_the_definition(seed, utility, metric, temperature):
    log = random_log(seed)
    choices = list(mbr.decode(mbr.candidates_of([log], ["log"]), utility, temperature))
    for one, choice in zip(log, choices, strict=True):
        draws = {h.text: sum(g.text == h.text for g in one.hypotheses) for h in one.hypotheses}

        def weight(h, draws=draws):
            if temperature is None:
                return 1.0
            return math.exp(sum(h.positional_scores) * LN2 / temperature) / draws[h.text]

        text, value = by_definition(one.hypotheses, metric, weight)
        assert choice.sentence.hypotheses[0].text == text and choice.utility == pytest.approx(value, abs=1e-9)
        assert (choice.candidates, choice.texts) == (len(one.hypotheses), len(draws))
        assert choice.sentence.id == one.id and choice.sentence.target == one.target


def test_against_fastchrf_as_mbrs_uses_it():
    fastchrf = pytest.importorskip("fastchrf", reason="fastchrf is not installed")
    for one, choice in zip(
        log := random_log(9), mbr.decode(mbr.candidates_of([log], ["x"]), utilities.chrf()), strict=True
    ):
        texts = [h.text for h in one.hypotheses]
        expected = np.array(fastchrf.pairwise_chrf([texts], [texts])[0]).mean(axis=1)
        assert choice.sentence.hypotheses[0].text == texts[int(expected.argmax())]


def test_rank_and_weight_of_a_choice():
    """The middle of three similar texts wins, though it is the second most probable one."""
    log = [sentence(0, hypothesis("ab cd xx", -1.0), hypothesis("ab cd ef", -2.0), hypothesis("yy cd ef", -3.0))]
    (choice,) = mbr.decode(mbr.candidates_of([log], ["x"]), utilities.chrf())
    assert (
        choice.sentence.hypotheses[0].text == "ab cd ef" and choice.rank == 2 and choice.weight == pytest.approx(1 / 3)
    )


def test_of_equal_utilities_the_more_probable_text_counts():
    log = [sentence(0, hypothesis("aaaa", -3.0), hypothesis("bbbb", -1.0), hypothesis("cccc", -2.0))]
    (choice,) = mbr.decode(mbr.candidates_of([log], ["x"]), utilities.chrf())
    assert choice.sentence.hypotheses[0].text == "bbbb"


def test_the_average_of_all_chooses_nearly_as_all_do():
    log = random_log(5, sentences=40, hypotheses=30)
    candidates = mbr.candidates_of([log], ["log"])
    exact, quick = (list(mbr.decode(candidates, utilities.chrf(aggregate))) for aggregate in (False, True))
    loss = []
    for one, a, b in zip(candidates, exact, quick, strict=True):
        expected = utilities.chrf().expected(None, one.texts, one.weights(None))
        loss.append(a.utility - expected[one.texts.index(b.sentence.hypotheses[0].text)])
    assert min(loss) >= -1e-9 and np.mean(loss) < 1.0  # points of chrF, of about 35


def test_comet_is_asked_for_every_pair_with_its_source():
    class Stub:
        name = "stub"

        def scores(self, sources, hypotheses, references):
            assert set(sources) == {"source 0"}
            return np.array(
                [len(set(h.split()) & set(r.split())) / 10 for h, r in zip(hypotheses, references, strict=True)]
            )

    log = [sentence(0, hypothesis("a b c", -1.0), hypothesis("a b", -2.0), hypothesis("a b c d", -3.0))]
    utility = utilities.Comet(Stub())
    (choice,) = mbr.decode(mbr.candidates_of([log], ["x"]), utility)
    assert choice.sentence.hypotheses[0].text == "a b c d" and choice.utility == pytest.approx(
        100 * (0.3 + 0.2 + 0.4) / 3
    )
    np.testing.assert_allclose(utility.against("source 0", ["a", "b"], "b c"), [0, 10])
    with pytest.raises(UserError, match="needs the sources"):
        utility.against(None, ["a"], "a")


def test_a_mean_of_utilities_is_one_of_the_expectations():
    log = random_log(12)
    chrf, bleu = utilities.chrf(), utilities.bleu()
    mean = utilities.Sum({chrf: 3, bleu: 1})
    assert mean.signature == "0.75 chrF2 + 0.25 BLEU|tok:13a"
    for one, choice in zip(candidates := mbr.candidates_of([log], ["x"]), mbr.decode(candidates, mean), strict=True):
        parts = [u.expected(None, one.texts, one.weights(None)) for u in (chrf, bleu)]
        expected = 0.75 * parts[0] + 0.25 * parts[1]
        assert choice.utility == pytest.approx(max(expected))
        assert choice.sentence.hypotheses[0].text == one.texts[int(expected.argmax())]
        parts = [u.against(None, one.texts, "ein mann") for u in (chrf, bleu)]
        np.testing.assert_allclose(mean.against(None, one.texts, "ein mann"), 0.75 * parts[0] + 0.25 * parts[1])


# --- fits ---


def separable(right_is_probable):
    """Per sentence a cluster of two similar texts and a text of its own; the right one of them has nearly all of p."""
    log = []
    for i in range(5):
        cluster = [hypothesis(f"aaaa bbbb cccc {i}", -4.0), hypothesis(f"aaaa bbbb cccd {i}", -4.5)]
        alone = hypothesis(f"xxxx yyyy zzzz {i}", -1.0)
        log.append(sentence(i, *cluster, alone, target=(alone if right_is_probable else cluster[0]).text))
    return log


def test_a_fit_trusts_the_model_where_it_is_right_and_not_where_it_is_wrong():
    for right, low in ((True, True), (False, False)):
        log = separable(right)
        found = mbr.fit(mbr.candidates_of([log], ["x"]), [s.target for s in log], utilities.chrf())
        assert (found.temperature < 4) == low
        rows = {row["weights"]: row["utility"] for row in found.rows}
        assert rows["uniform"] == pytest.approx(rows["100"]) and rows["0.1"] == pytest.approx(rows["most probable"])
        assert rows["best of all"] == pytest.approx(100) == pytest.approx(rows[f"{found.temperature:.4g}"])


def test_the_fitted_utility_is_that_of_the_decisions():
    log = random_log(11, sentences=20)
    references = [s.target for s in log]
    candidates = mbr.candidates_of([log], ["x"])
    found = mbr.fit(candidates, references, utilities.chrf())
    for name, temperature in (("uniform", None), ("1", 1.0), ("10", 10.0)):
        texts = [c.sentence.hypotheses[0].text for c in mbr.decode(candidates, utilities.chrf(), temperature)]
        expected = np.mean([CHRF().sentence_score(t, [r]).score for t, r in zip(texts, references, strict=True)])
        assert {row["weights"]: row["utility"] for row in found.rows}[name] == pytest.approx(expected)


def test_a_fit_is_written_and_read(tmp_path):
    rows = [{"weights": "uniform", "utility": 60.0, "difference": 0.0, "standard error": 0.0}]
    found = Fit(2.5, utilities.chrf().signature, 7, rows)
    write_fit(found, tmp_path / "mbr.json")
    assert read_fit(tmp_path / "mbr.json") == read_mbr(tmp_path / "mbr.json") == found
    assert mbr.load_temperature(tmp_path / "mbr.json", utilities.chrf()) == 2.5
    with pytest.raises(UserError, match=r"was fitted for the utility chrF2, not BLEU\|tok:13a"):
        mbr.load_temperature(tmp_path / "mbr.json", utilities.bleu())


ROW = {"weights": "2", "utility": 60.0, "difference": 0.1, "standard error": 0.1}
GOOD = {
    "format": "labo-mbr", "version": 1, "utility": "chrF2", "temperature": 2.0, "sentences": 7, "tried": [ROW]
}  # fmt: skip


def test_a_whole_file_of_a_fit(tmp_path):
    """The one that `test_broken_files_of_a_fit` damages."""
    (tmp_path / "mbr.json").write_text(json.dumps(GOOD))
    assert mbr.load_temperature(tmp_path / "mbr.json", utilities.chrf()) == 2


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{", "[" * 100000, '{"format": "labo-calibration", "version": 1}',
        *(json.dumps({**GOOD, "temperature": value}) for value in (0, -1, "x", None, [])),
        json.dumps({**GOOD, "temperature": math.nan}), json.dumps({**GOOD, "temperature": math.inf}),
        json.dumps({**GOOD, "version": 2}), json.dumps({k: v for k, v in GOOD.items() if k != "utility"}),
        json.dumps({**GOOD, "tried": [{**ROW, "utility": "x"}]}), json.dumps({**GOOD, "tried": 3}),
    ],
)  # fmt: skip
def test_broken_files_of_a_fit(tmp_path, content):
    (tmp_path / "mbr.json").write_text(content)
    with pytest.raises(UserError, match=r"mbr\.json"):
        mbr.load_temperature(tmp_path / "mbr.json", utilities.chrf())


# --- the command ---


def run(capsys, *arguments):
    try:
        code = main(["mbr", *map(str, arguments)])
    except SystemExit as end:  # argparse's
        code = end.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_its_output_is_a_log_of_the_chosen_hypotheses(write, tmp_path, capsys):
    log = random_log(1)
    code, out, err = run(capsys, write("log", log), "--report", tmp_path / "report.tsv")
    assert code == 0 and "6 sentences, " in err
    found = parse_generate_log(out, "out")
    choices = list(mbr.decode(mbr.candidates_of([log], ["x"]), utilities.chrf()))
    assert [s.hypotheses[0].text for s in found] == [c.sentence.hypotheses[0].text for c in choices]
    assert [(s.id, s.source, s.target) for s in found] == [(s.id, s.source, s.target) for s in log]
    for mine, whole in zip(found, log, strict=True):
        assert mine.hypotheses[0] in whole.hypotheses  # with its scores
    rows = [line.split("\t") for line in (tmp_path / "report.tsv").read_text().splitlines()]
    assert rows[0] == ["id", "candidates", "texts", "rank", "weight", "utility"] and len(rows) == 7
    assert [float(row[5]) for row in rows[1:]] == pytest.approx([c.utility for c in choices], abs=1e-4)
    assert run(capsys, tmp_path / "log", "--report", tmp_path / "report.json", "--json")[0] == 0
    exact, rounded = read_mbr(tmp_path / "report.json"), read_mbr(tmp_path / "report.tsv")
    assert [row["rank"] for row in exact] == [c.rank for c in choices]
    for one, other in zip(exact, rounded, strict=True):
        assert other == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1]", '[{"id": 1}]', "id\tcandidates\n1\t2\n", "id\n1\t2\n", "[" * 100000,
     "id\tcandidates\ttexts\trank\tweight\tutility\n0\t7\t3\t1\t–\t3\n"],
)  # fmt: skip
def test_damaged_rows_of_choices_are_one_line(tmp_path, text):
    (tmp_path / "choices.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"choices\.tsv: .*labo mbr --report") as error:
        read_choices(tmp_path / "choices.tsv")
    assert "\n" not in str(error.value)


def test_the_other_commands_read_it(write, tmp_path, capsys):
    _, out, _ = run(capsys, write("log", random_log(1)))
    (tmp_path / "mbr.txt").write_text(out, encoding="utf-8")
    reference = tmp_path / "ref"
    reference.write_text("".join(f"{s.target}\n" for s in random_log(1)), encoding="utf-8")
    systems = ["--system", f"a={tmp_path / 'log'}", "--system", f"b={tmp_path / 'mbr.txt'}"]
    for command in ("score", "compare"):
        assert main([command, "--reference", str(reference), *systems]) == 0
    assert main(["confidence", *systems]) == 0
    assert "b" in capsys.readouterr().out


def test_a_fit_and_its_use(write, tmp_path, capsys):
    file = tmp_path / "mbr.json"
    code, out, _ = run(capsys, write("valid", separable(True)), "--fit-temperature", file)
    assert code == 0 and out.startswith("weights\tutility\tdifference\tstandard error\nuniform\t")
    assert out.splitlines()[-1].startswith("# T = ") and json.loads(file.read_text())["sentences"] == 5
    code, out, _ = run(capsys, write("test", separable(True)), "--weights", "calibrated", "--calibration", file)
    assert code == 0 and [s.hypotheses[0].text[:4] for s in parse_generate_log(out, "x")] == ["xxxx"] * 5
    temperature = json.loads(file.read_text())["temperature"]
    assert run(capsys, tmp_path / "test", "--weights", "calibrated", "--temperature", temperature)[1] == out
    code, out, _ = run(capsys, tmp_path / "test")
    assert [s.hypotheses[0].text[:4] for s in parse_generate_log(out, "x")] == ["aaaa"] * 5
    code, out, _ = run(capsys, tmp_path / "valid", "--fit-temperature", file, "--json")
    assert code == 0 and json.loads(out)["temperature"] == temperature


def test_a_fit_to_references_of_a_file(write, tmp_path, capsys):
    """The T- lines favour the probable text, the file the other ones."""
    log = write("valid", separable(True))
    reference = tmp_path / "reference"
    reference.write_text("".join(f"aaaa bbbb cccc {i}\n" for i in range(5)))
    code, out, _ = run(capsys, log, "--fit-temperature", tmp_path / "f", "--reference", reference, "--json")
    assert code == 0 and json.loads(out)["temperature"] > 3
    reference.write_text("one line\n")
    code, _, err = run(capsys, log, "--fit-temperature", tmp_path / "f", "--reference", reference)
    assert code == 2 and "has 1 lines for 5 sentences" in err


def without(log, kind):
    return "".join(line + "\n" for line in log.read_text().splitlines() if not line.startswith(kind))


def test_logs_without_scores_have_uniform_weights_alone(write, capsys):
    log = write("log", random_log(2))
    _, expected, _ = run(capsys, log)
    log.write_text(without(log, "P-"))
    code, out, _ = run(capsys, log)
    texts = [[s.hypotheses[0].text for s in parse_generate_log(text, "x")] for text in (out, expected)]
    assert code == 0 and texts[0] == texts[1]
    code, _, err = run(capsys, log, "--weights", "model")
    assert code == 2 and "id 0: no P- lines" in err


def test_comet_by_the_command(write, monkeypatch, capsys):
    """A stub in place of the package, whose score is the share of common words, and none."""

    class Stub:
        def predict(self, data, **_):
            words = [(set(row["ref"].split()), set(row["mt"].split())) for row in data if row["src"] == "source 0"]
            return SimpleNamespace(scores=[len(r & m) / 10 for r, m in words])

    log = write("log", [sentence(0, hypothesis("a b c", -1.0), hypothesis("a b", -2.0), hypothesis("a b c d", -3.0))])
    package = ModuleType("comet")
    package.download_model = package.load_from_checkpoint = lambda name: Stub() if name == "cached" else "cached"
    monkeypatch.setitem(sys.modules, "comet", package)
    code, out, _ = run(capsys, log, "--utility", "comet")
    assert code == 0 and parse_generate_log(out, "x")[0].hypotheses[0].text == "a b c d"
    monkeypatch.setitem(sys.modules, "comet", None)  # as if it were not installed
    code, out, err = run(capsys, log, "--utility", "comet")
    assert (code, out) == (2, "") and "comet: not installed" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "LOG: none given"),
        (["nowhere"], "nowhere: No such file"),
        (["log", "--temperature", "2"], "--temperature: is for --weights calibrated"),
        (["log", "--temperature", "0"], "--temperature: is for --weights calibrated"),
        (["log", "--weights", "model", "--calibration", "x"], "--calibration: is for --weights calibrated"),
        (["log", "--weights", "calibrated"], "needs --temperature T or the --calibration FILE"),
        (["log", "--weights", "calibrated", "--temperature", "2", "--calibration", "x"], "one of them"),
        (["log", "--weights", "calibrated", "--temperature", "0"], "--temperature: 0.0 is out of range"),
        (["log", "--weights", "calibrated", "--temperature", "nan"], "--temperature: nan is out of range"),
        (["log", "--weights", "calibrated", "--calibration", "nowhere"], "nowhere: No such file"),
        (["log", "--weights", "calibrated", "--calibration", "log"], "log: no file of `labo mbr --fit-temperature`"),
        (["log", "--utility", "bleu", "--tokenize", "none such"], "--tokenize: none such: unknown"),
        (["no-targets", "--fit-temperature", "f"], "no-targets: has no T- lines"),
        (["--path", "ckpt"], "--data: missing"),
        (["--fast", "dir"], "--data: missing"),
        (["log", "--fast", "dir", "--data", "data"], "log: a log beside --fast"),
        (["--fast", "dir", "--data", "data", "--epsilon-sampling", "0.02"], "--epsilon-sampling: the engine cannot"),
        (["--fast", "dir", "--data", "data", "--min-p", "0.02"], "--min-p: the engine cannot"),
        (["--fast", "dir", "--data", "data", "--samples", "0"], "--samples: 0: must be at least 1"),
        (
            ["--fast", "dir", "--data", "data", "--nbest", "2", "--sampling-topk", "2"],
            "--sampling-topk: is a way to draw",
        ),
        (["--fast", "dir", "--data", "d", "--sampling-topk", "2", "--sampling-topp", "0.5"], "both given"),
        (["--fast", "dir", "--data", "d", "--sampling-topk", "1"], "--sampling-topk: 1: must be at least 2"),
        (["--fast", "dir", "--data", "d", "--sampling-topp", "1.5"], "--sampling-topp: 1.5: must be above 0"),
        (
            ["--fast", "dir", "--data", "d", "--fit-temperature", "f"],
            "--fit-temperature: needs candidates in LOG files",
        ),
        (["log", "--utility", "meteor"], "--utility: meteor: name chrf, bleu, comet"),
        (["log", "--utility", "chrf,chrf"], "--utility: chrf,chrf: name"),
        (["log", "--utility", "chrf=x"], "'x' is no number"),
        (["log", "--utility", "chrf=1,bleu=0"], "--utility: chrf=1,bleu=0: 0.0 is out of range"),
        (["log", "--utility", "comet", "--aggregate"], "--aggregate: is for chrf and bleu"),
    ],
)
def test_what_is_refused(write, tmp_path, monkeypatch, capsys, arguments, message):
    log = write("log", random_log(3))
    (tmp_path / "no-targets").write_text(without(log, "T-"))
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_it_runs_without_torch_and_fairseq(write, tmp_path):
    program = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "fairseq"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from labo_fairseq.cli import main
"""
    log = write("log", random_log(4))
    line = [sys.executable, "-c", program + "sys.exit(main())", "mbr", str(log), "--weights", "model"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(parse_generate_log(done.stdout, "x")) == 6


# --- straight from a model ---


@pytest.fixture(scope="module")
def exported(checkpoints, tiny_bin, tmp_path_factory, run_cli):
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install labo_fairseq[fast]")
    folder = tmp_path_factory.mktemp("exported") / "fast"
    done = run_cli("labo", "export", "--ctranslate2", checkpoints[0], "--data", tiny_bin, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


ENGINE = ["--threads", 1, "--max-len-a", 1.2, "--max-len-b", 5, "--tokenizer", "moses"]


@pytest.mark.slow
def test_the_fast_engine_gives_what_its_log_gives(exported, tiny_bin, run_cli, tmp_path):
    """The same seed draws the same samples in `labo translate --sampling`; an n-best list is the same anyway."""
    for many, few in (
        (
            ["--sampling", "--nbest", 12, "--sampling-topk", 6, "--seed", 5],
            ["--samples", 12, "--sampling-topk", 6, "--seed", 5],
        ),
        (["--beam", 6, "--nbest", 6], ["--nbest", 6]),
    ):
        done = run_cli("labo", "translate", exported, "--data", tiny_bin, *many, *ENGINE)
        assert done.returncode == 0, done.stderr
        (tmp_path / "log").write_text(done.stdout, encoding="utf-8")
        logs = []
        for source in ([tmp_path / "log"], ["--fast", exported, "--data", tiny_bin, *few, *ENGINE]):
            done = run_cli("labo", "mbr", *source, "--weights", "calibrated", "--temperature", 4)
            assert done.returncode == 0, done.stderr
            logs.append(parse_generate_log(done.stdout, "x"))
        for mine, theirs in zip(*logs, strict=True):
            assert (mine.id, mine.source, mine.target) == (theirs.id, theirs.source, theirs.target)
            (a,), (b,) = mine.hypotheses, theirs.hypotheses
            assert a.tokens == b.tokens and a.score == pytest.approx(b.score, abs=1e-3)
            assert a.positional_scores == pytest.approx(b.positional_scores, abs=1e-3)


def test_every_flag_of_the_engine_reaches_it(monkeypatch, capsys):
    """As of `labo translate`, in the order of Model's parameters."""
    given = []

    def model(*arguments):
        given.extend(arguments)
        raise UserError("enough")

    monkeypatch.setattr("labo_fairseq.decoding.translate.Model", model)
    flags = ["--threads", 3, "--seed", 4, "--device", "auto", "--compute-type", "int8"]
    assert run(capsys, "--fast", "dir", "--data", "data", *flags)[0] == 2
    assert given == ["dir", 3, 4, "auto", "int8"]


@pytest.mark.slow
def test_samples_of_the_engine_have_its_scores_and_its_seed(exported, tiny_bin, run_cli):
    def samples(*flags):
        done = run_cli("labo", "translate", exported, "--data", tiny_bin, "--sampling", "--nbest", 8, *ENGINE, *flags)
        assert done.returncode == 0, done.stderr
        return parse_generate_log(done.stdout, "x")

    one, same, other = samples(), samples(), samples("--seed", 2)
    assert one == same != other
    assert max(len({h.tokens for h in s.hypotheses}) for s in one) > 1
    for found in one:
        for h in found.hypotheses:
            assert h.score == pytest.approx(np.mean(h.positional_scores), abs=1e-4)


def test_log_probabilities_of_draws_are_the_models(exported, tiny_bin):
    from labo_fairseq.decoding.translate import Binaries, Model, Search

    model = Model(exported, 1)
    batch = list(Binaries(tiny_bin, "test", model.record))
    search = Search(nbest=10, max_len_b=20, sampling=True, sampling_topk=5)
    draws = model.draw(batch, search)
    scored = model.scored(batch, [[d.tokens for d in group] for group in draws], search)
    for group, translations in zip(draws, scored, strict=True):
        exact = {tuple(t.tokens): sum(t.log_probs) for t in translations}
        excess = [d.log_prob - exact[tuple(d.tokens)] for d in group if len(d.tokens) < 20]  # the others are cut
        assert np.ptp(excess) < 0.02 and min(excess) > -1e-3  # the same for all samples of a sentence


def test_straight_from_a_checkpoint(checkpoints, tiny_bin, run_cli, capfd):
    flags = ["--samples", 6, "--epsilon-sampling", 0.05, "--max-len-b", 20, "--", "-s", "de", "-t", "en", "--cpu"]
    done = run_cli("labo", "mbr", "--path", checkpoints[0], "--data", tiny_bin, *flags)
    assert done.returncode == 0, done.stderr
    found = parse_generate_log(done.stdout, "x")
    assert len(found) == 12 and all(len(s.hypotheses) == 1 and s.target for s in found)
    assert "12 sentences, 6.0 candidates each" in done.stderr.splitlines()[-1]
    done = run_cli("labo", "mbr", "--path", "nowhere.pt", "--data", tiny_bin, "--", "--cpu")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("labo mbr: fairseq-generate")


def test_reading_what_it_wrote_from_a_file(write):
    assert read_generate_log(write("log", random_log(6))) == random_log(6)
