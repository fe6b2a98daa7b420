"""Several references, references in pieces, and how BLEU splits languages that are written without spaces."""

import json

import pytest
from _analysis import labo, prepared_corpus, sacrebleu, write

from labo_fairseq.analysis import bleu, tokenization
from labo_fairseq.analysis.references import read_references
from labo_fairseq.errors import UserError


def scores(folder, *arguments, code=0):
    """({metric: value} of the first system, standard error)."""
    result = labo("score", *arguments, "--json", "--width", 6, cwd=folder)
    assert result.returncode == code, result.stderr
    found = json.loads(result.stdout)["systems"][0]["scores"] if not code else []
    return {one["metric"]: one for one in found}, result.stderr


def texts(folder, **named):
    for name, lines in named.items():
        write(folder / name, "".join(line + "\n" for line in lines))


# B5: targets without spaces

ZH = ["今天天气很好我们去公园玩。", "他昨天买了一本新的中文书。", "请问最近的地铁站在哪里？"]
ZH_HYP = ["今天天气很好我们去公园散步。", "他昨天买了一本新的英文书。", "请问最近的火车站在哪里？"]
TH = ["ฉันชอบกินข้าวผัดทุกวัน", "เขาไปโรงเรียนแต่เช้า"]
TH_HYP = ["ฉันชอบกินข้าวต้มทุกวัน", "เขาไปโรงเรียนแต่เช้า"]
JA = ["私は毎日公園で走ります。", "彼は昨日新しい本を買った。"]
KM = ["ខ្ញុំស្រលាញ់ភាសាខ្មែរណាស់", "គាត់ទៅសាលារៀនពីព្រឹក"]
MY = ["ကျွန်တော်မြန်မာစာကိုချစ်တယ်", "သူကျောင်းကိုစောစောသွားတယ်"]
LO = ["ຂ້ອຍມັກກິນເຂົ້າທຸກມື້", "ລາວໄປໂຮງຮຽນແຕ່ເຊົ້າ"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language", "tokenizer", "value"),
    [
        (ZH, ZH_HYP, "zh", "zh", 72.97),  # 73.0 and 88.2: the cases of the issue, from the sacrebleu command
        (ZH, ZH_HYP, "zho_Hans", "zh", 72.97),
        (TH, TH_HYP, "th", "char", 88.19),
        (TH, TH, "th_TH", "char", 100),
        (JA, JA, "ja", "ja-mecab or char", 100),
        (KM, KM, "khm_Khmr", "char", 100),
        (MY, MY, "my", "char", 100),
        (LO, LO, "lo", "char", 100),
    ],
)
def test_the_language_chooses_the_tokenizer_with_a_note(tmp_path, reference, hypothesis, language, tokenizer, value):
    texts(tmp_path, ref=reference, hyp=hypothesis)
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp", "--language", language)
    assert found["BLEU"]["value"] == pytest.approx(value, abs=0.005)
    assert any(f"tok:{name}" in found["BLEU"]["signature"] for name in tokenizer.split(" or "))
    assert err.startswith(f"note: BLEU of {language}: --tokenize ") and len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["13a", "intl", "zh", "char", "none"])
def test_tokenizers_are_those_of_the_sacrebleu_command(tmp_path, name):
    texts(tmp_path, ref=[*ZH, "A small, well-known dog: 3.5 km."], hyp=[*ZH_HYP, "A small and well-known dog: 3.5 km."])
    found, _ = scores(tmp_path, "--reference", "ref", "--system", "a=hyp", "--tokenize", name)
    options = ("-m", "bleu", "-tok", name, "-w", 6, "--force")
    line = sacrebleu(tmp_path / "ref", "-i", tmp_path / "hyp", *options, "-f", "text")
    assert f"|{found['BLEU']['signature']} = {found['BLEU']['value']:.6f} " in line


@pytest.mark.parametrize(
    ("lines", "remedy"),
    [
        (ZH, "zh"),
        (JA, "ja-mecab"),
        (TH, "char"),
        (KM, "char"),
        (MY, "char"),
        (["你好吗？"], "zh"),
        (["ꦲꦤꦕꦫꦏ" * 8], "char"),
    ],
)
def test_hardly_any_spaces_is_warned_about(tmp_path, capsys, lines, remedy):
    assert tokenization.chosen(None, None, lines, tmp_path / "ref") == "13a"
    err = capsys.readouterr().err
    assert "hardly any spaces" in err and f"use --tokenize {remedy}" in err and len(err.splitlines()) == 1
    assert tokenization.chosen("char", None, lines, tmp_path / "ref") == "char"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "lines",
    [
        ["a", "bb ccc"],
        ["Rindfleischetikettierungsüberwachungsaufgabe heißt es"],
        ["今天 天气 很 好 ， 我们 去 公园 玩 。"],  # split by a tokenizer
        ["ฉัน ชอบ กิน ข้าว ผัด ทุก วัน"],
        ["나는 매일 공원에서 달린다."],
        ["他在 Linux 上 uses Python 3 and likes it a lot indeed"],
        ["", " "],
        [],
    ],
)
def test_text_with_spaces_is_not_warned_about(capsys, lines):
    assert tokenization.chosen(None, None, lines, "f") == "13a"
    assert capsys.readouterr().err == ""


def test_words_of_other_metrics_are_warned_about(tmp_path):
    texts(tmp_path, ref=ZH, hyp=ZH_HYP)
    arguments = ("--reference", "ref", "--system", "a=hyp", "--tokenize", "zh")
    _, err = scores(tmp_path, *arguments, "--metrics", "ter", "chrf++", "chrf2")
    assert "TER and chrF2++ takes whole sentences for words" in err and len(err.splitlines()) == 1
    assert scores(tmp_path, *arguments)[1] == ""


@pytest.mark.parametrize("language", ["en", "de", "vi", "zhx"])
def test_other_languages_are_13a_without_a_word(capsys, language):
    assert tokenization.chosen(None, language, ["some words"], "f") == "13a"
    assert capsys.readouterr().err == ""


def test_korean_without_its_package_is_13a(monkeypatch, capsys):
    def missing(name):
        raise UserError(
            f"--tokenize {name}: its package is not installed: pip install -c c.txt 'sacrebleu[ko]'{bleu.ANOTHER}"
        )

    monkeypatch.setattr(bleu, "check_tokenizer", missing)
    assert tokenization.chosen(None, "ko-KR", ["나는 매일"], "f") == "13a"
    expected = "note: BLEU of ko-KR: --tokenize 13a, because of ko-mecab: its package is not installed: "
    assert capsys.readouterr().err == expected + "pip install -c c.txt 'sacrebleu[ko]'\n"


@pytest.mark.parametrize("failure", [OSError("no network"), SystemExit(1), RuntimeError("Internal:\n damaged model")])
def test_a_model_that_cannot_be_fetched_is_one_line(monkeypatch, failure):
    def fail(*_):
        raise failure

    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.download_file", fail)
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", "/nonexistent")
    for name in ("flores101", "flores200", "spm"):
        with pytest.raises(
            UserError, match=rf"--tokenize {name}: sacreBLEU cannot download its model to .*/models \("
        ) as e:
            bleu.check_tokenizer(name)
        assert "\n" not in str(e.value)


def test_missing_packages_are_one_line(monkeypatch):
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    with pytest.raises(UserError, match=r"--tokenize ja-mecab: .*pip install -c .* 'sacrebleu\[ja\]'"):
        bleu.check_tokenizer("ja-mecab")
    with pytest.raises(UserError, match="--tokenize: x: unknown: choose from none, zh, 13a"):
        bleu.check_tokenizer("x")


def test_no_flag_is_taken_for_another(tmp_path):
    texts(tmp_path, ref=["a b"], hyp=["a b"])
    result = labo("score", "--reference", "ref", "--system", "a=hyp", "--token", cwd=tmp_path)
    assert result.returncode == 2 and "unrecognized arguments: --token" in result.stderr
    both = labo("score", "--reference", "ref", "--system", "a=hyp", "--tokenize", "char", "--tokenized", cwd=tmp_path)
    assert both.returncode == 2 and both.stderr.startswith("labo score: --tokenize: is for detokenized text")


def test_splits_and_compare_use_the_same_tokenizer(tmp_path):
    texts(tmp_path, ref=ZH, hyp=ZH_HYP, other=ZH, source=["a b", "b", "a"], **{"dict": ["a 3", "b 2"]})
    systems = ("--system", "x=hyp", "--system", "y=other", "--reference", "ref", "--language", "zh")
    options = ("--dict", "dict", "--source", "source", "--samples", 10, "--json")
    result = labo("splits", *systems, *options, cwd=tmp_path)
    assert json.loads(result.stdout)["signature"].split("|")[3] == "tok:zh"
    assert json.loads(result.stdout)["scores"][0]["scores"]["y"] == pytest.approx(100)
    result = labo("compare", *systems, cwd=tmp_path)
    assert "tok:zh" in result.stdout and "x\t72.97\t" in result.stdout and result.stderr.count("note: ") == 1


# B6: several references

TWO = {
    "ref1": ["The cat sat on the mat today.", "It rained all day long here.", "A completely different line of words."],
    "ref2": ["A cat was sitting on the mat today.", "It was raining the whole day here.", "One totally other line of words."],  # noqa: E501
    "hyp": ["The cat sat on the mat today.", "It rained all day long here.", "One totally other line of words."],
    "other": ["A cat sat on a mat.", "It was raining all day here.", "A totally different line of words."],
}  # fmt: skip
WAYS = [
    ["--reference", "ref1", "ref2"],
    ["--reference", "ref1", "--reference", "ref2"],
    ["--reference", "tabs"],
    ["--reference", "tabs", "--num-refs", 2],
]


@pytest.fixture
def two(tmp_path):
    texts(tmp_path, **TWO, tabs=map("\t".join, zip(TWO["ref1"], TWO["ref2"], strict=True)))
    return tmp_path


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(map(str, way)))
def test_all_references_count(two, way):
    found, err = scores(two, *way, "--system", "a=hyp", "--metrics", "bleu", "chrf2", "chrf++", "ter")
    assert {name: round(one["value"], 6) for name, one in found.items()} == {
        "BLEU": 100, "chrF2": 100, "chrF2++": 100, "TER": 0,
    }  # fmt: skip
    assert all(one["signature"].startswith("nrefs:2|") for one in found.values())
    assert err == (
        "note: tabs: every line holds 2 texts between tabs: 2 references (--num-refs 1: one)\n" * (way == WAYS[2])
    )


@pytest.mark.parametrize(("name", "metric"), [("bleu", "bleu"), ("chrf2", "chrf"), ("ter", "ter")])
def test_scores_and_tests_of_several_references_are_sacrebleus(two, name, metric):
    files = [two / "ref1", two / "ref2", "-i", two / "hyp", two / "other", "-m", metric, "-w", 4]
    arguments = ("--system", "a=hyp", "--system", "b=other", "--metrics", name, "--significance", "bootstrap")
    result = labo("score", *WAYS[0], *arguments, "--samples", 100, "--json", cwd=two)
    test = json.loads(result.stdout)["systems"][1]["scores"][0]
    output = sacrebleu(*files, "--paired-bs", "--paired-bs-n", 100, "-f", "text")
    assert f"{test['value']:.4f} " in output and f"(p = {test['significance']['p_bootstrap']:.4f})" in output


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_references(two, count):
    texts(two, **{f"r{i}": TWO["ref1" if i else "ref2"] for i in range(count)})
    found, _ = scores(two, "--reference", *[f"r{i}" for i in range(count)], "--system", "a=hyp")
    assert f"nrefs:{count}|" in found["BLEU"]["signature"]
    line = sacrebleu(*[two / f"r{i}" for i in range(count)], "-i", two / "hyp", "-m", "bleu", "-b", "-w", 4)
    assert f"{found['BLEU']['value']:.4f}" == line


def test_tokenized_scores_take_several_references(two):
    found, _ = scores(two, *WAYS[0], "--system", "a=hyp", "--compound-split")
    assert [round(one["value"], 6) for one in found.values()] == [100, 100]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "tabs", "--num-refs", 3], "tabs:1: 2 texts between tabs, but --num-refs is 3"),
        (["--reference", "ref1", "ref2", "--num-refs", 2], "--num-refs: more than 1 is for a single --reference file"),
        (["--reference", "ref1", "--num-refs", 0], "--num-refs: 0: must be 1 or more"),
        (["--reference", "ref1", "short"], "short: 1 sentences, but ref1 has 3"),
    ],
)
def test_references_that_do_not_fit_are_refused(two, arguments, message):
    texts(two, short=["a"])
    _, err = scores(two, *arguments, "--system", "a=hyp", code=2)
    assert message in err and len(err.splitlines()) == 1


def test_tabs_may_be_text(two):
    texts(two, odd=["a\tb", "c", "d"])
    assert len(read_references([str(two / "odd")]).texts) == 1  # not in every line
    assert read_references([str(two / "tabs")], columns=1).texts[0][0].count("\t") == 1


def test_compare_and_splits_say_what_they_do_with_them(two):
    systems = ("--system", "a=other", "--system", "b=hyp")
    result = labo("compare", *WAYS[0], *systems, cwd=two)
    assert "b\t100.00\t" in result.stdout and "nrefs:2" in result.stdout
    assert (
        "# BLEU and chrF2 are of all 2 references; lengths, n-grams and the sentences shown are compared with"
        in result.stdout
    )
    texts(two, source=["a b", "b", "a"], train=["a"], **{"dict": ["a 3", "b 2"]})
    options = ("--dict", "dict", "--source", "source", "--samples", 10, "--train", "train", "--write-splits", "out")
    result = labo("splits", *WAYS[0], *systems, *options, cwd=two)
    assert (
        "b\t100.00\t100.00\t" in result.stdout
        and "# words are compared with the first reference, ref1" in result.stdout
    )
    written = [(two / "out" / f"most.reference{number}").read_text(encoding="utf-8") for number in ("", "2")]
    assert written == [TWO["ref1"][2] + "\n", TWO["ref2"][2] + "\n"]


# B7: references in subwords, pieces and tokens

PLAIN = ["it's a well-known friend, isn't it?", 'Mr. Smith (aged 42) said: "no".']


IN_PIECES = {
    "tokens": [
        "it &apos;s a well @-@ known friend , isn &apos;t it ?",
        "Mr. Smith ( aged 42 ) said : &quot; no &quot; .",
    ],
    "pieces": [
        "▁it 's ▁a ▁well - know n ▁friend , ▁is n 't ▁it ?",
        '▁M r . ▁Smith ▁( aged ▁4 2 ) ▁said : ▁" no " .',
    ],
    "subwords": ["it's a well@@ -@@ known friend, isn't it?", 'Mr@@ . Smith (aged 42) said: "no".'],
    "subwords of tokens": [
        "it &apos;s a well @-@ kno@@ wn friend , isn &apos;t it ?",
        "Mr. Sm@@ ith ( aged 42 ) said : &quot; no &quot; .",
    ],
}


@pytest.mark.parametrize(
    ("kind", "warning"), [("tokens", "as en"), ("pieces", "▁"), ("subwords", "@@"), ("subwords of tokens", "@@")]
)
def test_a_reference_in_pieces_is_joined_with_a_warning(tmp_path, kind, warning):
    texts(tmp_path, ref=IN_PIECES[kind], hyp=PLAIN)
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp")
    assert found["BLEU"]["value"] == pytest.approx(100) and found["chrF2"]["value"] == pytest.approx(100)
    assert warning in err and all(line.startswith("warning: ref: the reference ") for line in err.splitlines())


def test_only_the_reference_that_needs_it_is_mended(tmp_path):
    texts(tmp_path, ref=["▁a ▁b ▁c ▁d"], plain=["e f g h"], hyp=["a b c d"])
    found, err = scores(tmp_path, "--reference", "plain", "ref", "--system", "a=hyp")
    assert found["BLEU"]["value"] == pytest.approx(100) and "ref: the reference is in subwords" in err


def test_tokens_on_both_sides_are_detokenized_on_both(tmp_path):
    texts(tmp_path, ref=["it &apos;s here , my friend ."], hyp=["it &apos;s here , my friend ."])
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp")
    assert found["chrF2"]["value"] == pytest.approx(100) and found["BLEU"]["value"] == pytest.approx(100)
    assert "hyp: looks tokenized: detokenized as en" in err


def test_a_french_reference_is_detokenized_as_french(tmp_path):
    texts(tmp_path, ref=["l&apos; ami de l&apos; homme , c&apos; est moi ."], hyp=["l'ami de l'homme, c'est moi."])
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp", "--language", "fr")
    assert found["BLEU"]["value"] == pytest.approx(100) and "detokenized as fr" in err


def test_half_of_the_lines_empty(tmp_path):
    texts(tmp_path, ref=["", "the cat sat on the mat"], hyp=["", "▁the ▁c at ▁s at ▁on ▁the ▁m at"])
    assert scores(tmp_path, "--reference", "ref", "--system", "a=hyp")[0]["BLEU"]["value"] == pytest.approx(100)
    texts(tmp_path, ref=[*[""] * 9, "a b c d"], hyp=[*[""] * 9, "▁a ▁b ▁c ▁d"])
    assert scores(tmp_path, "--reference", "ref", "--system", "a=hyp")[0]["BLEU"]["value"] == pytest.approx(100)


@pytest.mark.parametrize(
    "lines",
    [
        ["write to me @@ home now please"],
        ["write to me@@ home now please"],
        ["@@ at the start of it", "and at the end @@"],
        [*["one two three four"] * 150, "a rare me@@ home in it"],
    ],
)
def test_literal_marks_cost_nothing_against_themselves(tmp_path, lines):
    texts(tmp_path, text=lines)
    found, _ = scores(tmp_path, "--reference", "text", "--system", "a=text")
    assert found["BLEU"]["value"] == pytest.approx(100) and found["chrF2"]["value"] == pytest.approx(100)


def test_a_byte_order_mark_changes_nothing(tmp_path):
    lines = ["the cat sat on the mat", "some words here now"]
    texts(
        tmp_path,
        plain=lines,
        bom=["\ufeff" + lines[0], lines[1]],
        joined=["\ufeff" + line for line in lines],
        hyp=lines,
    )
    for name in ("plain", "bom", "joined"):
        found, err = scores(tmp_path, "--reference", name, "--system", "a=hyp")
        assert found["BLEU"]["value"] == pytest.approx(100) and found["chrF2"]["value"] == pytest.approx(100)
        assert err == ("" if name == "plain" else f"note: {name}: byte order mark left out\n")
        assert scores(tmp_path, "--reference", "plain", "--system", f"a={name}")[0]["chrF2"]["value"] == pytest.approx(
            100
        )


# run folders know the language: labo table and report


def test_table_and_report_take_the_language_of_the_corpus(tmp_path):
    from _analysis import entry

    corpus = prepared_corpus(tmp_path / "data", number=3)
    manifest = {"corpus": "x", "source": "de", "target": "zh", "synthetic": False, "lowercased": False}
    write(corpus / "manifest.json", json.dumps(manifest))
    for kind in ("raw", "tok"):
        write(corpus / kind / "test.zh", "".join(line + "\n" for line in ZH))
        write(corpus / kind / "train.zh", "".join(line + "\n" for line in ZH))
    for name, lines in (("a", ZH), ("b", ZH_HYP)):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "generate-test.txt", "".join(entry(i, line) for i, line in enumerate(lines)))
        write(tmp_path / name / "data", "../data\n")
    result = labo("table", "a", "b", "--json", cwd=tmp_path)
    found = [run["bleu"] for run in json.loads(result.stdout)["runs"]]
    assert [round(one["value"], 2) for one in found] == [100, 72.97] and "tok:zh" in found[0]["signature"]
    assert result.stderr.count("note: BLEU of zh: --tokenize zh") == 1
    pytest.importorskip("matplotlib")
    result = labo("report", "a", "b", "--out", "out", "--samples", 10, "--trials", 10, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for name in ("scores_bleu", "splits_bleu"):
        assert "tok:zh" in (tmp_path / "out" / f"{name}.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "language, tokens, text",
    [
        ("en", "it &apos;s here , my friend .", "it's here, my friend."),
        ("fr", "l&apos; ami de l&apos; homme , c&apos; est moi .", "l'ami de l'homme, c'est moi."),
        ("en", "the gre@@ en ma@@ t lies here , i think .", "the green mat lies here, i think."),
    ],
)
def test_a_system_in_tokens_is_detokenized_as_the_language_that_is_named(tmp_path, language, tokens, text):
    texts(tmp_path, ref=[text], hyp=[tokens])
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp", "--language", language)
    assert found["BLEU"]["value"] == pytest.approx(100) and f"hyp: looks tokenized: detokenized as {language}" in err
    found, err = scores(tmp_path, "--reference", "ref", "--system", "a=hyp")
    assert found["chrF2"]["value"] < 100.1 and "give --language XX" in err
