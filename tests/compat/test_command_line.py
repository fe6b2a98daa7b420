"""F41-F48: a wrong command line of fairseq ends with one line that says what to do."""

import argparse

import pytest
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY

import labo_fairseq
from labo_fairseq.compat import command_line, hydra_line

labo_fairseq.register()


def ours(registry):
    # the bridge's own package is another one, of the same files
    return sorted(name for name, entry in registry.items() if entry.__module__.startswith("labo_fairseq."))


def test_the_bridge_knows_every_name_that_the_plugin_registers():
    registered = {
        "criterion": ours(CRITERION_REGISTRY),
        "task": ours(TASK_REGISTRY),
        **{kind: ours(REGISTRIES[kind]["registry"]) for kind in ("optimizer", "lr_scheduler")},
    }
    assert {kind: sorted(names) for kind, names in command_line.PLUGIN_NAMES.items()} == registered


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser(prog="fairseq-train", allow_abbrev=False)
    parser.add_argument("--criterion", choices=["cross_entropy", "label_smoothed_cross_entropy"])
    parser.add_argument("--max-update", type=int)
    parser.add_argument("--lr-scheduler", choices=["fixed", "inverse_sqrt"])
    parser.error = lambda message: command_line._end(parser, message)
    return parser


@pytest.mark.parametrize(
    "flags, line",
    [
        (
            ["--criterion", "labo"],
            "--criterion: labo: is a criterion of labo_fairseq, which is not loaded: add --user-dir",
        ),
        (["--criterion", "kr_ls"], "kr_ls: is a criterion of labo_fairseq, which is not loaded"),
        (["--lr-scheduler", "multi_step"], "--lr-scheduler: multi_step: is a lr_scheduler of labo_fairseq"),
        (["--criterion", "cross_entrpy"], "--criterion: cross_entrpy: no such criterion: did you mean cross_entropy?"),
        (["--criterion", "zzz"], "zzz: no such criterion: choose from cross_entropy, label_smoothed_cross_entropy"),
        (["--max-updat", "3"], "--max-updat: no such flag: did you mean --max-update?"),
        (["--zzz", "3"], "--zzz: no such flag: not with this task, model and criterion"),
        (["--max-update", "x"], "argument --max-update: invalid int value: 'x'"),
        (["--max-update"], "argument --max-update: expected one argument"),
    ],
)
def test_one_line_with_the_remedy(parser, capsys, flags, line):
    with pytest.raises(SystemExit) as end:
        parser.parse_args(flags)
    err = capsys.readouterr().err
    assert end.value.code == 2 and len(err.splitlines()) == 1
    assert err.startswith("fairseq-train: ") and line in err


def test_a_criterion_of_ours_that_is_misspelt_while_the_plugin_is_loaded():
    assert (
        command_line.remedy("criterion", "labbo", ["cross_entropy", "labo"]) == "no such criterion: did you mean labo?"
    )


def test_without_the_user_dir(run_cli, tiny_bin):
    done = run_cli("fairseq-train", tiny_bin, "--criterion", "labo", "--arch", "transformer")
    assert done.returncode == 2 and "usage:" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("which is not loaded: add --user-dir labo_fairseq")


def test_the_user_dir_is_found_by_its_name_and_a_batch_size_is_asked_for(run_cli, tiny_bin, tmp_path):
    """In a folder that has no labo_fairseq."""
    flags = ["--user-dir", "labo_fairseq", "--criterion", "labo", "--arch", "transformer", "--cpu"]
    done = run_cli("fairseq-train", tiny_bin, *flags, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "fairseq-train: Must specify batch size either with --max-tokens or --batch-size"
    )


@pytest.mark.parametrize("folder", ["nowhere", "./labo", "/nowhere/labo_fairseq"])
def test_a_user_dir_that_is_missing(folder, tmp_path, monkeypatch):
    from fairseq.utils import import_user_module

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such folder: give --user-dir labo_fairseq"):
        import_user_module(argparse.Namespace(user_dir=folder))


@pytest.mark.parametrize(
    "given, found",
    [
        ({"source_lang": None, "target_lang": None}, ("de", "en")),
        ({"source_lang": "en", "target_lang": "de"}, ("en", "de")),  # the other direction of the same data
    ],
)
def test_the_tokenizer_gets_the_languages_of_the_data(tiny_bin, given, found):
    args = argparse.Namespace(data=str(tiny_bin), tokenizer="moses", **given)
    command_line._find_languages(args)
    assert (args.source_lang, args.target_lang) == found


@pytest.mark.parametrize("data", ["", "nowhere"])
def test_data_that_names_no_languages(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"--tokenizer moses: .*add -s XX -t YY"):
        command_line._find_languages(argparse.Namespace(data=data, source_lang=None, target_lang=None))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides, line",
    [
        (
            ["criterion=labo"],
            "criterion=labo: is a criterion of labo_fairseq, which is not loaded: add common.user_dir=",
        ),
        (["criterion=labo", "common.user_dir=nowhere"], "nowhere: no such folder"),
        (["criterion=labbo", "common.user_dir=labo_fairseq"], "criterion=labbo: no such criterion: did you mean labo?"),
        (
            ["optimization.max_updat=3"],
            "optimization.max_updat: no such setting: did you mean optimization.max_update?",
        ),
        (["optimization.max_update=three"], "could not be converted to Integer"),
        (["--config-dir", "nowhere"], "nowhere' not found"),
    ],
)
def test_hydra(run_cli, tiny_bin, tmp_path, overrides, line):
    data = ["task=translation", f"task.data={tiny_bin}", f"hydra.run.dir={tmp_path}"]
    done = run_cli("fairseq-hydra-train", *overrides, *data, cwd=tmp_path, env={"PYTHONWARNINGS": ""})
    assert done.returncode == 2 and "Traceback" not in done.stderr and "Warning" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fairseq-hydra-train: ") and line in last


@pytest.mark.parametrize(
    "arguments, folder",
    [
        (["task=translation", "common.user_dir=one"], "one"),
        (["+common.user_dir='two'", "criterion=labo"], "two"),
        (["common.user_dir=one", "common.user_dir=two"], "two"),  # as hydra, the last
        (["--config-dir", "conf", "--config-name", "mine"], "three"),
        (["--config-dir", "conf", "--config-name", "mine.yaml", "common.user_dir=one"], "one"),
        (["--config-dir", "conf", "--config-name", "other"], None),
        (["task=translation"], None),
    ],
)
def test_where_hydra_names_the_plugin(tmp_path, monkeypatch, arguments, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/mine.yaml").write_text("common: {user_dir: three, cpu: true}\n")
    (tmp_path / "conf/other.yaml").write_text("common: [\n")
    assert hydra_line._user_dir(arguments) == folder


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "no binaries of a language pair in the data folder: did you mean {0}/bin?"),
        (["-s", "de", "-t", "en"], "--optimizer: is missing: choose one, as --optimizer adam"),
    ],
)
def test_what_was_forgotten_is_one_line(run_cli, tiny_bin, tmp_path, flags, message):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "bin").symlink_to(tiny_bin)
    data = folder / "bin" if flags else folder
    done = run_cli("fairseq-train", data, "--arch", "transformer_tiny", "--max-tokens", 300, "--cpu", *flags)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"fairseq-train: {message.format(folder)}")


def test_fairseq_validate_without_a_task(run_cli, tiny_bin):
    done = run_cli("fairseq-validate", tiny_bin, "--path", "none.pt", "--cpu")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("fairseq-validate: --task: is missing: add --task translation")
