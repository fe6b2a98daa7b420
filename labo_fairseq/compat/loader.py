"""Imports a module of fairseq with its mends: in the source before it is compiled, in the module after it ran."""

import importlib.machinery
import sys

from .mends import MODULE_MENDS, SOURCE_MENDS

# (module, mend) -> "active", "needless" (the failure is not there) or the error that the mend itself ran into
outcomes = {}


def find_spec(name, path, target, skip):
    """The spec that the finders other than `skip` give for `name`, with a loader that mends. None if none finds it."""
    for finder in list(sys.meta_path):
        spec = None if finder is skip else finder.find_spec(name, path, target)
        if spec is not None:
            if isinstance(spec.loader, importlib.machinery.SourceFileLoader):
                spec.loader = MendingLoader(spec.loader.name, spec.loader.path)
            return spec
    return None


class MendingLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from its source file, mended."""

    def get_code(self, fullname):
        """The compiled module. With a mend in the source, no .pyc is read or written: it would outlive the bridge."""
        mends = SOURCE_MENDS.get(fullname, ())
        if not mends:
            return super().get_code(fullname)
        source = self.get_source(fullname)
        for mend in mends:
            changed = _attempt(fullname, mend, source)
            source = changed or source
        return self.source_to_code(source, self.path)

    def exec_module(self, module):
        """Run the module, then its mends."""
        super().exec_module(module)
        for mend in MODULE_MENDS.get(module.__name__, ()):
            _attempt(module.__name__, mend, module)


def _attempt(module_name, mend, argument):
    # a mend that fails must not take away what works without it
    key = (module_name, mend.__name__)
    try:
        result = mend(argument)
    except Exception as error:
        outcomes[key] = f"failed: {type(error).__name__}: {error}"
        print(f"labo_fairseq: {mend.__name__} ({module_name}) {outcomes[key]}", file=sys.stderr)
        return None
    outcomes[key] = "active" if result else "needless"
    return result
