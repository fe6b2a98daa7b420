"""Lines on standard error about the input of a command, each said once."""

import functools
import sys


@functools.cache  # a report reads and scores the same file in several ways
def warn(message: str) -> None:
    """`warning: …`: the result may not be what the user expects."""
    print(f"warning: {message}", file=sys.stderr)


@functools.cache
def note(message: str) -> None:
    """`note: …`: what was decided or mended for the user."""
    print(f"note: {message}", file=sys.stderr)
