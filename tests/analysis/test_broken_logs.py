"""Logs into which standard error has written, constraints, numbers that are no log-probabilities, byte order marks."""

import gzip
import math

import pytest
from _analysis import entry, labo, write

from labo_fairseq.errors import UserError
from labo_fairseq.records.generate_log import parse_generate_log, read_generate_log

GOOD = entry(0, "the cat sat on the mat", source="x")
WARNING = "/usr/lib/x.py:1: UserWarning: deprecated\n  warnings.warn(\n"


def broken(place, junk=WARNING, log=GOOD):
    """A log with junk in the middle of the text of a line of this kind."""
    return "".join(
        line.replace(" sat ", f" sat{junk} ") if line.startswith(place) else line
        for line in log.splitlines(keepends=True)
    )


MESSAGES = [
    WARNING,
    "2026-01-02 03:04:05 | WARNING | fairseq | something\n",
    "huggingface/tokenizers: The current process just got forked\n",
    "[W socket.cpp:601] The server socket cannot be reached\n",
    " <- a message without an end of line",
    "WARNING:root:no line end here",
]


@pytest.mark.parametrize("junk", MESSAGES)
@pytest.mark.parametrize("place", ["H-0", "D-0"])
def test_a_message_inside_a_sentence_is_never_scored(place, junk):
    with pytest.raises(UserError, match="keep messages out of the log"):
        parse_generate_log(broken(place, junk), "gen.txt")


@pytest.mark.parametrize("junk", MESSAGES[1:4])
@pytest.mark.parametrize("place", ["S-0", "T-0"])
def test_a_message_that_breaks_a_source_or_a_target_is_refused(place, junk):
    log = entry(0, "a", source="the cat sat on it", target="the cat sat on it")
    with pytest.raises(UserError, match=r"gen.txt:\d: 'on it' stands among the lines of id 0"):
        parse_generate_log(broken(place, junk, log), "gen.txt")


def test_the_last_line_of_a_sentence_broken_in_two_is_refused():
    log = "S-0\tx\nH-0\t-1.0\tthe cat sat on the mat\nD-0\t-1.0\tthe cat sat on the mat\n"
    for junk in MESSAGES:
        with pytest.raises(UserError):
            parse_generate_log(broken("D-0", junk, log), "gen.txt")


def test_the_case_of_a_warning_inside_a_hypothesis(tmp_path):
    scores = "P-0\t-1 -1 -1 -1 -1 -1 -1\n"
    log = "S-0\tx\nH-0\t-1.0\tthe cat sat on the mat\nD-0\t-1.0\tthe cat sat" + WARNING + " on the mat\n" + scores
    write(tmp_path / "broken", log)
    write(tmp_path / "ref", "the cat sat on the mat\n")
    result = labo("score", "--reference", "ref", "--system", "a=broken", cwd=tmp_path)
    assert result.returncode == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1
    assert "broken:" in result.stderr and "generate again" in result.stderr


@pytest.mark.parametrize(
    ("hypothesis", "text"),
    [
        ("it &apos;s a well @-@ known &quot; thing &quot; , yes", 'it\'s a well-known "thing", yes'),
        ("a &amp; b &#124; c &#91; d &#93;", "a & b | c [d]"),
        ("l@@ ow@@ er case", "lower case"),
        ("▁lo w er ▁case", "lower case"),
        ("ein @@ literal", "ein @@ literal"),
        ("今天 天气 很 好", "今天天气很好"),
        ("464 3797", "The cat"),  # --bpe gpt2
        ("the Ġcat Ġsat", "the cat sat"),
    ],
)
def test_what_detokenizing_changes_is_no_damage(hypothesis, text):
    (sentence,) = parse_generate_log(entry(0, hypothesis, text), "gen.txt")
    assert sentence.hypotheses[0].text == text


def test_whole_messages_between_lines_are_passed_over():
    first, *rest = GOOD.splitlines(keepends=True)
    for junk in (WARNING[: WARNING.index("\n") + 1], WARNING, MESSAGES[1], "\n", " 50%|███  | 1/2 [00:01<00:01]\n"):
        assert parse_generate_log(first + junk + "".join(rest), "gen.txt") == parse_generate_log(GOOD, "gen.txt")
    # a line of another kind is nobody's between two sentences
    assert len(parse_generate_log(GOOD + "TBB Warning: no task\n" + entry(1, "b"), "gen.txt")) == 2


def test_a_sentence_about_warnings_is_translated():
    text = "x.py:1: UserWarning: deprecated"
    (sentence,) = parse_generate_log(entry(0, text, source=text, target=text), "gen.txt")
    assert sentence.hypotheses[0].text == text


@pytest.mark.parametrize("value", ["-inf", "inf", "nan", "0.5", "1e-3", "-1e999"])
@pytest.mark.parametrize("kind", ["H", "D", "P"])
def test_what_is_no_log_probability_is_refused(kind, value):
    log = {"H": "-1.0", "D": "-1.0", "P": "-1.0 -1.0"} | {kind: f"{value} -1.0" if kind == "P" else value}
    text = f"H-0\t{log['H']}\ta\nD-0\t{log['D']}\ta\nP-0\t{log['P']}\n"
    with pytest.raises(UserError, match=rf"gen.txt:\d: {kind}-0: "):
        parse_generate_log(text, "gen.txt")


@pytest.mark.parametrize("value", ["0.0", "-0.0", "0.0001", "-99.5"])
def test_rounding_above_0_is_0(value):
    (sentence,) = parse_generate_log(f"H-0\t-1.0\ta\nP-0\t{value} -1.0\n", "gen.txt")
    assert sentence.hypotheses[0].positional_scores[0] == min(float(value), 0)


CONSTRAINTS = [
    "S-0\tx\nC-0\t6\nH-0\t-1.0\tsaw 6 cats\n",
    "S-0\tx\nC-0\t1\nC-0\tcat\nH-0\t-1.0\tsaw 1 cat\n",
    "S-0\tx\nC-0\t0.5\nH-0\t-1.0\tsaw 0.5 cats\n",  # would do as a confidence, but for its place
    "S-0\tx\nW-0\t0.1\tseconds\nC-0\t1\nC-0\t0\nH-0\t-1.0\t1 0\nD-0\t-1.0\t1 0\nP-0\t-1.0 -1.0 -1.0\n",
    "S-0\tx\nH-0\t-1.0\tsaw\nS-1\ty\nC-1\t7\nC-1\t8\nH-1\t-1.0\t7 8\n",  # not every sentence has some
    "C-0\t1\nH-0\t-1.0\tsaw 1 cat\n",
    "C-0\tcat\nC-0\t1\nH-0\t-1.0\tsaw 1 cat\n",
]


@pytest.mark.parametrize("log", CONSTRAINTS)
def test_constraints_are_no_confidences(log):
    assert all(sentence.hypotheses[0].confidence is None for sentence in parse_generate_log(log, "gen.txt"))


def test_constraints_beside_confidences():
    log = "S-0\tx\nC-0\t1\nH-0\t-1.0\ta 1\nP-0\t-1 -1 -1\nC-0\t0.2500\n"
    (sentence,) = parse_generate_log(log, "gen.txt")
    assert sentence.hypotheses[0].confidence == 0.25
    # sorted by kind: C- before H-, but S- behind them
    (again,) = parse_generate_log("C-0\t0.2500\nH-0\t-1.0\ta 1\nP-0\t-1 -1 -1\nS-0\tx\n", "gen.txt")
    assert again.hypotheses[0].confidence == 0.25


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("places", [(0,), (0, 1), (0, 0), (1,)])
def test_byte_order_marks_are_left_out_with_a_note(tmp_path, capsys, packed, places):
    lines = ["S-0\tx\n", "H-0\t-1.0\ta b\n"]
    for place in places:
        lines[place] = "\ufeff" + lines[place]
    data = "".join(lines).encode()
    path = tmp_path / f"log{packed}{places}"
    path.write_bytes(gzip.compress(data) if packed else data)
    (sentence,) = read_generate_log(path)
    assert sentence.source == "x" and sentence.hypotheses[0].tokens == ("a", "b")
    assert capsys.readouterr().err == f"note: {path}: byte order mark left out\n"


def test_a_mark_inside_a_line_is_text(tmp_path):
    (sentence,) = read_generate_log(write(tmp_path / "log", "H-0\t-1.0\ta\ufeffb\n"))
    assert sentence.hypotheses[0].tokens == ("a\ufeffb",)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(tmp_path, codec):
    (tmp_path / "log").write_bytes("\ufeffH-0\t-1.0\tä\n".encode(codec))
    with pytest.raises(UserError, match="UTF-16, not UTF-8: convert"):
        read_generate_log(tmp_path / "log")


def test_a_produced_unknown_word_is_right_where_the_reference_has_one(tmp_path):
    from labo_fairseq.analysis.produced_tokens import produced_tokens

    pairs = [("a <unk> c", "a <<unk>> c"), ("<unk> b", "a b"), ("<unk> <unk>", "<<unk>> <<unk>>"), ("x y", "<<unk>> y")]
    log = "".join(entry(i, hypothesis, target=target) for i, (hypothesis, target) in enumerate(pairs))
    _, correct, sentence, _ = produced_tokens(write(tmp_path / "log", log))
    assert [correct[sentence == i].tolist() for i in range(4)] == [
        [True, True, True], [False, True], [True, True], [False, True],
    ]  # fmt: skip


def test_confidence_of_a_low_score_is_finite():
    (sentence,) = parse_generate_log("H-0\t-1.0\ta\nP-0\t-1000.0 -1.0\n", "gen.txt")
    assert math.isfinite(sentence.hypotheses[0].positional_scores[0])
