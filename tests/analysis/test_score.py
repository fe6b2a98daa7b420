import gzip
import json
import math

import pytest
from _analysis import entry, labo, sacrebleu, write

# hypothesis with subwords, its detokenized form, tokenized target, raw reference
PAIRS = [
    ("a small br@@ own dog runs over the meadow .", "a small brown dog runs over the meadow."),
    ("two women sit on a ben@@ ch .", "two women sit on a bench."),
    ("a man in a red jacket &apos;s sister climbs", "a man in a red jacket's sister climbs"),
]
TARGETS = [
    "a small brown dog runs across the meadow .",
    "two women sit on a green bench .",
    "a man in a red jacket climbs",
]
REFERENCES = [
    "A small brown dog runs across the meadow.",
    "Two women sit on a green bench.",
    "a man in a red jacket climbs",
]


@pytest.fixture
def folder(tmp_path):
    lines = "".join(
        entry(i, hypothesis, detokenized, target=REFERENCES[i].lower())
        for i, (hypothesis, detokenized) in reversed(list(enumerate(PAIRS)))
    )
    write(
        tmp_path / "gen.txt", "2026-01-02 | INFO | x | loading\n" + lines + "Generate test with beam=5: BLEU4 = 1.00\n"
    )
    plain = "".join(entry(i, hypothesis, target=TARGETS[i]) for i, (hypothesis, _) in enumerate(PAIRS))
    write(tmp_path / "plain.txt", plain)
    write(tmp_path / "ref.txt", "".join(line + "\n" for line in REFERENCES))
    write(tmp_path / "ref.tok", "".join(line + "\n" for line in TARGETS))
    write(tmp_path / "hyp.txt", "".join(detokenized + "\n" for _, detokenized in PAIRS))
    write(tmp_path / "hyp.tok", "".join(hypothesis.replace("@@ ", "") + "\n" for hypothesis, _ in PAIRS))
    return tmp_path


def table(result):
    """Rows (lists of fields) and comment lines of a TSV on standard output."""

    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    return [line.split("\t") for line in lines if line[0] != "#"], [line for line in lines if line[0] == "#"]


def test_table_agrees_with_the_sacrebleu_command(folder):
    rows, comments = table(
        labo("score", "--reference", "ref.txt", "--system", "text=hyp.txt", "--system", "log=gen.txt", cwd=folder)
    )
    expected = {}
    for metric in ("bleu", "chrf"):
        line = sacrebleu(folder / "ref.txt", "-i", folder / "hyp.txt", "-m", metric, "-w", 2, "-f", "text")
        head, value = line.split(" = ")[:2]
        expected[metric] = value.split()[0]
        name, signature = head.split("|", 1)
        assert f"# {name}: {signature}" in comments
    assert rows == [["system", "BLEU", "chrF2"], *([n, expected["bleu"], expected["chrf"]] for n in ("text", "log"))]


def test_lowercase_and_width(folder):
    arguments = ("score", "--reference", "ref.txt", "--system", "s=hyp.txt", "--lowercase", "--width", 4)
    rows, comments = table(labo(*arguments, cwd=folder))
    value = sacrebleu(folder / "ref.txt", "-i", folder / "hyp.txt", "-m", "bleu", "-lc", "-w", 4, "-b")
    assert rows[1][1] == value
    assert all("case:lc" in line for line in comments) and len(comments) == 2


@pytest.mark.parametrize("system", ["gen.txt", "plain.txt", "hyp.tok"])
def test_tokenized(folder, system):
    result = labo("score", "--tokenized", "--reference", "ref.tok", "--system", f"s={system}", cwd=folder)
    rows, comments = table(result)
    value = sacrebleu(
        folder / "ref.tok",
        "-i",
        folder / "hyp.tok",
        "-tok",
        "none",
        "--force",
        "--smooth-method",
        "none",
        "-w",
        2,
        "-b",
    )
    assert rows == [["system", "BLEU (tokenized)"], ["s", value]]
    assert "tok:none" in comments[0] and len(comments) == 1


def test_tokenized_against_the_logs_own_targets(folder):
    with_reference = labo("score", "--tokenized", "--reference", "ref.tok", "--system", "s=plain.txt", cwd=folder)
    own = labo("score", "--tokenized", "--system", "s=plain.txt", cwd=folder)
    assert table(own) == table(with_reference)


def test_json_is_unrounded(folder):
    result = labo("score", "--reference", "ref.txt", "--system", "s=gen.txt", "--json", cwd=folder)
    (system,) = json.loads(result.stdout)["systems"]
    value = sacrebleu(folder / "ref.txt", "-i", folder / "hyp.txt", "-m", "bleu", "-w", 8, "-b")
    assert [score["metric"] for score in system["scores"]] == ["BLEU", "chrF2"]
    assert f"{system['scores'][0]['value']:.8f}" == value


def test_gzip_everywhere(folder):
    for name in ("gen.txt", "ref.txt"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    packed = labo("score", "--reference", "ref.txt.gz", "--system", "s=gen.txt.gz", cwd=folder)
    assert table(packed) == table(labo("score", "--reference", "ref.txt", "--system", "s=gen.txt", cwd=folder))


def test_tokenized_text_is_warned_about(folder):
    quiet = labo("score", "--reference", "ref.txt", "--system", "s=gen.txt", cwd=folder)
    assert quiet.stderr == ""
    loud = labo("score", "--reference", "ref.txt", "--system", "s=plain.txt", cwd=folder)
    assert "plain.txt: looks tokenized (its D- lines equal its H- lines" in loud.stderr
    assert len(loud.stderr.splitlines()) == 1 and loud.returncode == 0
    text = labo("score", "--reference", "ref.txt", "--system", "s=hyp.tok", cwd=folder)
    assert "hyp.tok: looks tokenized: " in text.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "ref.txt", "--system", "s=short.txt"], "short.txt: 2 sentences, but ref.txt has 3: "),
        (
            ["--reference", "short.txt", "--system", "s=gen.txt"],
            "gen.txt: 3 sentences, but short.txt has 2: the first ",
        ),
        (["--system", "s=gen.txt"], "--reference: missing"),
        (["--reference", "ref.txt", "--system", "gen.txt"], "--system: gen.txt: no name or no file: write NAME=FILE"),
        (["--reference", "ref.txt", "--system", "=gen.txt"], "--system: =gen.txt: no name or no file: write NAME=FILE"),
        (["--reference", "ref.txt", "--system", "a\tb=gen.txt"], "has control characters or begins with '#': choose"),
        (
            ["--reference", "ref.txt", "--system", "s=gen.txt", "--system", "s=gen.txt"],
            "--system: s=gen.txt: given twice",
        ),
        (["--reference", "gen.txt", "--system", "s=gen.txt"], "gen.txt: is a generate log"),
        (["--reference", "ref.txt", "--system", "s=none.txt"], "none.txt: No such file"),
        (["--reference", "ref.txt", "--system", "s=."], ".: Is a directory"),
        (["--reference", "ref.txt", "--system", "s=empty.txt"], "empty.txt: is empty, where 3 sentences belong"),
        (["--reference", "empty.txt", "--system", "s=empty.txt"], "empty.txt: no sentences"),
        (["--reference", "ref.txt", "--system", "s=latin1.txt"], "latin1.txt:2: not UTF-8"),
        (["--reference", "ref.txt", "--system", "s=hyp.txt", "--width", "-1"], "--width: -1"),
        (["--tokenized", "--system", "s=hyp.txt"], "hyp.txt: is no generate log"),
        (["--tokenized", "--system", "s=gen.txt"], "gen.txt: its T- lines are detokenized"),
        (["--tokenized", "--system", "s=interactive.txt"], "interactive.txt: has no T- lines"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, message):
    write(folder / "short.txt", "one\ntwo\n")
    write(folder / "empty.txt", "")
    write(folder / "interactive.txt", "S-0\ta\nH-0\t-1.0\tb\n")
    (folder / "latin1.txt").write_bytes(b"ok\ncaf\xe9\nok\n")
    result = labo("score", *arguments, cwd=folder)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("labo score: ")
    assert result.stdout == ""


def test_odd_line_separators_do_not_shift_lines(tmp_path):
    write(tmp_path / "a.txt", "one\u2028two three four\nfive six\x85seven eight nine\n")
    result = labo("score", "--reference", "a.txt", "--system", "s=a.txt", cwd=tmp_path)
    assert table(result)[0][1] == ["s", "100.00", "100.00"]


def test_every_metric_and_significance_side_by_side(folder):
    write(folder / "other.txt", "a dog runs over the meadow.\ntwo men sit.\na man climbs\n")
    arguments = ("score", "--reference", "ref.txt", "--system", "a=hyp.txt", "--system", "b=other.txt", "--samples", 50)
    rows, comments = table(labo(*arguments, "--metrics", "ter", "chrf++", "--significance", "both", cwd=folder))
    heading = rows[0]
    assert heading[:3] == ["system", "TER", "TER ±"] and "chrF2++ p (randomization)" in heading
    assert len({len(row) for row in rows}) == 1
    expected = sacrebleu(
        folder / "ref.txt", "-i", folder / "hyp.txt", folder / "other.txt", "-m", "ter", "--paired-bs",
        "--paired-bs-n", 50, "-f", "text", "-w", 2,
    )  # fmt: skip
    second = dict(zip(heading, rows[2], strict=True))
    assert second["TER"] in expected and f"± {second['TER ±']})" in expected
    assert f"p = {second['TER p (bootstrap)']}" in expected
    assert float(second["TER difference"]) == pytest.approx(float(second["TER"]) - float(rows[1][1]), abs=0.011)
    assert rows[1][heading.index("TER difference")] == "–"
    assert any("50 samples, seed 12345" in line for line in comments)


def test_seeds_have_mean_deviation_and_a_test(folder):
    texts = {"a1": 0, "a2": 1, "b1": 2, "b2": 0}
    for name, line in texts.items():
        write(folder / name, "".join(r + "\n" for r in [*REFERENCES[:line], *[x.upper() for x in REFERENCES[line:]]]))
    systems = [word for name in texts for word in ("--system", f"{name[0]}={name}")]
    rows, comments = table(labo("score", "--reference", "ref.txt", *systems, "--metrics", "chrf2", cwd=folder))
    assert rows[0] == ["system", "seeds", "chrF2", "chrF2 std", "chrF2 difference", "chrF2 p (Welch)"]
    values = {
        name: float(sacrebleu(folder / "ref.txt", "-i", folder / name, "-m", "chrf", "-b", "-w", 6)) for name in texts
    }
    for row, (first, second) in zip(rows[1:], (("a1", "a2"), ("b1", "b2")), strict=True):
        assert row[1] == "2"
        assert float(row[2]) == pytest.approx((values[first] + values[second]) / 2, abs=0.006)
        assert float(row[3]) == pytest.approx(abs(values[first] - values[second]) / 2**0.5, abs=0.006)
    assert rows[1][4:] == ["–", "–"] and 0 < float(rows[2][5]) <= 1
    assert any("Welch" in line for line in comments)


def test_compound_split(folder):
    """Vaswani et al. 2017: `a-b` counts as three tokens, so that a compound can be right in part."""
    write(folder / "compound.ref", "the well-known five-year plan of the two\n")
    write(folder / "compound.hyp", "the well-known ten-year plan of the two\n")
    arguments = ("score", "--compound-split", "--reference", "compound.ref", "--system", "s=compound.hyp", "--json")
    plain, split = json.loads(labo(*arguments, cwd=folder).stdout)["systems"][0]["scores"]

    # by hand: n-grams of the hypothesis that the reference has too, of orders 1 to 4
    def bleu(right, total):
        return 100 * math.exp(sum(math.log(r / t) for r, t in zip(right, total, strict=True)) / 4)

    # "the well-known ten-year plan of the two": 7 tokens, of which one is wrong
    assert plain["value"] == pytest.approx(bleu([6, 4, 2, 1], [7, 6, 5, 4]))
    # "the well - known ten - year plan of the two": 11 tokens, of which one is wrong
    assert split["value"] == pytest.approx(bleu([10, 8, 6, 4], [11, 10, 9, 8]))
    assert "tok:none" in plain["signature"] and "tok:compound-split" in split["signature"]
    rows, _ = table(labo(*arguments[:-1], cwd=folder))
    assert rows[0] == ["system", "BLEU (tokenized)", "BLEU (tokenized, compounds split)"]


def test_subwords_of_text_files_are_joined(folder):
    write(folder / "bpe.txt", "".join(text.replace(" ", "@@ ", 1) + "\n" for _, text in PAIRS))
    write(folder / "joined.txt", "".join(text.replace(" ", "", 1) + "\n" for _, text in PAIRS))
    rows, _ = table(labo("score", "--reference", "ref.txt", "--system", "s=bpe.txt", "--metrics", "bleu", cwd=folder))
    assert rows[1][1] == sacrebleu(folder / "ref.txt", "-i", folder / "joined.txt", "-m", "bleu", "-b", "-w", 2)


def test_empty_translations(folder):
    write(folder / "one.txt", "a small brown dog\n\na man\n")
    result = labo("score", "--reference", "ref.txt", "--system", "s=one.txt", cwd=folder)
    assert result.returncode == 0 and "one.txt: 1 of 3 translations are empty (ids 1)" in result.stderr
    write(folder / "none.txt", "\n \n\n")
    result = labo("score", "--reference", "ref.txt", "--system", "s=none.txt", cwd=folder)
    assert result.returncode == 2 and "none.txt: every translation is empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system", "a=hyp.txt", "--seed", "0"], "--seed: 0: must be 1 or more"),
        (["--system", "a=hyp.txt", "--samples", "1"], "--samples: 1: must be 2"),
        (["--system", "a=hyp.txt", "--significance", "both"], "--significance: randomization compares two systems"),
        (
            ["--system", "a=hyp.txt", "--system", "a=gen.txt", "--significance", "bootstrap"],
            "--significance: compares single translations",
        ),
    ],
)
def test_bad_significance_is_refused(folder, arguments, message):
    result = labo("score", "--reference", "ref.txt", *arguments, cwd=folder)
    assert result.returncode == 2 and message in result.stderr and result.stdout == ""


@pytest.fixture
def sacrebleu_home(tmp_path, monkeypatch):
    """A folder in which sacreBLEU has fetched wmt14, de-en, already."""
    texts = tmp_path / "home/wmt14"
    texts.mkdir(parents=True)
    write(texts / "wmt14.de-en.src", "ein Hund\neine Katze\n")
    write(texts / "wmt14.de-en.ref", "A dog runs fast.\nA cat sleeps here.\n")
    for name in ("docid", "genre", "origlang"):
        write(texts / f"wmt14.de-en.{name}", "x\nx\n")
    return {"SACREBLEU": str(tmp_path / "home")}


def of_set(folder, environment, *flags):
    return labo("score", "-t", "wmt14", "-l", "de-en", "--system", "a=hyp", *flags, cwd=folder, env=environment)


def test_the_test_sets_of_sacrebleu(tmp_path, sacrebleu_home):
    write(tmp_path / "hyp", "A dog runs fast.\nA cat sleeps here.\n")
    rows, _ = table(of_set(tmp_path, sacrebleu_home))
    assert dict(zip(*rows, strict=True))["BLEU"] == "100.00"
    both = of_set(tmp_path, sacrebleu_home, "--reference", "hyp")
    assert both.returncode == 2 and "leave out --reference" in both.stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        (["-t", "wmt14", "-l", "de-xx"], "--language-pair: de-xx: wmt14 has cs-en, de-en"),
        (["-t", "wmt1", "-l", "de-en"], "--test-set: wmt1: no set of sacreBLEU's: try wmt"),
        (["-t", "wmt14"], "--test-set, --language-pair: one needs the other"),
        (["-l", "de-en"], "--test-set, --language-pair: one needs the other"),
        (["-t", "wmt14", "-l", "en-de"], "--test-set: wmt14: cannot be fetched to "),
    ],
)
def test_test_sets_that_cannot_be_had(tmp_path, flags, message):
    """The last: nothing is fetched yet, and the address of a proxy leads nowhere."""
    write(tmp_path / "hyp", "A dog runs fast.\n")
    nowhere = {
        "SACREBLEU": str(tmp_path / "home"),
        **dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    }
    done = labo("score", *flags, "--system", "a=hyp", cwd=tmp_path, env=nowhere)
    assert done.returncode == 2 and done.stderr.startswith("labo score: ") and len(done.stderr.splitlines()) == 1
    assert message in done.stderr


@pytest.mark.parametrize("reference, warned", [("Dog number {} runs.", False), ("Hund Nummer {} läuft.", True)])
def test_references_of_another_language_are_warned_about(folder, reference, warned):
    """The log's T- lines tell which references are its own, whatever their tokens, subwords and case are."""
    sentences = range(12)
    log = "".join(f"S-{i}\tx\nT-{i}\tdo@@ g number {i} runs .\nH-{i}\t-1\ta dog\nD-{i}\t-1\ta dog\n" for i in sentences)
    write(folder / "dogs.txt", log)
    write(folder / "dogs.ref", "".join(reference.format(i) + "\n" for i in sentences))
    result = labo("score", "--reference", "dogs.ref", "--system", "s=dogs.txt", cwd=folder)
    assert result.returncode == 0
    assert ("its own references (T- lines) are not the lines of dogs.ref" in result.stderr) is warned
