"""labo doctor: what it finds, also where fairseq or torch is missing or the bridge is off."""

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from labo_fairseq.cli import main
from labo_fairseq.commands import doctor

CLONE = Path(__file__).parents[2]


@pytest.fixture
def missing(monkeypatch):
    """Function: make importlib.metadata forget a distribution."""
    known = importlib.metadata.version

    def forget(name):
        def version(asked):
            if asked == name:
                raise importlib.metadata.PackageNotFoundError(asked)
            return known(asked)

        monkeypatch.setattr(importlib.metadata, "version", version)

    return forget


def rows_of(found):
    return {row.check: row for row in found}


def test_here_everything_needed_works(run_cli):
    done = run_cli("labo", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    rows = {row["check"]: row for row in report["rows"]}
    assert report["works"] is True
    assert rows["python"]["detail"] == ".".join(map(str, sys.version_info[:3]))
    assert rows["torch"]["detail"] == importlib.metadata.version("torch")
    assert rows["hashable_dataclasses"]["state"] == "active" and "F1" in rows["hashable_dataclasses"]["detail"]
    commands = [name for name in rows if name.startswith("fairseq-")]
    assert len(commands) == 8 and all(rows[name]["state"] == "ok" for name in commands)


def healthy(**changes):
    """The rows of a machine where all is well, but for some that are changed."""
    details = {"python": "3.11.7", "labo_fairseq": "0.1.0 /x/labo_fairseq", "fairseq": "0.12.2", "torch": "2.13.0+cpu"}
    rows = {name: doctor.Row(name, "ok", detail, needed=True) for name, detail in details.items()}
    rows |= {"hashable_dataclasses": doctor.Row("hashable_dataclasses", "active"), "GPU": doctor.Row("GPU", "none")}
    rows |= {name: doctor.Row(name, "ok", "1.0") for name in doctor.OPTIONAL}
    rows |= {name: doctor.Row(name, **change) for name, change in changes.items()}
    return list(rows.values())


@pytest.mark.parametrize(
    "changes, told",
    [
        ({}, "python 3.11.7; 1 mends of the bridge active; no GPU (give fairseq --cpu); more: labo doctor --verbose"),
        ({"GPU": {"state": "ok", "detail": "NVIDIA H200, 139 GiB"}}, "; NVIDIA H200, 139 GiB; "),
        ({"torchvision": {"state": "none"}}, "; not installed: torchvision (image classification); "),
        ({"a_mend": {"state": "failed"}}, "; failed, but not needed: a_mend; "),
    ],
)
def test_one_line_on_a_healthy_machine(changes, told):
    line = doctor.summary(healthy(**changes))
    assert "\n" not in line and told in line
    assert line.startswith("training and translation work here: labo_fairseq 0.1.0, fairseq 0.12.2, torch 2.13.0+cpu,")


@pytest.mark.parametrize("flags, checks", [([], ["torch"]), (["--verbose"], [row.check for row in healthy()])])
def test_the_table_has_what_is_wrong_and_verbose_has_all(monkeypatch, capsys, flags, checks):
    wrong = healthy(torch={"state": "missing", "needed": True, "to_do": "install it"})
    monkeypatch.setattr(doctor, "python_rows", lambda: wrong)
    for name in ("package_rows", "bridge_rows", "optional_rows", "build_rows"):
        monkeypatch.setattr(doctor, name, lambda: [])
    monkeypatch.setattr(doctor, "UNTRIED", doctor.Row("fairseq commands", "none"))
    assert main(["doctor", *flags]) == 1
    found = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [name for name in found if name != "fairseq commands"] == checks


def test_the_table_with_the_bridge_off(run_cli):
    done = run_cli("labo", "doctor", env={"LABO_FAIRSEQ_COMPAT": "0"})
    assert done.returncode == 1
    heading, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert heading == ["check", "state", "detail", "what to do"]
    assert ["bridge", "off", "LABO_FAIRSEQ_COMPAT=0", "unset LABO_FAIRSEQ_COMPAT"] in lines


def test_with_nothing_installed_it_says_how_to_install(run_cli):
    """-S -E: a Python without site-packages; the clone's own folder is the only thing on the path."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from labo_fairseq import cli; sys.exit(cli.main(['doctor']))"
    done = run_cli("python", "-S", "-E", "-c", code, CLONE, cwd="/")
    assert done.returncode == 1 and done.stderr == ""
    assert "\tpip install --no-deps fairseq==0.12.2\n" in done.stdout
    assert "scripts/install.sh VENV" in done.stdout


@pytest.mark.parametrize("name", ["fairseq", "torch"])
def test_a_missing_package(missing, name):
    missing(name)
    row = rows_of(doctor.package_rows())[name]
    to_do = {
        "fairseq": "pip install --no-deps fairseq==0.12.2",
        "torch": f"pip install -c {CLONE}/constraints.txt 'torch>=2.6'",
    }
    assert row.state == "missing" and row.bad and row.to_do == to_do[name]


def test_a_package_of_a_version_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0.7" if name == "hydra-core" else "99")
    rows = rows_of(doctor.package_rows())
    assert rows["hydra-core"].state == "failed" and rows["hydra-core"].bad
    assert rows["hydra-core"].detail.startswith("1.0.7, but hydra-core")
    assert rows["torch"].state == "ok"


def test_the_hook_that_was_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "labo_fairseq_hook", raising=False)
    (row,) = doctor.bridge_rows()
    assert row.state == "missing" and "import labo_fairseq_hook" in row.to_do


def test_commands_that_break_are_shown():
    found = {
        "mends": [{"mend": "m", "outcome": "failed: KeyError: 1", "failure": "F1: x", "modules": ["a", "b"]}],
        "extensions": {"fairseq.libbleu": "ModuleNotFoundError: No module named 'fairseq.libbleu'"},
        "commands": {"fairseq-train": "ValueError: mutable default"},
        "gpus": ["NVIDIA H200, 139 GiB"],
    }
    rows = rows_of(doctor.probe_rows(found))
    assert rows["m"].state == "failed" and "[a, b]" in rows["m"].detail
    assert rows["fairseq-train"].bad and rows["fairseq-train"].detail == "ValueError: mutable default"
    assert rows["fairseq.libbleu"].bad and "--force-reinstall" in rows["fairseq.libbleu"].to_do
    assert rows["GPU"].detail == "NVIDIA H200, 139 GiB"


def test_a_probe_that_dies_is_one_row(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\necho first >&2; echo last words >&2; exit 3\n")
    (tmp_path / "python").chmod(0o755)
    (row,) = doctor.probe_rows(doctor.probe())
    assert row.bad and row.detail == "last words"
