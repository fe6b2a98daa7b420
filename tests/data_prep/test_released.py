"""IWSLT'14, IWSLT'17 and WMT'14 on made-up excerpts in their true formats, by hand and against the scripts' tools."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import _ted as ted
import pytest
import sentencepiece

from labo_fairseq.cli import main

quickly = pytest.mark.usefixtures("no_fairseq")
MOSES = os.environ.get("LABO_MOSES")
perl = pytest.mark.skipif(
    not (MOSES and shutil.which("perl")),
    reason="LABO_MOSES does not name a checkout of mosesdecoder, or there is no perl",
)


def lines(path):
    return Path(path).read_text(encoding="utf-8").split("\n")[:-1]


def manifest(out):
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def prepare(corpus, source, target, raw, out, *more):
    command = ["prepare", corpus, "--source", source, "--target", target, "--raw-dir", str(raw), "--out", str(out)]
    size = () if "--vocabulary-size" in more else ("--bpe-operations", "60")
    return main([*command, "--workers", "1", *size, *more])


@quickly
def test_iwslt14_by_hand(tmp_path):
    raw, out = ted.iwslt14(tmp_path / "raw"), tmp_path / "out"
    assert prepare("iwslt14", "de", "en", raw, out) == 0
    facts = manifest(out)
    # 300 made-up pairs, 20 odd ones, and of each of 7 talks the title and the description
    assert facts["files"]["raw/all.de"]["lines"] == 300 + 20 + 2 * 7
    assert facts["removed"] == {
        "train": {
            "source empty": 1, "target empty": 1, "both empty": 1, "ratio": 1, "too long": 1,
            "word over 1000 characters": 1,
        },
        "valid": {},
    }  # fmt: skip
    kept = 334 - 6
    assert facts["pairs"] == {"train": kept - kept // 23, "valid": kept // 23, "test": 20}
    assert facts["published_pairs"] == {"train": 160239, "valid": 7283, "test": 6750}
    train = lines(out / "tok/train.de") + lines(out / "tok/valid.de")
    assert "das ist der t-shirt-laden , z.b. in st. pölten usw ." in train
    assert "er sagte : „ halt ! “ ( gelächter )" in train
    assert "zwei wörter und mehr ." in train
    assert "a &amp; b &lt; c &gt; d &#91; e &#93; `f` &apos; g &apos;" in train
    assert "äöü σασ i̇stanbul" in train
    assert "am en de" in train
    assert "ted talk : " in "".join(train)
    assert not any("<" in line or "hats" in line for line in lines(out / "raw/all.en") if "A & B" not in line)
    assert lines(out / "tok/test.en")[2:4] == ["l &apos;homme d &apos;or", ""]
    assert lines(out / "raw/test.en")[2:4] == ["L'homme d'or", ""]
    assert facts["kept_though_empty"]["test"] == {"source empty": 0, "target empty": 5, "both empty": 0}
    for split in ("train", "valid", "test"):
        for language in ("de", "en"):
            counts = {len(lines(out / folder / f"{split}.{language}")) for folder in ("raw", "tok", "bpe")}
            assert counts == {facts["pairs"][split]}
    assert facts["lowercased"] is True
    assert facts["recipe"]["dictionary"] == "separate"


@quickly
def test_every_23rd_pair_of_the_cleaned_text_is_valid(tmp_path):
    raw, out = ted.iwslt14(tmp_path / "raw"), tmp_path / "out"
    prepare("iwslt14", "de", "en", raw, out)
    train, valid = (
        list(zip(lines(out / f"tok/{s}.de"), lines(out / f"raw/{s}.de"), strict=True)) for s in ("train", "valid")
    )
    merged = [
        valid[n // 23 - 1] if n % 23 == 0 else train[n - n // 23 - 1] for n in range(1, len(train) + len(valid) + 1)
    ]
    raw_text = lines(out / "raw/all.de")
    places = [raw_text.index(text) for _, text in merged if raw_text.count(text) == 1]
    assert places == sorted(places)
    assert len(places) > 20


@quickly
@pytest.mark.parametrize(("source", "target"), [("en", "fr"), ("fr", "en")])
def test_iwslt14_french_has_four_test_sets(source, target, tmp_path):
    tests = [name for name in ted.TESTS if name != "TEDX.dev2012"]
    raw, out = ted.iwslt14(tmp_path / "raw", "en", "fr", tests), tmp_path / "out"
    assert prepare("iwslt14", source, target, raw, out) == 0
    assert manifest(out)["pairs"]["test"] == 16
    assert manifest(out)["published_pairs"]["test"] == 4493


@quickly
def test_missing_test_set_is_named(tmp_path, capsys):
    raw, out = ted.iwslt14(tmp_path / "raw"), tmp_path / "out"
    (raw / "de-en/IWSLT14.TED.tst2011.de-en.en.xml").unlink()
    assert prepare("iwslt14", "de", "en", raw, out) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "IWSLT14.TED.tst2011.de-en.en.xml: missing (unpacked, or the archive de-en.tgz)" in error
    assert not out.exists()


@quickly
def test_an_archive_gives_the_same_as_its_files(tmp_path):
    raw = ted.iwslt14(tmp_path / "raw")
    archives = tmp_path / "archives"
    archives.mkdir()
    with tarfile.open(archives / "de-en.tgz", "w:gz") as archive:
        archive.add(raw / "de-en", "de-en")
    assert prepare("iwslt14", "de", "en", raw, tmp_path / "loose") == 0
    assert prepare("iwslt14", "de", "en", archives, tmp_path / "packed") == 0
    for path in sorted((tmp_path / "loose/bpe").iterdir()):
        assert (tmp_path / "packed/bpe" / path.name).read_bytes() == path.read_bytes()
    # files right in the folder do as well
    assert prepare("iwslt14", "de", "en", raw / "de-en", tmp_path / "flat") == 0
    assert (tmp_path / "flat/bpe/codes").read_bytes() == (tmp_path / "loose/bpe/codes").read_bytes()


@quickly
def test_deviations_are_named_options(tmp_path):
    raw, out = ted.iwslt14(tmp_path / "raw"), tmp_path / "out"
    more = "--no-lowercase --max-length 6 --max-ratio 9 --min-length 4 --dictionary joined".split()
    assert prepare("iwslt14", "de", "en", raw, out, *more) == 0
    facts = manifest(out)
    assert facts["lowercased"] is False
    assert {"too short", "too long"} <= set(facts["removed"]["train"])
    assert "ratio" not in facts["removed"]["train"]
    text = lines(out / "tok/train.de")
    assert {len(line.split()) for line in text} <= {4, 5, 6}
    assert any(line != line.lower() for line in text)
    assert facts["recipe"]["dictionary"] == "joined"


@quickly
def test_sides_of_a_test_set_that_differ(tmp_path, capsys):
    raw, out = ted.iwslt14(tmp_path / "raw"), tmp_path / "out"
    path = raw / "de-en/IWSLT14.TED.tst2010.de-en.de.xml"
    ted.write(path, re.sub(r"<seg id=\"2\">.*\n", "", path.read_text(encoding="utf-8")))
    assert prepare("iwslt14", "de", "en", raw, out) == 2
    error = capsys.readouterr().err.rstrip("\n").split("\n")[-1]
    assert f"{path}: 3 lines, but " in error
    assert "has 4: the sides must be line-aligned" in error


SMALL = ("--vocabulary-size", "500")


@quickly
def test_iwslt17_by_hand(tmp_path):
    raw, out = ted.iwslt17(tmp_path / "raw"), tmp_path / "out"
    assert prepare("iwslt17", "de,fr", "en", raw, out, *SMALL) == 0
    facts = manifest(out)
    assert (facts["source"], facts["target"], facts["lowercased"]) == ("de,fr", "en", False)
    # valid is tst2015 only, as fairseq's script leaves it; test is tst2017
    assert {name: count for name, count in facts["pairs"].items() if "train" not in name} == {
        "valid.de-en": 7, "valid.fr-en": 7, "test.de-en": 5, "test.fr-en": 5,
    }  # fmt: skip
    assert lines(out / "raw/test.de-en.en") == [two[1] for two in ted.sentences(5, 17)]
    model = sentencepiece.SentencePieceProcessor(model_file=str(out / "bpe/sentencepiece.model"))
    assert model.get_piece_size() == 500
    for label, source in (("train.de-en", "de"), ("train.fr-en", "fr")):
        pieces, text = lines(out / f"bpe/{label}.{source}"), lines(out / f"raw/{label}.{source}")
        assert [model.decode(line.split()) for line in pieces][:3] == text[:3]
        assert all(1 <= len(line.split(" ")) <= 250 for line in pieces)
        assert set(facts["removed"][label]) == {"source empty", "target empty", "both empty", "too long"}
    assert not any(line.startswith(("<", "A. ")) or "hats" in line for line in lines(out / "raw/all.fr-en.fr"))
    assert "Ein Hund" in "".join(lines(out / "raw/train.de-en.de"))  # cased


@quickly
def test_iwslt17_with_all_validation_sets(tmp_path):
    raw, out = ted.iwslt17(tmp_path / "raw"), tmp_path / "out"
    assert prepare("iwslt17", "de", "en", raw, out, "--valid-set", "all", *SMALL) == 0
    assert manifest(out)["pairs"]["valid"] == sum(range(1, 8))


@quickly
def test_sentencepiece_model_depends_on_the_text_only(tmp_path):
    ted.iwslt17(tmp_path / "raw")
    shutil.copytree(tmp_path / "raw", tmp_path / "elsewhere/raw")
    for raw, out in ((tmp_path / "raw", "one"), (tmp_path / "elsewhere/raw", "two")):
        assert prepare("iwslt17", "fr", "en", raw, tmp_path / out, *SMALL) == 0
    one, two = ((tmp_path / out / "bpe/sentencepiece.model").read_bytes() for out in ("one", "two"))
    assert one == two
    assert str(tmp_path).encode() not in one


@quickly
def test_vocabulary_that_the_text_does_not_give(tmp_path, capsys):
    raw, out = ted.iwslt17(tmp_path / "raw"), tmp_path / "out"
    assert prepare("iwslt17", "fr", "en", raw, out, "--vocabulary-size", "100000") == 2
    error = capsys.readouterr().err.rstrip("\n").split("\n")[-1]
    assert "sentencepiece cannot learn 100000 pieces: Vocabulary size too high" in error
    assert not list(out.glob("bpe/*.model"))


@quickly
@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("de", "en")])
def test_wmt14_by_hand(source, target, tmp_path):
    raw, out = ted.wmt14(tmp_path / "raw"), tmp_path / "out"
    assert prepare("wmt14", source, target, raw, out) == 0
    facts = manifest(out)
    assert facts["files"]["raw/all.de"]["lines"] == 3 * 150 + 20
    # every 100th pair of all, counted before any is removed; no odd pair is among them
    assert facts["pairs"]["valid"] == 4
    assert facts["pairs"]["test"] == 7
    # one word, but 300 subwords: the cleaning counts subwords
    assert sum(facts["removed"]["train"].values()) == 470 - 4 - facts["pairs"]["train"]
    assert {"both empty", "too long"} <= set(facts["removed"]["train"])
    # punctuation is normalized in training text only
    german, english = lines(out / "tok/train.de"), lines(out / "tok/test.en")
    assert "Er sagte : &quot; Halt ! &quot; ( Gelächter )" in german
    assert english[-1] == "“ Yes ” – well @-@ known &apos; tis"
    assert facts["lowercased"] is False


@quickly
def test_wmt14_with_its_other_sets(tmp_path):
    raw, out = ted.wmt14(tmp_path / "raw", "v9"), tmp_path / "out"
    assert prepare("wmt14", "en", "de", raw, out) == 2  # news-commentary-v12 is not there
    assert prepare("wmt14", "en", "de", raw, out, "--icml17", "--valid-set", "newstest2013") == 0
    facts = manifest(out)
    assert facts["pairs"]["valid"] == 9
    assert (facts["icml17"], facts["valid_set"]) == (True, "newstest2013")


def script(raw, work, source, target):
    """What fairseq's prepare-iwslt14.sh does to one language pair, with grep, sed, awk and Moses' Perl scripts."""
    moses = f"{MOSES}/scripts"
    bpe = f"{Path(sys.executable).with_name('subword-nmt')}"
    return f"""
        set -e; cd {work}; export LC_ALL=C.UTF-8
        for l in {source} {target}; do
          grep -v -e '<url>' -e '<talkid>' -e '<keywords>' {raw}/de-en/train.tags.de-en.$l |
            sed -e 's/<title>//g; s/<\\/title>//g; s/<description>//g; s/<\\/description>//g' |
            perl {moses}/tokenizer/tokenizer.perl -q -l $l >tok.$l
        done
        perl {moses}/training/clean-corpus-n.perl -ratio 1.5 tok {source} {target} clean 1 175 2>&1
        for l in {source} {target}; do
          perl {moses}/tokenizer/lowercase.perl <clean.$l >low.$l
          awk 'NR%23 == 0' low.$l >valid.$l
          awk 'NR%23 != 0' low.$l >train.$l
          for set in {" ".join(ted.TESTS)}; do
            grep '<seg id' {raw}/de-en/IWSLT14.$set.de-en.$l.xml |
              sed -e 's/<seg id="[0-9]*">\\s*//g' -e 's/\\s*<\\/seg>\\s*//g' -e "s/\\’/\\'/g" |
              perl {moses}/tokenizer/tokenizer.perl -q -l $l | perl {moses}/tokenizer/lowercase.perl
          done >test.$l
        done
        cat train.{source} train.{target} | {bpe} learn-bpe -s 60 2>learn.log >codes
        for f in train valid test; do for l in {source} {target}; do
          {bpe} apply-bpe -c codes <$f.$l >bpe.$f.$l
        done; done
    """


@perl
@quickly
@pytest.mark.parametrize(("source", "target"), [("de", "en"), ("en", "de")])
def test_iwslt14_is_byte_for_byte_what_the_perl_tools_give(source, target, tmp_path):
    raw, out, work = ted.iwslt14(tmp_path / "raw"), tmp_path / "out", tmp_path / "work"
    work.mkdir()
    assert prepare("iwslt14", source, target, raw, out) == 0
    subprocess.run(["bash", "-c", script(raw, work, source, target)], check=True)
    assert (out / "bpe/codes").read_bytes() == (work / "codes").read_bytes()
    for name in (f"{split}.{language}" for split in ("train", "valid", "test") for language in (source, target)):
        assert lines(out / "tok" / name) == lines(work / name)
        assert (out / "bpe" / name).read_bytes() == (work / f"bpe.{name}").read_bytes()


@perl
@quickly
def test_wmt14_is_byte_for_byte_what_the_perl_tools_give(tmp_path):
    raw, out, work = ted.wmt14(tmp_path / "raw"), tmp_path / "out", tmp_path / "work"
    work.mkdir()
    assert prepare("wmt14", "en", "de", raw, out) == 0
    moses, bpe = f"{MOSES}/scripts", f"{Path(sys.executable).with_name('subword-nmt')}"
    script = f"""
        set -e; cd {work}; export LC_ALL=C.UTF-8
        for l in en de; do
          for f in training/europarl-v7 commoncrawl training/news-commentary-v12; do
            perl {moses}/tokenizer/normalize-punctuation.perl $l <{raw}/$f.de-en.$l |
              perl {moses}/tokenizer/remove-non-printing-char.perl | perl {moses}/tokenizer/tokenizer.perl -q -a -l $l
          done >tok.$l
          awk 'NR%100 == 0' tok.$l >valid.$l
          awk 'NR%100 != 0' tok.$l >train.$l
        done
        cat train.en train.de | {bpe} learn-bpe -s 60 2>learn.log >codes
        for f in train valid; do
          for l in en de; do {bpe} apply-bpe -c codes <$f.$l >bpe.$f.$l; done
          perl {moses}/training/clean-corpus-n.perl -ratio 1.5 bpe.$f en de out.$f 1 250 2>&1
        done
    """
    subprocess.run(["bash", "-c", script], check=True)
    assert (out / "bpe/codes").read_bytes() == (work / "codes").read_bytes()
    for name in ("train.en", "train.de", "valid.en", "valid.de"):
        assert lines(out / "bpe" / name) == lines(work / f"out.{name}")
