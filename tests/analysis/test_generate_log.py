import gzip

import pytest
from _analysis import entry, write

from labo_fairseq.errors import UserError
from labo_fairseq.records.generate_log import is_generate_log, read_generate_log, shows_subwords

NBEST = """\
2026-01-02 03:04:05 | INFO | fairseq_cli.generate | {'_name': None, 'common': {'H-0': 1}}
S-1\tein Hund .
T-1\ta dog .
W-1\t0.125\tseconds
C-1\ta
H-1\t-0.5\ta dog .
D-1\t-0.5\ta dog.
P-1\t-0.1000 -0.2000 -0.3000 -1.4000
A-1\t0-0 1-1
I-1\t3
E-1_0\ta a a
H-1\t-1.25\tone dog
D-1\t-1.25\tone dog
P-1\t-1.0000 -1.5000 -1.2500
A-1\t0-1
S-0\teine Katze
T-0\ta cat
H-0\t-3.0e-01\ta cat
D-0\t-3.0e-01\ta cat
P-0\t-0.3000 -0.3000 -0.3000
A-0\t0-0
H-0\t-9.5\t
D-0\t-9.5\t
P-0\t-9.5000
A-0\t
2026-01-02 03:04:06 | INFO | fairseq_cli.generate | Translated 2 sentences
Generate test with beam=5: BLEU4 = 100.00, 100.0/100.0/100.0/100.0 (BP=1.000, ratio=1.000, syslen=5, reflen=5)
"""


def read(tmp_path, text):
    return read_generate_log(write(tmp_path / "gen.txt", text))


def test_every_field_of_an_nbest_log(tmp_path):
    cat, dog = read(tmp_path, NBEST)
    assert (dog.id, dog.source, dog.target) == (1, "ein Hund .", "a dog .")
    best, second = dog.hypotheses
    assert best.score == -0.5 and best.tokens == ("a", "dog", ".") and best.text == "a dog."
    assert best.positional_scores == (-0.1, -0.2, -0.3, -1.4)
    assert second.score == -1.25 and second.tokens == ("one", "dog")
    assert (best.alignment, second.alignment, cat.hypotheses[1].alignment) == ("0-0 1-1", "0-1", "")
    assert best.confidence is None  # C- is a constraint here
    assert (cat.id, cat.hypotheses[0].score) == (0, -0.3)
    assert cat.hypotheses[1].tokens == () and cat.hypotheses[1].score == -9.5


def test_order_of_lines_does_not_matter(tmp_path):
    shuffled = "\n".join(sorted(NBEST.splitlines(), key=lambda line: line[::-1])) + "\n"
    grouped = "\n".join(sorted(NBEST.splitlines(), key=lambda line: line[:1])) + "\n"
    assert read(tmp_path, grouped) == read(tmp_path, NBEST)
    # turned round, the j-th H- and the j-th P- no longer belong together, but nothing is lost and the best stays first
    assert [s.hypotheses[0].score for s in read(tmp_path, shuffled)] == [-0.3, -0.5]


def test_gzip_is_told_by_content(tmp_path):
    path = tmp_path / "gen.txt"
    path.write_bytes(gzip.compress(NBEST.encode()))
    assert read_generate_log(path) == read(tmp_path, NBEST)


def test_only_line_feeds_end_lines(tmp_path):
    odd = "a\u2028b\u0085c\x0bd\re"
    (sentence,) = read(tmp_path, f"H-0\t-1.0\t{odd}\nD-0\t-1.0\t{odd}\n")
    assert sentence.hypotheses[0].text == odd


def test_windows_line_ends_and_trimmed_empty_sentences(tmp_path):
    (sentence,) = read(tmp_path, "S-0\r\nT-0\ta\r\nH-0\t-1.0\ta\r\nP-0\t-0.5 -0.5\r\n")
    assert sentence.source == "" and sentence.target == "a"
    assert sentence.hypotheses[0].tokens == ("a",) and sentence.hypotheses[0].text is None


def test_hypothesis_lines_alone_are_enough(tmp_path):
    (sentence,) = read(tmp_path, "H-0\t-1.0\ta b\n")
    assert sentence.source is None and sentence.target is None
    assert sentence.hypotheses[0].positional_scores is None


def test_subwords_are_seen(tmp_path):
    assert shows_subwords(read(tmp_path, entry(0, "a@@ b")))
    assert shows_subwords(read(tmp_path, entry(0, "▁a b")))
    assert not shows_subwords(read(tmp_path, entry(0, "a @ b")))


def test_scores_are_counted_only_where_subwords_are_visible(tmp_path):
    read(tmp_path, entry(0, "removed bpe", positional=[-1.0] * 7))
    with pytest.raises(UserError, match=r"gen.txt: P-1 has 4 scores for 1 tokens"):
        read(tmp_path, entry(0, "a@@ b") + entry(1, "b", positional=[-1.0] * 4))


def test_content_tells_a_log_from_text():
    assert is_generate_log(NBEST) and is_generate_log("noise\nH-0\t-1\ta\n")
    assert not is_generate_log("H-bomb\nT-1 ligand\n")


LINES = entry(0, "a b") + entry(1, "c")


def test_confidences_of_each_hypothesis(tmp_path):
    log = "S-0\ta\nH-0\t-1.0\ta\nC-0\t0.75\nH-0\t-2.0\tb\nC-0\t0.5\nS-1\tb\nH-1\t-0.1\tc\nC-1\t1\n"
    first, second = read(tmp_path, log)
    assert [h.confidence for h in first.hypotheses] == [0.75, 0.5] and second.hypotheses[0].confidence == 1
    with pytest.raises(UserError, match=r"gen.txt:3: C-0: 1.5 is no probability"):
        read(tmp_path, log.replace("0.75", "1.5"))
    with pytest.raises(UserError, match=r"gen.txt:8: C-1: 'x' is not a number"):
        read(tmp_path, log.replace("C-1\t1", "C-1\tx"))
    with pytest.raises(UserError, match=r"no C- line for id 1"):
        read(tmp_path, log.replace("C-1\t1\n", ""))


def test_two_logs_of_hypothesis_lines_alone_are_seen(tmp_path):
    read(tmp_path, "H-0\t-1.0\ta\nH-0\t-1.0\ta\nH-1\t-1.0\ta\n")  # sampling may draw the same sentence twice
    with pytest.raises(UserError, match=r"gen.txt:3: H- lines come twice for ids 0, 1: give one log alone"):
        read(tmp_path, "H-0\t-1.0\ta\nH-1\t-1.0\tb\n" * 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(0, "a") + entry(3, "b"), "gen.txt: no sentence ids 1, 2 (ids run to 3): the log is not complete"),
        (entry(9, "a"), "no sentence ids 0, 1, 2, 3, 4 and 4 more (ids run to 9)"),
        ("H-999999999\t-1.0\ta\n", "no sentence ids 0, 1, 2, 3, 4 and 999999994 more"),
        (LINES + LINES, "gen.txt:11: S- lines come twice for ids 0, 1"),
        (LINES.replace("H-1", "X-1"), "gen.txt: no H- line for id 1"),
        (LINES.replace("T-0", "X-0"), "gen.txt: no T- line for id 0"),
        (LINES.replace("P-1", "X-1"), "gen.txt: no P- line for id 1"),
        (LINES[: LINES.index("P-1") + 6], "gen.txt:10: the last line has no line end: the file is cut"),
        (LINES + "S-2", "gen.txt:11: the last line has no line end: the file is cut"),
        (LINES.replace("H-1\t-0.5\t", "H-1\t"), "gen.txt:8: H-1: 'c' is not a number"),
        (LINES.replace("H-1\t-0.5\t", "H-1\tnan\t"), "gen.txt:8: H-1: 'nan' is not a number"),
        (LINES.replace("H-1\t-0.5\t", "H-1 -0.5 "), "gen.txt:8: no tab after H-1"),
        (LINES.replace("-0.2500 -0.2500", "-0.2500 -0.25oo"), "gen.txt:5: P-0: '-0.25oo' is not a number"),
        (LINES.replace("D-1\t-0.5", "D-1\t-0.6"), "gen.txt:9: D-1 has another score than H-1 in line 8"),
        (LINES + "H-1\t-0.7\tc\n", "gen.txt: id 1: 2 H- lines but 1 D- lines"),
        ("S-0\ta\nT-0\tb\n", "gen.txt: no H- lines"),
        ("", "gen.txt: no H- lines"),
    ],
)
def test_bad_logs_are_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_encoding_names_line_and_byte(tmp_path):
    path = tmp_path / "gen.txt"
    path.write_bytes(b"S-0\tab\nH-0\t-1.0\tcaf\xe9\n")
    with pytest.raises(UserError, match=r"gen.txt:2: not UTF-8 \(byte 19 of the file\)"):
        read_generate_log(path)


def test_damaged_gzip_and_missing_file(tmp_path):
    path = tmp_path / "gen.txt.gz"
    path.write_bytes(gzip.compress(NBEST.encode())[:-20])
    with pytest.raises(UserError, match="damaged gzip"):
        read_generate_log(path)
    with pytest.raises(UserError, match="No such file"):
        read_generate_log(tmp_path / "none.txt")
