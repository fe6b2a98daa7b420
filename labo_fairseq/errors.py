"""The one exception that stands for a mistake of the user, not of the program.

Console commands print its message as one line and end with exit code 2; a library caller sees a ValueError.
Messages read `what: where: what to do`, or `file:line: reason` where a line of a file is at fault. `within` and `above`
check the numbers that flags give.
"""

import math


class UserError(ValueError):
    """Bad input or a bad setting; str(error) is one complete line for the user."""

    # the bridge looks for this mark, because it cannot import this module (compat/__init__.py says why)
    labo_user_error = True


def within(name, value, low, high=None):
    """Raise UserError unless low <= value (<= high) and finite; `name` is the flag. NaN lies nowhere."""
    if not (value >= low and (high is None or value <= high) and math.isfinite(value)):
        bounds = f"of at least {low}, and finite" if high is None else f"in [{low}, {high}]"
        raise UserError(f"{name}: {value} is out of range: give a number {bounds}")


def above(name, value, low):
    """Raise UserError unless value > low and finite; `name` is the flag."""
    if not (value > low and math.isfinite(value)):
        raise UserError(f"{name}: {value} is out of range: give a finite number above {low}")
