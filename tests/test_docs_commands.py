"""The commands of README and docs can be pasted: no gaps, flags that exist, and the blocks marked runnable run.

`<!-- runnable -->` above a block of bash says that it runs, in the order of the page and in one folder for each page;
`<!-- runnable: slow -->` that it takes a while.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from labo_fairseq import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (runnable[^>]*) -->\n)?^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page):
    """[(mark, text)] of the bash blocks of a page; mark is None, "runnable" or "runnable: slow"."""
    return [(mark or None, text) for mark, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(page):
    """The command lines of a page's blocks, continued lines joined, comments left out."""
    for _, text in blocks(page):
        yield from text.replace("\\\n", " ").splitlines()


def test_the_marks_are_two():
    marks = {mark for page in PAGES for mark, _ in blocks(page)}
    assert marks == {None, "runnable", "runnable: slow"}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("<!-- runnable") == sum(mark is not None for mark, _ in blocks(page)), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_has_a_gap(page):
    assert not [line for line in commands(page) if "…" in line.partition(" #")[0] or re.search(r"\s\.\.\.(\s|$)", line)]


def flags_of(parser):
    """Every option of a parser and of those below it."""
    words = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words |= set().union(*map(flags_of, action.choices.values()))
    return words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_of_labo_exists(page):
    known = {}
    for line in commands(page):
        words = re.split(r"\s+", line.partition(" #")[0].strip())
        if words[0] != "labo" or len(words) < 2 or words[1].startswith("-"):
            continue
        name = words[1]
        assert name in cli.SUBCOMMANDS, line
        known[name] = known.get(name) or flags_of(cli.command(name)[1])
        given = {word.partition("=")[0] for word in words[2:] if re.match(r"--[a-z]", word)}
        assert given <= known[name], line


def run(text, folder):
    """Run a block as bash would, if it stopped at the first error."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail"], input=text, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, text + done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("page", [p for p in PAGES if any(m == "runnable" for m, _ in blocks(p))], ids=lambda p: p.name)
def test_runnable_blocks_run(page, tmp_path):
    for mark, text in blocks(page):
        if mark == "runnable":
            run(text, tmp_path)


@pytest.mark.slow
def test_the_six_lines_for_a_text_of_ones_own(tmp_path):
    """On the first 60 sentences of the embedded corpus, which the block below makes: little enough for a CPU."""
    own, embedded = (text for mark, text in blocks(ROOT / "README.md") if mark == "runnable: slow")
    assert len(re.findall(r"^\S", own, re.MULTILINE)) == 6
    run(embedded, tmp_path)
    for path in (tmp_path / "my").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[: 60 if path.name.startswith("train") else 40]), encoding="utf-8")
    printed = run(own, tmp_path)
    assert "BLEU" in printed
    assert (tmp_path / "report/report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_blocks_of_the_page_on_training(tmp_path):
    run(blocks(ROOT / "README.md")[2][1], tmp_path)  # makes data/embedded
    for mark, text in blocks(ROOT / "docs/training.md"):
        if mark == "runnable: slow":
            run(text, tmp_path)
    assert list(tmp_path.glob("runs/small/curves/train_inner/events*"))
    assert (tmp_path / "runs/hydra/checkpoint_best.pt").exists() and (tmp_path / "calibration").is_dir()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_a_shell_s(page):
    for _, text in blocks(page):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, text + done.stderr
        for line in text.replace("\\\n", " ").splitlines():
            shlex.split(line.partition(" #")[0])  # no quote is left open
