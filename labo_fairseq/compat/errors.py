"""The user's mistakes that the bridge itself finds."""


class UserError(ValueError):
    """One line for the user: what, where, what to do.

    Not labo_fairseq.errors.UserError, which cannot be imported from here (see __init__.py); console.py knows both by
    the attribute.
    """

    labo_user_error = True
