"""What users of such tools reported, as small inputs with the values that sacreBLEU 2.6.0 gives or that follow by hand.

golden/reported holds the inputs, none of which is a real person's text.
"""

import json
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from labo_fairseq.cli import main
from labo_fairseq.records import messages
from labo_fairseq.records.generate_log import read_generate_log

CASES = Path(__file__).parents[1] / "golden/reported"
# references, translations, further flags, BLEU, a word that standard error must hold ("" for silence)
SCORES = [
    ("zh.ref", "zh.hyp", ["--tokenize", "zh"], 73.0, ""),
    ("zh.ref", "zh.hyp", ["--language", "zh"], 73.0, "--tokenize zh"),
    ("zh.ref", "zh.hyp", [], 0.0, "hardly any spaces"),
    ("zh.ref", "zh.ref", ["--language", "zh"], 100, "--tokenize zh"),
    ("ja.ref", "ja.ref", ["--tokenize", "char"], 100, ""),
    ("ja.ref", "ja.ref", [], 0.0, "hardly any spaces"),
    ("th.ref", "th.hyp", ["--tokenize", "char"], 88.2, ""),
    ("th.ref", "th.hyp", ["--language", "th"], 88.2, "--tokenize char"),
    ("two.ref1 two.ref2", "two.hyp", [], 100, ""),
    ("tokenized.ref", "detokenized.hyp", [], 100, "tokenized.ref"),
    ("pieces.ref", "plain.hyp", [], 100, "pieces.ref"),
    ("pieces_half.ref", "pieces_half.hyp", [], 100, "pieces_half"),
    ("at.txt", "at.txt", [], 100, None),
    ("bom.ref", "bom.ref", [], 100, "byte order mark"),
]


@pytest.fixture(autouse=True)
def nothing_said_yet():
    """Each line is said once in a process."""
    messages.note.cache_clear()
    messages.warn.cache_clear()


def score(references, system, *flags):
    paths = [str(CASES / name) for name in references.split()]
    line = ["score", "--reference", *paths, "--system", f"a={CASES / system}", "--metrics", "bleu", "--json", *flags]
    return main(line)


@pytest.mark.parametrize(("references", "system", "flags", "bleu", "said"), SCORES)
def test_bleu(capsys, references, system, flags, bleu, said):
    """To the digit that the report has; a value that says little is never given without a word."""
    assert score(references, system, *flags) == 0
    output = capsys.readouterr()
    (scores,) = json.loads(output.out)["systems"]
    assert scores["scores"][0]["value"] == pytest.approx(bleu, abs=0.05)
    if said is not None:
        assert (said in output.err) if said else not output.err


@pytest.mark.parametrize("tokenize", ["zh", "char", "intl"])
@pytest.mark.parametrize("system", ["zh.hyp", "zh.hyp2"])
def test_bleu_is_sacrebleus(capsys, tokenize, system):
    assert score("zh.ref", system, "--tokenize", tokenize) == 0
    (scores,) = json.loads(capsys.readouterr().out)["systems"]
    lines = [(CASES / name).read_text(encoding="utf-8").splitlines() for name in (system, "zh.ref")]
    expected = BLEU(tokenize=tokenize).corpus_score(lines[0], [lines[1]]).score
    assert scores["scores"][0]["value"] == pytest.approx(expected)


def test_a_difference_of_zero_has_p_1(capsys):
    line = ["score", "--reference", str(CASES / "p_ref"), "--significance", "both", "--metrics", "bleu", "--json"]
    assert main([*line, "--system", f"a={CASES / 'p_a'}", "--system", f"b={CASES / 'p_b'}"]) == 0
    second = json.loads(capsys.readouterr().out)["systems"][1]["scores"][0]["significance"]
    assert second["difference"] == 0 and second["p_bootstrap"] == second["p_randomization"] == 1


@pytest.mark.parametrize("name", ["c.log", "c2.log"])
def test_constraints_that_are_numbers_are_no_confidences(name):
    (sentence,) = read_generate_log(CASES / name)
    assert sentence.hypotheses[0].confidence is None


def test_a_log_with_a_message_inside_is_refused(capsys):
    assert score("broken_ref", "broken_min.txt") == 2
    assert "keep messages out of the log" in capsys.readouterr().err


def test_a_log_with_a_byte_order_mark_is_read(capsys):
    assert score("bom_ref", "bom_min.txt") == 0
    assert "byte order mark" in capsys.readouterr().err
