import csv
import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest
from _analysis import entry, finished_run, labo, prepared_corpus, write

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError
from labo_fairseq.figures import page
from labo_fairseq.figures.reliability import reliability
from labo_fairseq.records.reliability import read_reliability
from labo_fairseq.records.tables import TextTable, table_of

pytest.importorskip("matplotlib", reason="the report needs matplotlib")
EVIL = '<script>alert(1)</script> <img/src=x/onerror=alert(1)> &amp; "quoted"'
PNG = b"\x89PNG\r\n\x1a\n"
RELIABILITY = "when\tbin_low\tbin_high\tcount\tconfidence\taccuracy\taccuracy_low\taccuracy_high\n" + "".join(
    f"{when}\t0.0\t0.5\t0\t\t\t\t\n{when}\t0.5\t1.0\t40\t0.8\t0.7\t0.6\t0.79\n" for when in ("before", "after")
)


class Page(HTMLParser):
    """Elements, texts and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "\n".join(self.texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs with hostile text in corpus and translations, one of them calibrated, and the report of both."""
    path = tmp_path_factory.mktemp("report")
    corpus = prepared_corpus(path / "data", odd=EVIL)
    finished_run(path / "runs" / "base_$x^2$", corpus, 0.4, criterion="label_smoothing", odd="shorter")
    labo_run = finished_run(path / "runs" / "labo", corpus, 0.2, seed=2, odd=EVIL)
    write(labo_run / "reliability.tsv", RELIABILITY)
    runs = [path / "runs" / name for name in ("base_$x^2$", "labo")]
    options = ("--samples", 50, "--trials", 50, "--examples", 60, "--title", f"About {EVIL}")
    result = labo("report", *runs, "--out", path / "out", *options)
    assert result.returncode == 0, result.stderr
    size = (path / "out" / "report.html").stat().st_size
    assert result.stdout == f"{path / 'out' / 'report.html'}\t{size / 1e6:.1f} MB\n"
    return path


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


def test_text_of_the_corpus_is_text_and_nothing_else(html):
    """One script, ours, and one element of data, whose text cannot end it; no element or attribute from the corpus."""
    found = Page(html)
    scripts = [a for a in found.attributes if a[0] == "script"]
    assert found.tags.count("script") == 2 and scripts == [
        ("script", "type", "application/json"), ("script", "id", "sentences")
    ]  # fmt: skip
    assert not any(name.startswith("on") for _, name, _ in found.attributes) and "img" not in found.tags
    # in title and heading, and in the example: source and reference (a translation is cut into its tokens)
    assert sum("<script>alert(1)</script> <img/src=x/onerror=alert(1)>" in text for text in found.texts) == 4
    assert html.count("<script") == 2 and "<!--" not in html


def test_the_policy_allows_the_one_script_and_nothing_else(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_the_page_needs_nothing_else(html):
    found = Page(html)
    assert not {"link", "iframe", "object", "embed", "base"} & set(found.tags)
    places = [value for _, name, value in found.attributes if name in ("src", "href", "srcset", "data", "xlink:href")]
    assert all(re.match(r"#section\d+$|#m[0-9a-f]+$", place) for place in places)
    assert set(re.findall(r"url\(.", html)) == {"url(#"} and "@import" not in html
    assert ("meta", "name", "viewport") in found.attributes
    assert found.tags.count("svg") == 6
    assert len([1 for tag, name, value in found.attributes if (tag, name) == ("figure", "aria-label") and value]) == 6


def test_no_two_elements_have_one_id(html):
    """Else a curve of one figure would be drawn with the marks of another."""
    ids = [value for _, name, value in Page(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_every_section_is_there(html):
    found = Page(html)
    for title in ("Runs", "Training", "Scores", "Frequency", "Confidence", "Calibration", "Examples", "Sentences"):
        assert title in found.texts
    assert "base_" in found.text and "$x^2$" in found.text
    assert "synthetic" in found.text
    assert any("labo better than base_$x^2$" in text for text in found.texts)
    assert any(text.startswith("nrefs:1") for text in found.texts)


def test_the_same_as_files(folder, html):
    out = folder / "out"
    drawn = {"training", "splits", "words", "confidence", "reliability_2", "coverage"}
    assert {path.stem for path in out.glob("*.png")} == drawn
    assert all(path.read_bytes().startswith(PNG) for path in out.glob("*.png"))
    bleu = (out / "scores_bleu.tsv").read_text(encoding="utf-8")
    row = bleu.splitlines()[3].split("\t")
    assert row[0] == "labo" and row[1] in Page(html).texts
    assert not list(out.glob(".*"))
    for path in out.glob("*.tsv"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert len({line.count("\t") for line in lines}) == 1, path


def test_scores_are_those_of_labo_score(folder):
    runs, data = folder / "runs", folder / "data"
    systems = [
        word for name in ("base_$x^2$", "labo") for word in ("--system", f"{name}={runs}/{name}/generate-test.txt")
    ]
    options = ("--lowercase", "--metrics", "bleu", "--significance", "both", "--samples", 50, "--trials", 50)
    result = labo("score", "--reference", data / "raw/test.en", *systems, *options)
    expected = [line.split("\t") for line in result.stdout.splitlines() if not line.startswith("#")]
    written = (folder / "out/scores_bleu.tsv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader([line for line in written if not line.startswith("#")], delimiter="\t"))
    assert rows[1:] == expected[1:]


def test_seeds_are_found_and_unfinished_runs_shown(tmp_path):
    corpus = prepared_corpus(tmp_path / "data")
    runs = [finished_run(tmp_path / f"seed{s}" / n, corpus, e, s, c) for s in (1, 2) for n, e, c in RUNS]
    untranslated = finished_run(tmp_path / "seed3" / "labo", corpus, 0.2)
    (untranslated / "generate-test.txt").unlink()
    result = labo("report", *runs, untranslated, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / "out/scores_bleu.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[1].split("\t") == ["system", "seeds", "score", "std", "difference", "p (Welch)"]
    assert [row.split("\t")[:2] for row in rows[2:4]] == [["seed1/base", "2"], ["seed1/labo", "2"]]
    assert "not translated" in (tmp_path / "out/runs.tsv").read_text(encoding="utf-8")
    assert "seed3/labo" in Page((tmp_path / "out/report.html").read_text(encoding="utf-8")).text.replace("_\n", "_")


RUNS = (("base", 0.4, "label_smoothing"), ("labo", 0.2, "labo"))


def test_training_alone(tmp_path):
    run = finished_run(tmp_path / "run", prepared_corpus(tmp_path / "data"), 0.2)
    (run / "generate-test.txt").unlink()
    result = labo("report", run, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    text = Page((tmp_path / "out/report.html").read_text(encoding="utf-8")).text
    assert "Training" in text and "Scores" not in text and "Not translated yet" in text


def fairseq_output(path, number=12, prefix="", scores=True):
    """Output of fairseq-generate without --remove-bpe and --tokenizer, as a user has it."""
    log = []
    for i in range(number):
        words = f"{prefix} the ro@@ sa dog {'runs' if i % 2 else 'sleeps'} .".split()
        text = " ".join(words).replace("@@ ", "")
        log.append(entry(i, " ".join(words), text, "der ro@@ sa hund .", "the ro@@ sa dog sleeps ."))
    text = "".join(log)
    return write(path, text if scores else re.sub(r"(?m)^P-.*\n", "", text))


def test_outputs_alone(tmp_path):
    """`--system NAME=LOG` and nothing else: references and sources are the T- and S- lines."""
    one, two = fairseq_output(tmp_path / "a.txt"), fairseq_output(tmp_path / "b.txt", prefix="now")
    result = labo(
        "report", "--system", f"a={one}", "--system", f"b={two}", "--samples", 20, "--trials", 20, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    found = Page((tmp_path / "report/report.html").read_text(encoding="utf-8"))
    assert {"Runs", "Scores", "Length", "Confidence", "Calibration", "Examples", "Sentences"} <= set(found.texts)
    assert not {"Training", "Frequency", "Decoding"} & set(found.texts)
    # T- lines joined and detokenized, as `labo score` scores these files against such a reference
    reference = write(tmp_path / "reference.txt", "the rosa dog sleeps.\n" * 12)
    systems = ("--system", f"a={one}", "--system", f"b={two}")
    scored = labo("score", "--reference", reference, *systems, "--metrics", "bleu", "--significance", "none")
    written = (tmp_path / "report/scores_bleu.tsv").read_text(encoding="utf-8").splitlines()
    assert "looks tokenized" in result.stderr and "--tokenized" in result.stderr
    values = [line.split("\t")[1] for line in written if line[:2] in ("a\t", "b\t")]
    assert len(values) == 2 and float(values[0]) > float(values[1]) > 0 and scored.returncode == 0
    rows = (tmp_path / "report/sentences.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[1].split("\t")[:3] == ["0", "der rosa hund .", "the rosa dog sleeps."]


def test_references_and_sources_of_the_user(tmp_path):
    log = fairseq_output(tmp_path / "a.txt")
    reference, source = write(tmp_path / "r", "the rosa dog sleeps.\n" * 12), write(tmp_path / "s", "Quelle\n" * 12)
    result = labo("report", "--system", f"a={log}", "--reference", reference, "--source", source, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert Page((tmp_path / "report/report.html").read_text(encoding="utf-8")).text.count("Quelle") >= 1


def test_an_ordinary_save_dir_beside_files_elsewhere(tmp_path):
    """No command.json, no data, no names of the quickstart: --data names the corpus, --system the translations."""
    corpus = prepared_corpus(tmp_path / "data")
    made = finished_run(tmp_path / "made", corpus, 0.2)
    (tmp_path / "checkpoints").mkdir()
    (made / "train.log").rename(tmp_path / "checkpoints" / "labo.out")
    (made / "generate-test.txt").rename(tmp_path / "labo.gen.txt")
    other = finished_run(tmp_path / "other", corpus, 0.4) / "generate-test.txt"
    result = labo(
        "report", "checkpoints", "--system", "checkpoints=labo.gen.txt", "--system", f"other={other}",
        "--data", "data/bin", "--samples", 20, "--trials", 20, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = Page((tmp_path / "report/report.html").read_text(encoding="utf-8"))
    assert {"Training", "Frequency", "Scores", "Sentences"} <= set(found.texts)
    rows = [line.split("\t") for line in (tmp_path / "report/runs.tsv").read_text(encoding="utf-8").splitlines()]
    of_labo = dict(zip(rows[1], rows[2], strict=True))
    assert (of_labo["run"], of_labo["method"]) == ("checkpoints", "labo adaptive ρ=0.5 τ=1.25")
    assert of_labo["true perplexity"] == f"{2**2.5:.2f}" and of_labo["status"] == "ok"


def test_a_log_without_p_lines_and_a_text_are_systems_too(tmp_path):
    """As `labo mbr` may print, or another program translates."""
    corpus = prepared_corpus(tmp_path / "data")
    run = finished_run(tmp_path / "run", corpus, 0.3)
    log = re.sub(r"(?m)^P-.*\n", "", (run / "generate-test.txt").read_text(encoding="utf-8"))
    mbr, text = write(tmp_path / "mbr.txt", log), corpus / "raw" / "test.en"
    result = labo(
        "report",
        run,
        "--system",
        f"mbr={mbr}",
        "--system",
        f"text={text}",
        "--samples",
        20,
        "--trials",
        20,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    html = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "all of mbr, all of text" in html
    # a text is detokenized: BLEU of tokens would be of its commas
    tokenized = (tmp_path / "report/scores_tokenized.tsv").read_text(encoding="utf-8")
    assert "mbr\t" in tokenized and "text\t" not in tokenized
    confidence = (tmp_path / "report/confidence.tsv").read_text(encoding="utf-8")
    assert "run\t" in confidence and "mbr\t" not in confidence


def test_seeds_of_systems(tmp_path):
    logs = [fairseq_output(tmp_path / f"{i}.txt", prefix="now" * (i > 1)) for i in range(4)]
    systems = [f"--system={name}={log}" for name, log in zip("aabb", logs, strict=True)]
    result = labo("report", *systems, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / "report/scores_bleu.tsv").read_text(encoding="utf-8").splitlines()
    assert [row.split("\t")[:2] for row in rows[2:4]] == [["a", "2"], ["b", "2"]]


def test_a_sweep_and_tuning_are_shown(tmp_path):
    corpus = prepared_corpus(tmp_path / "data")
    run = finished_run(tmp_path / "run", corpus, 0.3)
    (run / "calibration").mkdir()
    write(run / "calibration/reliability.tsv", RELIABILITY)
    rows = [
        {"T": t, "beam": 5, "BLEU": 30.0, "ece": 0.1, "nll": 2.0, "BLEU_signature": "nrefs:1|x"} for t in (0.7, 1.0)
    ]
    write(run / "calibration/temperatures.tsv", table_of("", rows).as_tsv())
    rows = [{"beam": b, "calibrated": c, "BLEU": 30.0 + b, "length_ratio": 0.9} for b in (1, 5) for c in ("no", "yes")]
    write(run / "calibration/beams.tsv", table_of("", rows).as_tsv())
    points = [{"calibrate": "none", "lenpen": p, "bleu": 30.0 + p} for p in (0.6, 1)]
    write(run / "tuning.json", json.dumps({"chosen": points[1], "all": points}))
    measures = {"ece": 0.25, "nll": 2.0, "tokens": 40, "signature": "ece|bins:15|T:1"}
    write(run / "calibration/calibration.json", json.dumps({"measures": {"before": {"all": measures}}}))
    result = labo("report", run, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    for value in (
        "ece|<wbr>bins:15|<wbr>T:1",
        "temperatures of run",
        "beams of run",
        "length penalties tried",
        ">0.2500<",
    ):
        assert value in html, value
    assert "calibrated: no; beam size 5: 35" in html and "; length penalty 0.6: 30.6" in html
    drawn = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert {"sweep_temperatures_1", "sweep_beams_1", "tuning", "reliability_1", "coverage"} <= drawn


def test_a_dictionary_that_lacks_tokens_is_a_warning(tmp_path):
    """A small corpus of the user's own: the page is written, and the flag that the line could name exists."""
    corpus = prepared_corpus(tmp_path / "data")
    run = finished_run(tmp_path / "run", corpus, 0.3)
    dictionary = corpus / "bin/dict.de.txt"
    lines = dictionary.read_text(encoding="utf-8").splitlines()
    write(dictionary, "".join(line + "\n" for line in lines if not line.startswith("tree ")))
    result = labo("report", run, "--out", tmp_path / "out")
    assert result.returncode == 0
    assert "'tree' is not in" in result.stderr and "the frequency splits mean little" in result.stderr
    quiet = labo("report", run, "--out", tmp_path / "out", "--max-unknown", 1)
    assert quiet.returncode == 0 and "is not in" not in quiet.stderr


def test_two_sentences_have_no_splits(tmp_path):
    run = finished_run(tmp_path / "run", prepared_corpus(tmp_path / "data", 2), 0.3)
    result = labo("report", run, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "Frequency" not in Page((tmp_path / "out/report.html").read_text(encoding="utf-8")).texts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent"], "absent: no such folder"),
        (["data"], "data: has no train.log and no generate-test.txt"),
        (["run", "run"], "run: a run is given twice"),
        (["run", "other"], "other: has another test set than run"),
        (["run", "--out", "run/data"], "--out: run/data: File exists"),
        ([], "RUN: none given: name folders of runs, or translations with --system NAME=FILE"),
        (["--system", "x"], "--system: x: no name or no path: write NAME=PATH"),
        (["run", "--log", "a=b", "--log", "a=c"], "--log: a: given twice"),
        (["--system", "a=text", "--system", "a=text"], "--system: a=text: given twice"),
        (["--system", "a=text"], "--reference: none given, and no log has T- lines: give --data DIR"),
        (["run", "--direction", "de-en"], "--direction: is one of the corpus of --data: give both"),
        (["run", "--data", "data", "--reference", "text"], "--reference: the corpus of --data has its own"),
        (["run", "--max-unknown", "2"], "--max-unknown: 2.0: must be a share"),
        (["run", "--size", "40"], "--size: 40: three such parts need more sentences than 60"),
        (["data/raw"], "data/raw: has no train.log and no generate-test.txt"),
        (["run", "--examples", "-1"], "--examples: -1: must be 0 or more"),
        (["damaged"], "reliability.tsv: columns x: expected when, bin_low"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
    corpus = prepared_corpus(tmp_path / "data")
    finished_run(tmp_path / "run", corpus, 0.2)
    finished_run(tmp_path / "other", prepared_corpus(tmp_path / "data2", number=40), 0.2)
    write(finished_run(tmp_path / "damaged", corpus, 0.2) / "reliability.tsv", "x\n")
    write(tmp_path / "text", "a\n")
    result = labo("report", *arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_reliability_files(tmp_path):
    assert read_reliability(tmp_path) is None
    write(tmp_path / "reliability.tsv", "# ece|bins:2\n" + RELIABILITY)
    rows = read_reliability(tmp_path)
    assert len(rows) == 4 and rows[1]["when"] == "before" and rows[1]["accuracy"] == 0.7 and rows[0]["count"] == 0
    write(tmp_path / "reliability.tsv", RELIABILITY.replace("0.79\n", "x\n", 1))
    with pytest.raises(UserError, match="not 8 columns of numbers"):
        read_reliability(tmp_path)


def test_ece_of_a_reliability_file_by_hand(tmp_path):
    write(tmp_path / "reliability.tsv", RELIABILITY + "before\t0.9\t1.0\t10\t0.95\t0.5\t0.4\t0.6\n")
    rows = [row for row in read_reliability(tmp_path) if row["when"] == "before" and row["count"]]
    axes = reliability(rows, "x").axes[0]
    (label,) = (text.get_text() for text in axes.get_legend().get_texts() if "before" in text.get_text())
    assert label == f"before calibration (ECE {(40 * 0.1 + 10 * 0.45) / 50:.3f})"


def test_tables_escape_and_align():
    text = page.page(
        "t", "", [page.Section("s", tables=[TextTable("<b>", [["a_b", "n"], ["<i>", "-1.5"]], ["a|<u>"])])]
    )
    found = Page(text)
    assert not {"b", "i", "u"} & set(found.tags)
    assert '<td class="n" data-label="n">-1.5</td>' in text and '<th class="n">n</th>' in text
    assert "<td>&lt;i&gt;</td>" in text


@pytest.mark.parametrize("copied, warned", [(3, True), (1, False)])
def test_the_source_text_given_as_a_system_is_warned_about(tmp_path, capsys, copied, warned):
    sources = ["Ein Hund läuft .", "Die Katze schläft .", "Ein Rad steht da .", "Wasser fließt ."]
    write(tmp_path / "source", "".join(f"{line}\n" for line in sources))
    write(tmp_path / "reference", "a dog runs\nthe cat sleeps\na bike stands there\nwater flows\n")
    write(tmp_path / "system", "".join(f"{line}\n" for line in sources[:copied]) + "other words\n" * (4 - copied))
    files = [f"--{name}={tmp_path / name}" for name in ("source", "reference")]
    flags = ["--system", f"odd={tmp_path / 'system'}", "--out", str(tmp_path / "out"), "--significance", "none"]
    assert main(["report", *files, *flags]) == 0
    assert (f"{copied} of 4 lines are the source sentences" in capsys.readouterr().err) is warned
