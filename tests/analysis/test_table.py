import json
import shutil

import pytest
from _analysis import CONFIG, RESUMED, entry, epoch_end, inner, labo, sacrebleu, valid, write

from labo_fairseq import __version__
from labo_fairseq.analysis.runs import read_run
from labo_fairseq.records.run_folder import method_name, settings_of

RAW = ["Two dogs run over the green meadow.", "A man's hat lies on the old wooden bench."]
TOK = ["two dogs run over the green meadow .", "a man &apos;s hat lies on the old wooden bench ."]
HYPOTHESES = ["two dogs run over a green meadow .", "a man &apos;s hat lies on the old bench ."]
DETOKENIZED = ["two dogs run over a green meadow.", "a man's hat lies on the old bench."]


def lines(texts):
    return "".join(text + "\n" for text in texts)


@pytest.fixture
def folder(tmp_path):
    """A prepared corpus `data` and a finished run `labo`."""
    data, run = tmp_path / "data", tmp_path / "labo"
    for path in (data / "raw", data / "tok", run):
        path.mkdir(parents=True)
    manifest = {"corpus": "embedded", "source": "de", "target": "en", "synthetic": True, "lowercased": True}
    write(data / "manifest.json", json.dumps(manifest))
    write(data / "raw" / "test.en", lines(RAW))
    write(data / "tok" / "test.en", lines(TOK))
    write(run / "data", "../data\n")
    arguments = [
        "fairseq-train",
        "bin",
        "--criterion",
        "labo",
        "--smoothing-warmup-updates",
        "120",
        "--max-update=1200",
    ]
    write(run / "command.json", json.dumps(arguments))
    log = [
        CONFIG,
        inner(100),
        valid(600, 3.0),
        epoch_end(1, 600, 100),
        valid(1200, 3.25, epoch=2),
        epoch_end(2, 1200, 140),
    ]
    write(run / "train.log", lines(log))
    pairs = zip(HYPOTHESES, DETOKENIZED, strict=True)
    write(run / "generate-test.txt", "".join(entry(i, h, d, target=RAW[i].lower()) for i, (h, d) in enumerate(pairs)))
    return tmp_path


def rows(result):
    assert result.returncode == 0, result.stderr
    table = [line.split("\t") for line in result.stdout.splitlines() if not line.startswith("#")]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_golden_row_and_notes(folder):
    write(folder / "hyp.txt", lines(DETOKENIZED))
    write(folder / "hyp.tok", lines(HYPOTHESES))
    cased = ["-i", folder / "hyp.txt", "-lc"]
    tokenized = ["-i", folder / "hyp.tok", "-lc", "-tok", "none", "--smooth-method", "none", "--force"]
    result = labo("table", "labo", cwd=folder)
    assert rows(result) == [
        {
            "run": "labo",
            "method": "labo adaptive ρ=0.5 τ=1.25",
            "updates": "1200",
            "share under P*": "0.90",
            "BLEU": sacrebleu(folder / "data/raw/test.en", *cased, "-w", 2, "-b"),
            "BLEU (tokenized)": sacrebleu(folder / "data/tok/test.en", *tokenized, "-w", 2, "-b"),
            "true perplexity": "8.00",
            "updates/s": "5.00",
            "minutes": "4.0",
            "status": "ok",
        }
    ]
    notes = [line for line in result.stdout.splitlines() if line.startswith("# ")]
    signature = sacrebleu(folder / "data/raw/test.en", *cased, "-f", "text").split(" = ")[0].removeprefix("BLEU|")
    assert notes[0] == f"# BLEU: {signature}" and "case:lc" in signature
    assert "tok:none" in notes[1]
    assert notes[2].startswith("# share under P*: share of the updates after LABO's warm-up")
    assert notes[3].startswith("# synthetic corpus")
    assert f"labo_fairseq {__version__}, fairseq " in notes[4] and "torch " in notes[4] and "sacrebleu " in notes[4]
    assert result.stderr == ""


def test_cased_corpora_are_scored_cased(folder):
    manifest = json.loads((folder / "data/manifest.json").read_text())
    write(folder / "data/manifest.json", json.dumps({**manifest, "lowercased": False, "synthetic": False}))
    result = labo("table", "labo", cwd=folder)
    assert "case:mixed" in result.stdout and "case:lc" not in result.stdout and "synthetic" not in result.stdout
    assert float(rows(result)[0]["BLEU"]) < 80


def test_without_the_key_the_tokens_tell_whether_the_corpus_is_lowercased(folder):
    manifest = json.loads((folder / "data/manifest.json").read_text())
    del manifest["lowercased"]
    write(folder / "data/manifest.json", json.dumps(manifest))
    assert "case:lc" in labo("table", "labo", cwd=folder).stdout
    write(folder / "data/tok/test.en", lines(["Two dogs .", TOK[1]]))
    assert "case:lc" not in labo("table", "labo", cwd=folder).stdout


def test_json_and_markdown(folder):
    (run,) = json.loads(labo("table", "labo", "--json", cwd=folder).stdout)["runs"]
    assert run["perplexity"] == 8 and run["share_under_p_star"] == 0.9 and run["synthetic"] is True
    assert run["bleu"]["metric"] == "BLEU" and run["status"] == "ok"
    table = labo("table", "labo", "absent", "--markdown", cwd=folder).stdout.splitlines()
    assert table[0].startswith("| run | method |") and table[1].count("---") == 3
    assert len({line.count("|") for line in table[:4]}) == 1 and table[4] == ""


def test_every_unfinished_state_has_a_row_that_says_so(folder):
    def copy(name, *without):
        shutil.copytree(folder / "labo", folder / name)
        for file in without:
            (folder / name / file).unlink()
        return folder / name

    copy("untranslated", "generate-test.txt")
    copy("unstarted", "generate-test.txt", "train.log")
    copy("nodata", "data")
    write(copy("stopped", "generate-test.txt") / "train.log", lines([CONFIG, inner(100, wall=20)]))
    write(copy("damaged") / "generate-test.txt", entry(0, "a") + entry(2, "b"))
    write(copy("short") / "generate-test.txt", entry(0, "a"))
    write(copy("badjson") / "command.json", "{")
    write(copy("nolist") / "command.json", '{"a": 1}')
    write(copy("badnumber") / "command.json", '["fairseq-train", "--criterion", "labo", "--max-update", "many"]')
    write(copy("lost") / "data", "../elsewhere\n")
    expected = {
        "labo": "ok",
        "untranslated": "not translated: no generate-test.txt",
        "unstarted": "not started: no train.log; not translated",
        "stopped": "unfinished: 100 of 1200 updates; not translated",
        "nodata": "not scored: no file `data`",
        "damaged": "no sentence id 1",
        "short": "1 sentences, but",
        "badjson": "command.json:1: no JSON",
        "nolist": "command.json: is no list of strings",
        "badnumber": "--max-update: many: is no whole number",
        "lost": "elsewhere/manifest.json: No such file",
        "absent": "no such folder",
    }
    found = rows(labo("table", *expected, cwd=folder))
    assert [row["run"] for row in found] == list(expected)
    for row in found:
        assert expected[row["run"]] in row["status"]
    by_name = {row["run"]: row for row in found}
    assert by_name["stopped"]["updates"] == "100" and by_name["stopped"]["BLEU"] == "–"
    assert by_name["stopped"]["updates/s"] == "5.00" and by_name["stopped"]["true perplexity"] == "–"
    assert by_name["nodata"]["true perplexity"] == "8.00"


def test_a_run_without_a_number_of_updates_is_unfinished_until_fairseq_says_that_it_is_done(folder):
    """--max-epoch or --patience alone; the latter also ends runs below their --max-update."""
    arguments = ["fairseq-train", "--criterion", "labo"]
    (folder / "labo/command.json").write_text(json.dumps([*arguments, "--max-epoch", "60"]))
    log = [CONFIG.replace("'max_update': 1200", "'max_update': 0"), inner(100)]
    write(folder / "labo/train.log", lines(log))
    assert read_run(folder / "labo").status == "unfinished: 100 updates"
    write(folder / "labo/train.log", lines([*log, "done training in 3.2 seconds"]))
    assert read_run(folder / "labo").status == "ok"
    write(folder / "labo/train.log", lines([CONFIG, inner(100), "done training in 3.2 seconds"]))
    assert read_run(folder / "labo").status == "ok"


def test_without_command_json_the_log_tells_the_method(tmp_path):
    run = tmp_path / "old"
    run.mkdir()
    shutil.copy(RESUMED, run / "train.log")
    found = read_run(run)
    assert found.method == "label_smoothed_cross_entropy ε=0.1"
    assert found.updates == 60 and found.perplexity == 2**5.195 and found.share_under_p_star is None
    assert found.status == "not translated: no generate-test.txt"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("--criterion labo", "labo adaptive ρ=0.5 τ=1.25"),
        ("--criterion labo --rho 0.7 --rho 0.6", "labo adaptive ρ=0.6 τ=1.25"),
        ("--criterion=labo --smoothing-mass=fixed --smoothing-temperature 1.15", "labo fixed α=0.1 τ=1.15"),
        ("--criterion label_smoothed_cross_entropy --label-smoothing 0.1", "label_smoothed_cross_entropy ε=0.1"),
        ("--criterion label_smoothed_cross_entropy", "label_smoothed_cross_entropy ε=0.0"),
        ("--criterion label_smoothing --smoothing-prior unigram", "label_smoothing unigram torch α=0.1"),
        ("--criterion labo --rdrop-weight 5", "labo adaptive ρ=0.5 τ=1.25 R-Drop=5"),
        ("--criterion cross_entropy --cpu --no-epoch-checkpoints", "cross_entropy"),
        ("--cpu", "?"),
    ],
)
def test_method_names(arguments, name):
    assert method_name(settings_of(["fairseq-train", "bin", *arguments.split()])) == name


def share_under_p_star(folder, *flags):
    write(folder / "labo" / "command.json", json.dumps(["fairseq-train", "--criterion", "labo", *flags]))
    return read_run(folder / "labo").share_under_p_star


def test_a_run_shorter_than_its_warmup_has_no_share(folder):
    assert share_under_p_star(folder, "--smoothing-warmup-updates", "5000") == 0


def test_the_share_of_a_warmup_that_nobody_named(folder):
    """3 % of 1,200 updates are 36. Older versions logged their default; without --max-update it is 5,000."""
    assert share_under_p_star(folder) == share_under_p_star(folder, "--smoothing-warmup-updates", "auto") == 0.97
    log = (folder / "labo/train.log").read_text()
    write(folder / "labo/train.log", log.replace("'rho': 0.5", "'rho': 0.5, 'smoothing_warmup_updates': 1000"))
    assert share_under_p_star(folder) == pytest.approx(1 / 6)
    endless = log.replace("'max_update': 1200", "'max_update': 0")
    write(folder / "labo/train.log", endless)
    assert share_under_p_star(folder) == 0
    write(folder / "labo/train.log", endless.replace("'rho': 0.5", "'rho': 0.5, 'max_epoch': 2"))
    assert share_under_p_star(folder) == 0.97


def test_an_ordinary_save_dir_and_files_elsewhere(folder, tmp_path):
    """The golden run taken apart: the same row as from its folder, but for what only command.json told."""
    run = folder / "labo" if (folder / "labo").is_dir() else folder
    golden = json.loads(labo("table", run, "--json").stdout)["runs"][0]
    save_dir, elsewhere = tmp_path / "apart" / "checkpoints", tmp_path / "apart" / "out"
    for path in (save_dir, elsewhere):
        path.mkdir(parents=True)
    shutil.copy(run / "train.log", save_dir / "fairseq.out")
    shutil.copy(run / "generate-test.txt", elsewhere / "beam5.gen")
    data = (run / (run / "data").read_text().strip()).resolve()
    system = f"checkpoints={elsewhere / 'beam5.gen'}"
    done = labo("table", save_dir, "--system", system, "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["runs"]
    same = ("bleu", "tokenized_bleu", "perplexity", "updates", "minutes", "synthetic")
    assert {key: row[key] for key in same} == {key: golden[key] for key in same} and row["run"] == "checkpoints"
    # without a folder at all, and any number of them
    more = ("--system", f"other={elsewhere / 'beam5.gen'}", "--log", f"trained={save_dir / 'fairseq.out'}")
    done = labo("table", "--system", system, *more, "--data", data, "--json")
    rows = {row["run"]: row for row in json.loads(done.stdout)["runs"]}
    assert list(rows) == ["checkpoints", "other", "trained"]
    assert rows["other"]["bleu"] == golden["bleu"] and rows["other"]["status"] == "ok"
    assert rows["trained"]["perplexity"] == golden["perplexity"] and "not translated" in rows["trained"]["status"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN: none given: name folders of runs, or translations with --system NAME=FILE"),
        (["--system", "a=absent"], "--system: a=absent: no such file"),
        (["--log", "a"], "--log: a: no name or no path: write NAME=PATH"),
        (["--data", "."], "RUN: none given"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, arguments, message):
    done = labo("table", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"labo table: {message}") and done.stderr.count("\n") == 1
