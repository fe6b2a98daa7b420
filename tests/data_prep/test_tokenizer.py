"""Our Moses tokenizer is tokenizer.perl, in every language that the script knows.

tokenizer_perl.json holds the script's own answers for made-up sentences, so that no Perl is needed here. Where
LABO_MOSES names a checkout of mosesdecoder the table is checked against the script, and so are random lines.
"""

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from labo_fairseq.data_prep import moses
from labo_fairseq.data_prep.moses import Moses
from sacremoses import MosesPunctNormalizer

from labo_fairseq.cli import main

TABLE = json.loads(Path(__file__).with_name("tokenizer_perl.json").read_text(encoding="utf-8"))["rows"]
LANGUAGES = sorted({language for language, _, _ in TABLE})
MOSES = os.environ.get("LABO_MOSES")
perl = pytest.mark.skipif(
    not (MOSES and shutil.which("perl")),
    reason="LABO_MOSES does not name a checkout of mosesdecoder, or there is no perl",
)


def script(language, lines, *flags):
    command = ["perl", f"{MOSES}/scripts/tokenizer/tokenizer.perl", "-q", *flags, "-l", language]
    done = subprocess.run(command, input="".join(f"{line}\n" for line in lines).encode(), capture_output=True)
    return done.stdout.decode().split("\n")[:-1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_tokens_are_the_scripts(language):
    tokenize = Moses(language).build()
    rows = [(sentence, tokens) for code, sentence, tokens in TABLE if code == language]
    assert len(rows) >= 6
    assert [tokenize(sentence) for sentence, _ in rows] == [tokens for _, tokens in rows]


@pytest.mark.parametrize(
    ("language", "sentence", "tokens"),
    [  # by hand, from the script's comments
        ("fi", "USA:n EU:ssa 20:een", "USA:n EU:ssa 20:een"),
        ("sv", "USA:s S:t Per: nej", "USA:s S:t Per : nej"),
        ("de", "USA:n", "USA : n"),
        ("ca", "col·labora", "col·labora"),
        ("es", "col·labora", "col · labora"),
        ("ca", "l'home", "l&apos; home"),
        ("ga", "b'fhéidir", "b&apos; fhéidir"),
        ("so", "go'aan", "go&apos;aan"),
        ("tdt", "ha'u", "ha&apos;u"),
        ("tdt", "ha'U", "ha &apos; U"),
        ("tdt", "Nu. 18 Nu. Ida", "Nu. 18 Nu . Ida"),
        ("ko", "漢字 한국어", "漢字 한국어"),
        ("zh", "汉字", "汉字"),
        ("ja", "漢字とカナ", "漢字とカナ"),
    ],
)
def test_rules_of_single_languages(language, sentence, tokens):
    assert Moses(language).build()(sentence) == tokens


@pytest.mark.parametrize("language", ["ko", "zh", "ja", "de"])
def test_dashes_in_every_script(language):
    assert Moses(language, split_dashes=True).build()("A-팀 漢-字 カ-ナ x-") == "A @-@ 팀 漢 @-@ 字 カ @-@ ナ x-"


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("a\u2028b\u2029c\x85d\x0be\x0cf\xa0g", "a b c d e f g"),
        ("a\x1cb\x1dc\x1ed\x1fe\x01f", "abcdef"),  # the script deletes control characters that are no white space
        ("a. \x1c b", "a. b"),
        ("", ""),
        (" \u2028 ", ""),
    ],
)
def test_white_space_and_control_characters(line, tokens):
    assert Moses("de").build()(line) == tokens


@pytest.mark.usefixtures("no_fairseq")
def test_korean_to_chinese_from_the_command(tmp_path):
    korean = ("우리는 2024年 서울에 갔다。", "세계에서 가장 강력한 漢字 그는 말했다.")
    chinese = ("我们2024年去了首尔。", "世界上最强大的汉字他说。")
    for split, count in (("train", 20), ("dev", 1), ("test", 1)):
        for code, two in (("ko", korean), ("zh", chinese)):
            (tmp_path / f"{split}.{code}").write_text("".join(f"{line}\n" for line in two) * count, encoding="utf-8")
    command = ["prepare", "files", "--source", "ko", "--target", "zh", "--bpe-operations", "20", "--workers", "1"]
    for flag, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        command += [f"--{flag}", str(tmp_path / name)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    table = {(language, sentence): tokens for language, sentence, tokens in TABLE}
    for code, two in (("ko", korean), ("zh", chinese)):
        text = (tmp_path / f"out/tok/test.{code}").read_text(encoding="utf-8")
        assert text == "".join(f"{table[code, line]}\n" for line in two)


@perl
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_is_the_scripts(language):
    rows = [(sentence, tokens) for code, sentence, tokens in TABLE if code == language]
    assert script(language, [sentence for sentence, _ in rows]) == [tokens for _, tokens in rows]


@perl
@pytest.mark.parametrize("flags", [(), ("-a",)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_random_lines(language, flags):
    rng = random.Random(f"{language}{flags}")
    words = {word for code, sentence, _ in TABLE if code == language for word in sentence.split()}
    parts = sorted(words | {character for word in words for character in word} | {"\u2028", "\x85", "\x1c", "\xa0"})
    lines = ["".join(rng.choice(parts) + rng.choice(["", "", " "]) for _ in range(12)) for _ in range(300)]
    lines = [line for line in lines if not line.isspace()]  # the script prints these as they are
    tokenize = Moses(language, split_dashes=bool(flags)).build()
    assert list(map(tokenize, lines)) == script(language, lines, *flags)


@pytest.mark.parametrize("language", ["cs", "de", "en", "es", "fi", "fr"])
def test_normalized_lines_are_those_of_all_of_sacremoses_rules(language):
    """Rules are left out where a line lacks what they need; sacremoses tries every one of them."""
    pieces = [
        *"aB1r,.;:!?'\"`´‘’‚„“”–—…«»()%<~º- \u00a0\r\n",
        "nº\u00a0",
        "\u00a0ºC",
        "\u00a0cm",
        "''",
        "  ",
        "\u00a0%",
    ]
    rng = random.Random(language)
    all_rules, ours = MosesPunctNormalizer(language, perl_parity=True), moses._Normalizer(language)
    for _ in range(3000):
        line = "".join(rng.choices(pieces, k=rng.randint(0, 25)))
        assert ours.normalize(line) == all_rules.normalize(line), line


@pytest.mark.parametrize("pattern", [rule for rule, _ in MosesPunctNormalizer("de").substitutions])
def test_what_a_rule_needs_is_in_all_that_it_matches(pattern):
    rng = random.Random(pattern)
    needed, rule = moses._needed(pattern), re.compile(pattern)
    around = ["1", "a", ".", ",", " ", "\u00a0", needed, needed[:1], needed[1:]]
    matched = 0
    for _ in range(2000):
        text = "".join(rng.choices(around, k=rng.randint(1, 8)))
        found = rule.search(text) if pattern != " +" else re.search("  ", text)
        matched += found is not None
        assert not found or needed in text
    assert matched > 3
