"""fairseq criterions: one short file per method. Importing this package registers them all."""

import importlib
import pkgutil

from ..compat.updates import follow_updates

follow_updates()
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
