"""CTranslate2, and what the folder of an exported model is known by; without torch."""

from typing import Any

from ..compat.install import install_command
from ..errors import UserError

RECORD = "labo.json"  # what `labo translate` has to know besides the model; in the same folder
FORMAT, VERSION = "labo-ctranslate2", 1


def import_ctranslate2() -> Any:
    """The library, or a UserError that says how to get it."""
    try:
        import ctranslate2
    except ImportError:
        raise UserError(f"ctranslate2: not installed: {install_command('ctranslate2')}") from None
    return ctranslate2
