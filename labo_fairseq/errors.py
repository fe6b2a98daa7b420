"""The one exception that stands for a mistake of the user, not of the program.

Console commands print its message as one line and end with exit code 2; a library caller sees a ValueError.
Messages read `what: where: what to do`, or `file:line: reason` where a line of a file is at fault.
"""


class UserError(ValueError):
    """Bad input or a bad setting; str(error) is one complete line for the user."""

    # the bridge looks for this mark, because it cannot import this module (compat/__init__.py says why)
    labo_user_error = True
