"""Progress: a bar where somebody watches, lines where standard error is a file; silence in the first seconds."""

import io
import sys
import types

import pytest

from labo_fairseq import progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def clock(monkeypatch):
    """The seconds that tqdm sees."""
    now = types.SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)  # no thread that looks at the real clock
    monkeypatch.setattr("tqdm.std.time", lambda: now.seconds)
    return now


def loop(clock, monkeypatch, steps, seconds, terminal):
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in progress.progress(range(steps), "work", "piece"):
        clock.seconds += seconds
    return stream.getvalue()


def test_a_redirected_loop_gets_lines_with_the_time_left(clock, monkeypatch):
    out = loop(clock, monkeypatch, 4, 20, terminal=False)
    assert "\r" not in out
    assert out.splitlines() == [f"work: {n}/4 piece, {a} so far, {b} left" for n, a, b in (
        (1, "00:20", "01:00"), (2, "00:40", "00:40"), (3, "01:00", "00:20"), (4, "01:20", "00:00"),
    )]  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_quick_is_silent(clock, monkeypatch, terminal):
    assert loop(clock, monkeypatch, 40, 0.1, terminal).strip() == ""


def test_many_quick_steps_get_a_line_in_ten_seconds(clock, monkeypatch):
    lines = loop(clock, monkeypatch, 100, 1, terminal=False).splitlines()
    assert [line.split("/")[0] for line in lines] == [f"work: {n}" for n in range(10, 101, 10)]


def test_a_terminal_gets_a_bar(clock, monkeypatch):
    out = loop(clock, monkeypatch, 4, 20, terminal=True)
    assert "\r" in out and "\n" not in out and "work:  50%" in out


def test_parts_of_a_cell(clock, monkeypatch):
    stream = Stream(False)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress_in_parts("experiment", "cells", 2) as bar:
        for share in (0.25, 0.25, 0.5):
            clock.seconds += 100
            bar.update(share)
    lines = stream.getvalue().splitlines()
    assert lines[-1] == "experiment: 1.00/2 cells, 05:00 so far, 05:00 left" and len(lines) == 3


def test_steps_are_told_where_no_bar_shows_them(monkeypatch):
    for terminal, told in ((True, ""), (False, "de-en: prepare\n")):
        stream = Stream(terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        progress.tell_step("de-en: prepare")
        assert stream.getvalue() == told


def test_without_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.is_terminal()
