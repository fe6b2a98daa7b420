"""Versions of what decides about results, for tables, records and `labo --version`."""

import importlib.metadata

PACKAGES = ("fairseq", "torch", "sacrebleu")


def installed() -> dict[str, str]:
    """{package: version} of PACKAGES, without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
