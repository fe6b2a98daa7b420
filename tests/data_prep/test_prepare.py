"""`labo prepare` from raw text to binaries: layout, manifest, second runs, interrupted runs, failing tools."""

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from labo_fairseq.data_prep import binarize, embedded, multi30k, steps

from labo_fairseq import files
from labo_fairseq.cli import main

SPLITS = ("train", "valid", "test")


quickly = pytest.mark.usefixtures("no_fairseq")


def lines(path):
    return Path(path).read_text(encoding="utf-8").split("\n")[:-1]


def contents(out):
    """{name: bytes} of everything in the folder but the lock and the log, which holds times."""
    paths = [path for path in Path(out).rglob("*") if path.is_file() and path.name not in (".lock", "preprocess.log")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_layout_and_manifest(prepare, raw, tmp_path):
    code, log = prepare()
    assert code == 0
    assert [line for line in log if not line.startswith("labo prepare: ")] == []  # no progress bars: no terminal
    out = tmp_path / "out"
    names = [f"{split}.{side}" for split in SPLITS for side in ("de", "en")]
    texts = {f"{folder}/{name}" for folder in ("raw", "tok", "bpe") for name in names}
    binaries = {f"bin/{s}.de-en.{side}.{end}" for s in SPLITS for side in ("de", "en") for end in ("bin", "idx")}
    expected = {*texts, *binaries, "bpe/codes", "bin/dict.de.txt", "bin/dict.en.txt", "README.txt"}
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert set(contents(out)) == {*expected, "manifest.json"}
    assert set(manifest["files"]) == expected
    for name, entry in manifest["files"].items():
        data = (out / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry.get("lines") == (None if name.endswith((".bin", ".idx")) else data.count(b"\n"))
    assert (manifest["synthetic"], manifest["lowercased"]) == (False, True)
    assert (manifest["source"], manifest["target"], manifest["bpe_operations"]) == ("de", "en", 30)
    assert {"labo_fairseq", "fairseq", "sacremoses", "subword-nmt", "sentencepiece", "python"} <= set(manifest["tools"])
    assert manifest["pairs"] == {"train": 40, "valid": 6, "test": 6}
    digest = hashlib.sha256((raw / "val.de").read_bytes()).hexdigest()
    assert manifest["raw_files"]["val.de"] == {"sha256": digest, "lines": 6}
    check_texts(out, raw)


def check_texts(out, raw):
    assert lines(out / "raw/train.de") == lines(raw / "train.de")
    assert lines(out / "tok/train.de")[0] == lines(raw / "train.de")[0].lower().replace(".", " .")
    joined = [line.replace("@@ ", "") for line in lines(out / "bpe/train.en")]
    assert joined == lines(out / "tok/train.en")
    assert any("@@" in line for line in lines(out / "bpe/train.en"))
    assert (out / "bin/dict.de.txt").read_bytes() == (out / "bin/dict.en.txt").read_bytes()
    counts = {len(lines(out / folder / "valid.de")) for folder in ("raw", "tok", "bpe")}
    assert counts == {6}


@quickly
def test_second_run_does_nothing(prepare, tmp_path):
    prepare()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    code, log = prepare()
    assert code == 0
    assert log == [f"labo prepare: {tmp_path / 'out'}: prepared already, nothing to do"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@quickly
@pytest.mark.parametrize("changed", [["--bpe-operations", "31"], ["--source", "en", "--target", "de"]])
def test_other_parameters_need_another_folder(prepare, tmp_path, changed):
    prepare()
    before = contents(tmp_path / "out")
    code, log = prepare(*changed)
    assert code == 2
    assert "made with other parameters" in log[-1]
    assert "--out" in log[-1]
    assert contents(tmp_path / "out") == before


@quickly
def test_other_raw_text_needs_another_folder(prepare, raw):
    prepare()
    with open(raw / "val.de", "a", encoding="utf-8") as stream:
        stream.write("Neu.\n")
    code, log = prepare()
    assert code == 2
    assert "raw_files" in log[-1]


@quickly
def test_a_damaged_file_and_what_follows_from_it_are_made_again(prepare, tmp_path):
    prepare()
    out = tmp_path / "out"
    before = contents(out)
    (out / "bpe/codes").write_bytes(b"")
    code, log = prepare()
    assert code == 0
    assert log[0].endswith("finished already: raw, tok")
    assert contents(out) == before


@quickly
def test_interrupted_run_goes_on_at_the_step_it_stopped_in(prepare, tmp_path, monkeypatch):
    real = steps.STEPS["bin"]

    def stopped(job):
        raise KeyboardInterrupt

    monkeypatch.setitem(steps.STEPS, "bin", stopped)
    assert prepare()[0] == 130
    assert not (tmp_path / "out/manifest.json").exists()
    monkeypatch.setitem(steps.STEPS, "bin", real)
    _, log = prepare()
    assert log[0].endswith("finished already: raw, tok, codes, bpe")
    assert len(log) == 2


@pytest.mark.slow
def test_killed_at_random_moments_the_result_is_the_same(prepare, raw, tmp_path):
    prepare()
    expected = contents(tmp_path / "out")
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "labo_fairseq.cli", "prepare", "multi30k", "--source", "de", "--target", "en"]
    command += ["--bpe-operations", "30", "--raw-dir", str(raw), "--out", str(killed)]
    rng, wait, kills = random.Random(7), 0.3, 0
    for attempt in range(40):
        env = {**os.environ, "PYTHONHASHSEED": str(attempt)}
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert process.wait(timeout=wait * (0.5 + rng.random())) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            for name in contents(killed) if killed.exists() else ():
                is_aside = name.endswith(".part") or ".part/" in name or name == ".manifest.json"
                assert is_aside or name in expected, name
                if not is_aside and name != "manifest.json":
                    assert (killed / name).read_bytes() == expected[name], name
            wait *= 1.25
    assert kills >= 3
    assert contents(killed) == expected


def test_failing_fairseq_preprocess_is_one_clear_line(prepare, tmp_path, monkeypatch):
    boom = [sys.executable, "-c", "print('all is lost'); raise SystemExit(3)"]
    monkeypatch.setattr(binarize, "_command", lambda *args: boom)
    code, log = prepare()
    assert code == 2
    log_file = tmp_path / "out/preprocess.log"
    assert log[-1] == f"labo prepare: fairseq-preprocess: ended with code 3: all is lost: see {log_file}"
    assert log_file.read_text(encoding="utf-8") == "all is lost\n"
    assert not (tmp_path / "out/bin").exists()


def test_fairseq_preprocess_that_ends_well_but_wrote_nothing_is_found_out(prepare, monkeypatch):
    monkeypatch.setattr(binarize, "_command", lambda *args: [sys.executable, "-c", ""])
    code, log = prepare()
    assert code == 2
    assert "train.de-en.de.idx is missing" in log[-1]


def test_missing_fairseq_preprocess(prepare, monkeypatch):
    monkeypatch.setattr(binarize.importlib.util, "find_spec", lambda name: None)
    code, log = prepare()
    assert code == 2
    assert "fairseq-preprocess: not found" in log[-1]


@quickly
def test_full_disk_is_one_line_and_leaves_no_partial_file(prepare, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > 12:
            raise full

    monkeypatch.setattr(files.os, "fsync", fsync)
    code, log = prepare()
    assert code == 2
    assert "No space left on device: make room and run it again" in log[-1]
    assert not list((tmp_path / "out").rglob("*.part"))
    monkeypatch.undo()
    assert prepare()[0] == 0


@quickly
def test_foreign_folder_is_left_alone(prepare, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("text", encoding="utf-8")
    code, log = prepare(out=folder)
    assert code == 2
    assert "thesis.tex" in log[-1]
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


@quickly
def test_folder_that_cannot_be_made(prepare, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, log = prepare(out=tmp_path / "file/out")
    assert code == 2
    assert str(tmp_path / "file") in log[-1]


@quickly
def test_unreadable_manifest(prepare, tmp_path):
    prepare()
    (tmp_path / "out/manifest.json").write_text("[]", encoding="utf-8")
    code, log = prepare()
    assert code == 2
    assert "not a manifest" in log[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["multi30k", "--source", "de"], "--target: missing"),
        ([], "corpus: missing"),
        (["--verify", "nowhere"], "nowhere/manifest.json: No such file or directory"),
        (["embedded", "--verify", "nowhere"], "--verify: takes only a folder"),
        (["iwslt14", "--source", "de", "--target", "fr"], "--source: de-fr: iwslt14 has de-en, en-de, en-fr, fr-en"),
        (["iwslt17", "--source", "en", "--target", "de"], "--source: en-de: iwslt17 has de-en, fr-en"),
        (["embedded", "--source", "de", "--target", "en", "--vocabulary-size", "9"], "is for --subword sentencepiece"),
        (
            ["wmt14", "--source", "de", "--target", "en", "--valid-set", "x"],
            "--valid-set: x: wmt14 has split, newstest2013",
        ),
        (
            ["multi30k", "--source", "de,fr", "--target", "en", "--dictionary", "separate"],
            "several pairs of languages share",
        ),
        (["embedded", "--source", "de", "--target", "en", "--min-length", "2"], "--min-length: needs --max-length"),
        (["files", "--source", "de", "--target", "en"], "--train: missing"),
        (["files", "--source", "d e", "--target", "en"], "must be a language code"),
        (["multi30k", "--source", "de", "--target", "xx"], "--target: xx: multi30k has cs, de, en, fr"),
        (["multi30k", "--source", "de", "--target", "de"], "--target: de: is the source language too"),
        (["multi30k", "--source", "de", "--target", "en", "--seed", "1"], "--seed: multi30k has no use for it"),
        (["embedded", "--source", "de", "--target", "fr"], "--target: fr: embedded has de, en"),
        (["embedded", "--source", "de", "--target", "en", "--raw-dir", "."], "--raw-dir: embedded has no use for it"),
        (["embedded", "--source", "de", "--target", "en", "--workers", "0"], "--workers: 0: must be at least 1"),
        (["embedded", "--source", "de", "--target", "en", "--bpe-operations", "-1"], "--bpe-operations: -1: must be"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@quickly
@pytest.mark.parametrize("direction", [("de", "en"), ("en", "de")])
def test_embedded(direction, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embedded, "SIZES", {"train": 200, "valid": 10, "test": 10})
    source, target = direction
    out = tmp_path / "out"
    arguments = ["prepare", "embedded", "--source", source, "--target", target, "--out", str(out)]
    assert main([*arguments, "--bpe-operations", "100"]) == 0
    assert capsys.readouterr().out == f"{out / 'bin'}\n"
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["synthetic"], manifest["lowercased"]) == (True, False)
    assert manifest["seed"] == 1
    assert "SYNTHETIC" in (out / "README.txt").read_text(encoding="utf-8")
    pairs = list(zip(lines(out / "raw/train.de"), lines(out / "raw/train.en"), strict=True))
    assert pairs == embedded.generate(1)["train"]
    assert lines(out / "tok/train.de")[0].split()[0] == pairs[0][0].split()[0]  # stays cased


def test_multi30k_says_where_its_text_comes_from():
    assert "multi30k/dataset" in multi30k.__doc__
    assert "research" in multi30k.Corpus.README


@pytest.mark.parametrize(
    "name",
    ["{here}/a,b", "-n,", "k:l,m", *(pytest.param(name, marks=pytest.mark.slow) for name in ("c,", ",d,e", "x y,z"))],
)
def test_any_name_of_the_output_folder(name, prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = name.format(here=tmp_path)
    code, log = prepare(f"--out={out}")
    assert code == 0
    names = {path.name for path in Path(out, "bin").iterdir()}
    assert {"dict.de.txt", *(f"{split}.de-en.{side}.idx" for split in SPLITS for side in ("de", "en"))} <= names
    assert any("fairseq-train splits its data path at ':'" in line for line in log) == (":" in name)


def test_own_text_in_a_folder_with_a_comma(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my,text").mkdir()
    for name in ("train", "dev", "test,1", "test,2"):
        for code in ("de", "en"):
            (tmp_path / f"my,text/{name}.{code}").write_text("ab ab abc ab\n" * 20, encoding="utf-8")
    command = ["prepare", "files", "--source", "de", "--target", "en", "--bpe-operations", "5", "--workers", "1"]
    for flag, name in (("train", "train"), ("valid", "dev"), ("test", "test,1"), ("test", "test,2")):
        command += [f"--{flag}", f"my,text/{name}"]
    assert main([*command, "--out", "o,ut"]) == 0
    assert (tmp_path / "o,ut/bin/test1.de-en.de.idx").exists()
