"""Progress of long loops on standard error: a bar on a terminal, lines elsewhere. Both tell the time that is left."""

import io
import sys
from typing import Any

from tqdm import tqdm

PATIENCE, BETWEEN_LINES = 5, 10  # seconds before anything is shown
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.2f}/{total} {unit} [{elapsed}, {remaining} left]"
LINE = "{desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} so far, {remaining} left"


class _Lines(tqdm):
    """A bar that is written as lines: a log file keeps them, and shows no carriage returns."""

    @staticmethod
    def status_printer(file):
        """A function that writes the state of the bar as a line of its own."""

        def write(text):
            if text.strip():
                print(text.strip(), file=file, flush=True)

        return write

    def close(self):
        """End without the carriage return that would clear a bar."""
        self.fp = io.StringIO()
        super().close()


def progress(items: Any = None, desc: str = "", unit: str = "step", total: int | None = None) -> Any:
    """tqdm for a loop, or for a `with` block where `items` is None: quiet in the first seconds, gone at the end.

    Standard error that is no terminal gets a line where a step ends, but none within ten seconds of the last.
    """
    return _bar(items, {"desc": desc, "unit": unit, "total": total}, LINE, BETWEEN_LINES)


def progress_in_parts(desc: str, unit: str, total: int) -> Any:
    """The like for a `with` block of hours, whose steps end in fractions; lines are a minute apart."""
    return _bar(None, {"desc": desc, "unit": unit, "total": total}, LINE.replace("{n_fmt}", "{n:.2f}"), 60)


def _bar(items, options, line, between):
    options |= {"leave": False, "delay": PATIENCE}
    if is_terminal():
        return tqdm(items, **options, dynamic_ncols=True, bar_format=BAR if "{n:" in line else None)
    return _Lines(items, **options, bar_format=line, mininterval=between, miniters=1e-9, smoothing=0)


def is_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def tell(line: str) -> None:
    """Write a line to standard error, above a bar that may be there."""
    tqdm.write(line, file=sys.stderr)


def tell_step(line: str) -> None:
    """`tell` where no bar can show that something moves: standard error is a file or a pipe."""
    if not is_terminal():
        tell(line)
