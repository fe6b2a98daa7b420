"""labo inference-calibration on logs made by hand: literal numbers, and what it refuses."""

import gzip
import json

import pytest
from _analysis import entry, labo, write

# confidences 1/2, 1/4, 1; right, wrong, right; then 1/2 and 1/2, right and (after a missing token) right
LOG = entry(0, "a x c", target="a b c", positional=[-1, -2, 0, -3]) + entry(
    1, "a@@ c", target="a@@ b c", positional=[-1, -1, -0.1]
)


def table(done):
    assert done.returncode == 0, done.stderr
    names, *rows = (line.split("\t") for line in done.stdout.splitlines() if not line.startswith("#"))
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_numbers_are_the_literal_ones(tmp_path):
    log = write(tmp_path / "gen.txt", LOG)
    (row,) = json.loads(labo("inference-calibration", log, "--json").stdout)
    assert row["tokens"] == 5 and row["sentences"] == 2  # without the ends of the sentences
    assert row["accuracy"] == pytest.approx(4 / 5)
    assert row["confidence"] == pytest.approx((0.5 + 0.25 + 1 + 0.5 + 0.5) / 5)
    # bins: {0.25: wrong}, {0.5 three times: all right}, {1: right}
    assert row["ece"] == pytest.approx((0.25 + 3 * 0.5 + 0) / 5)
    assert row["signature"] == "infece|bins:15|unit:bpe|labels:ter|gap:own|n:5"


def test_the_columns_are_explained_below_the_table(tmp_path):
    out = labo("inference-calibration", write(tmp_path / "gen.txt", LOG)).stdout
    assert "# ece_calibrated_model, ece_calibrated_model_high: ece by chance of a perfectly calibrated model" in out
    assert "# brier" not in out  # no such column here


def test_as_in_the_released_code(tmp_path):
    """20 bins, and the token after a missing one is wrong."""
    log = write(tmp_path / "gen.txt", LOG)
    (row,) = table(labo("inference-calibration", log, "--bins", 20, "--after-gap", "wrong"))
    assert float(row["accuracy"]) == pytest.approx(3 / 5)
    assert float(row["ece"]) == pytest.approx((0.25 + abs(2 - 1.5)) / 5, abs=1e-4)
    assert row["signature"] == "infece|bins:20|unit:bpe|labels:ter|gap:wrong|n:5"


def test_several_logs_and_the_files(tmp_path):
    first = write(tmp_path / "one.txt", LOG)
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(LOG.encode()))
    rows = table(labo("inference-calibration", first, tmp_path / "two.txt.gz", "--out", tmp_path / "out"))
    assert [row["ece"] for row in rows] == [rows[0]["ece"]] * 2
    lines = (tmp_path / "out" / "inference-reliability.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:4] == ["when", "bin_low", "bin_high", "count"] and len(lines) == 1 + 2 * 15
    assert sum(int(line.split("\t")[3]) for line in lines[1:]) == 10
    assert (tmp_path / "out" / "inference-reliability.png").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        (entry(0, "ac", target="ac", positional=[-1, -1, -1]), "without --remove-bpe"),
        (entry(0, "a c", target="a c").replace("T-0\ta c\n", ""), "no T- lines"),
        ("\n".join(line for line in entry(0, "a c").splitlines() if not line.startswith("P-")) + "\n", "no P- lines"),
        (entry(0, "", target="a", positional=[-1]), "every translation is empty"),
        ("nothing here\n", "no H- lines"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, text, message):
    done = labo("inference-calibration", write(tmp_path / "gen.txt", text))
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1


CODES = "#version: 0.2\na b</w>\nc d\n"  # ab is one subword; cd, at the end of a word, is c@@ d


def words(number, hypothesis, text, target, positional):
    """Lines as of --remove-bpe --tokenizer moses: words in H-, detokenized text in D- and T-."""
    return entry(number, hypothesis, text, target=target, positional=positional)


def test_words_are_split_again_into_the_subwords_that_were_scored(tmp_path):
    """ab c@@ d, with confidences 1/2, 1/4 and 1; the reference is ab c@@ x: the last is wrong."""
    log = write(tmp_path / "gen.txt", words(0, "ab cd", "ab cd", "ab cx", [-1, -2, 0, -3]))
    codes, reference = write(tmp_path / "codes", CODES), write(tmp_path / "test.en", "ab c@@ x\n")
    flags = ["--bpe-codes", codes, "--reference", reference]
    (row,) = json.loads(labo("inference-calibration", log, *flags, "--json").stdout)
    subwords = write(tmp_path / "bpe.txt", entry(0, "ab c@@ d", target="ab c@@ x", positional=[-1, -2, 0, -3]))
    (wanted,) = json.loads(labo("inference-calibration", subwords, "--json").stdout)
    assert row["accuracy"] == pytest.approx(2 / 3) and row["signature"].split("|")[2] == "unit:bpe"
    assert {**row, "log": ""} == {**wanted, "log": ""}
    # without --reference the words of the T- lines are split, too
    (row,) = json.loads(labo("inference-calibration", log, "--bpe-codes", codes, "--json").stdout)
    assert {**row, "log": ""} == {**wanted, "log": ""}


def test_a_sentence_that_the_model_split_otherwise_is_left_out(tmp_path):
    """cd was one subword to the model: two scores and the end of the sentence for three subwords."""
    log = words(0, "ab cd", "ab cd", "ab cd", [-1, -2, -3]) + words(1, "ab", "ab", "ab", [-1, -3])
    codes = write(tmp_path / "codes", CODES)
    done = labo("inference-calibration", write(tmp_path / "gen.txt", log), "--bpe-codes", codes, "--json")
    assert json.loads(done.stdout)[0]["tokens"] == 1 and "1 of 2 sentences are left out" in done.stderr


def test_detokenized_targets_do_not_match_subwords(tmp_path):
    """--bpe subword_nmt --tokenizer moses: subwords in H-, text in D- and T-. Every token would count as wrong."""
    log = write(tmp_path / "gen.txt", entry(0, "ab c@@ d .", "abcd.", target="abcd.", positional=[-1, -2, 0, -1, -3]))
    done = labo("inference-calibration", log)
    assert done.returncode == 2 and "--reference bpe/test.XX" in done.stderr
    reference = write(tmp_path / "test.en", "ab c@@ d .\n")
    (row,) = json.loads(labo("inference-calibration", log, "--reference", reference, "--json").stdout)
    assert row["accuracy"] == 1 and row["tokens"] == 4


@pytest.mark.parametrize("codes", ["\n", "#version: 0.2\na b c\n", "ab\n", "{'json': [1, 2, 3]}\n"])
def test_merges_that_are_none(tmp_path, codes):
    log = write(tmp_path / "gen.txt", words(0, "ab cd", "ab cd", "ab cx", [-1, -2, 0, -3]))
    done = labo("inference-calibration", log, "--bpe-codes", write(tmp_path / "codes", codes))
    assert done.returncode == 2 and "is no merge of two subwords" in done.stderr


def test_bins_below_one(tmp_path):
    done = labo("inference-calibration", write(tmp_path / "gen.txt", LOG), "--bins", 0)
    assert done.returncode == 2 and "--bins" in done.stderr


def test_help_shows_an_example():
    for name in ("calibrate", "inference-calibration"):
        done = labo(name, "--help")
        assert done.returncode == 0 and f"labo {name} " in done.stdout.split("options:")[0]
