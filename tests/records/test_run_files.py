import json

import pytest
from _analysis import CONFIG, entry, finished_run, inner, prepared_corpus, valid, write

from labo_fairseq.errors import UserError
from labo_fairseq.records.run_files import find_runs, groups_of, run_in

LOG = "\n".join([CONFIG, inner(100), valid(600, 3.0)]) + "\n"
GENERATED = entry(0, "a b")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return prepared_corpus(tmp_path_factory.mktemp("corpus") / "data", 10)


def test_a_folder_of_the_quickstart(tmp_path, corpus):
    folder = finished_run(tmp_path / "labo", corpus, 0.2)
    run = run_in(folder)
    assert (run.name, run.log, run.translations) == ("labo", folder / "train.log", folder / "generate-test.txt")
    assert run.settings["criterion"] == "labo" and run.corpus.target == "en" and run.calibration_folder is None


@pytest.mark.parametrize(
    ("log", "generated"),
    [
        ("train.log", "generate-test.txt"),
        ("labo.log", "out.txt"),
        ("fairseq.out", "gen.out"),
        ("train.txt", "test.log"),
    ],
)
def test_an_ordinary_save_dir(tmp_path, log, generated):
    """Checkpoints, a log of any name, the output of fairseq-generate under any name; no command, no data."""
    for name in ("checkpoint_best.pt", "checkpoint1.pt"):
        (tmp_path / name).write_bytes(b"\x80\x02")
    write(tmp_path / log, LOG)
    write(tmp_path / generated, GENERATED)
    write(tmp_path / "generate-valid.txt", GENERATED)
    write(tmp_path / "notes.txt", "the best run\n")
    run = run_in(tmp_path)
    assert (run.log, run.translations) == (tmp_path / log, tmp_path / generated)
    assert run.settings == {} and run.corpus is None


def test_two_of_a_kind_are_not_guessed(tmp_path):
    for name in ("beam5.txt", "beam10.txt"):
        write(tmp_path / name, GENERATED)
    for name in ("one.log", "two.log"):
        write(tmp_path / name, LOG)
    assert run_in(tmp_path).translations is None and run_in(tmp_path).log is None
    with pytest.raises(UserError, match=r"not just one file of either kind: .*--system .*=FILE --log .*=FILE"):
        find_runs([str(tmp_path)])


def test_files_elsewhere_are_named(tmp_path, corpus):
    (tmp_path / "labo").mkdir()
    log, gen = write(tmp_path / "labo.log", LOG), write(tmp_path / "labo.gen", GENERATED)
    (tmp_path / "calibration").mkdir()
    runs = find_runs(
        [str(tmp_path / "labo")],
        {"labo": [gen], "ls": [gen, log]},
        {"labo": log, "later": log},
        {"ls": str(tmp_path / "calibration")},
        str(corpus / "bin"),
    )
    assert list(runs) == ["labo", "ls", "ls (2)", "later"]
    assert str(runs["labo"].translations) == gen and str(runs["labo"].log) == log
    assert runs["ls"].calibration_folder == tmp_path / "calibration" and runs["later"].translations is None
    assert all(run.corpus.folder == corpus for run in runs.values())
    assert groups_of({name: name for name in runs}, runs) == {
        "labo": ["labo"],
        "ls": ["ls", "ls (2)"],
        "later": ["later"],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"translations": {"a": ["absent.txt"]}}, "--system: a=absent.txt: no such file"),
        ({"translations": {"run": ["x", "y"]}}, "--system: run: is the name of a run too"),
        ({"logs": {"a": "absent.log"}}, "--log: absent.log: no such file"),
        ({"calibrations": {"a": "absent"}}, "--calibration: a: no such system: name one of run"),
        ({"calibrations": {"run": "absent"}}, "--calibration: absent: no such file"),
        ({"data": "nowhere"}, "--data: nowhere: has no manifest.json"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, corpus, arguments, message):
    monkeypatch.chdir(tmp_path)
    finished_run(tmp_path / "run", corpus, 0.2)
    with pytest.raises(UserError) as error:
        find_runs(["run"], **arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["", "calibration", "calibration/temperature", "ece"])
def test_the_calibration_inside_a_run(tmp_path, corpus, place):
    folder = finished_run(tmp_path / "run", corpus, 0.2)
    (folder / place).mkdir(parents=True, exist_ok=True)
    write(folder / place / "reliability.tsv", "")
    run = run_in(folder)
    assert run.calibration_folder == folder / place and run.calibrates_translations


@pytest.mark.parametrize(("chosen", "applies"), [("none", True), ("temperature", False)])
def test_translations_that_were_calibrated_while_decoding_are_not_calibrated_again(tmp_path, corpus, chosen, applies):
    folder = finished_run(tmp_path / "run", corpus, 0.2)
    point = {"calibrate": chosen, "lenpen": 1, "bleu": 30.0}
    write(folder / "tuning.json", json.dumps({"chosen": point, "all": [point]}))
    assert run_in(folder).calibrates_translations is applies
    given = find_runs([str(folder)], calibrations={"run": str(tmp_path)})["run"]
    assert given.calibrates_translations  # the user says so
