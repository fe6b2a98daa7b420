"""Is there what pip needs to build fairseq, which comes as source? Run before a download, not after.

    python3 labo_fairseq/compat/build_tools.py

Standard library only, and simple enough for any Python, since an old one is a thing that it must report.
"""

import os
import shutil
import sys
import sysconfig

OLDEST_PYTHON = (3, 11)
COMPILERS = ("c++", "g++", "clang++")


def missing():
    """One line for each thing that is missing: what, where it was looked for, what to install. Empty: all is there."""
    too_old = missing_python()
    if too_old:
        return [too_old]  # the headers to look for are another Python's
    return [line for line in (missing_compiler(), missing_headers()) if line]


def missing_python():
    """The line about a Python that is too old, or None."""
    if sys.version_info >= OLDEST_PYTHON:
        return None
    have = "%d.%d" % sys.version_info[:2]  # noqa: UP031 (an old Python must be able to run this)
    return (
        "Python 3.11 or later is needed, this is " + have + ": " + sys.executable + ": "
        "sudo apt-get install python3.11 python3.11-venv, or conda create -n labo python=3.11; "
        "then name it: PYTHON=python3.11 scripts/install.sh VENV"
    )


def missing_compiler():
    """The line about a C++ compiler that is not there, or None. $CXX is asked first, as setuptools does."""
    named = os.environ.get("CXX", "").split()
    if any(shutil.which(name) for name in named[:1] or COMPILERS):
        return None
    looked_for = "CXX=" + named[0] if named else "none of " + ", ".join(COMPILERS) + " on the PATH"
    return (
        "a C++ compiler is missing: " + looked_for + ": "
        "sudo apt-get install g++, or conda install -c conda-forge cxx-compiler"
    )


def missing_headers():
    """The line about Python.h, or None."""
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if os.path.exists(header):
        return None
    return (
        "the Python headers are missing: " + header + ": "
        "sudo apt-get install python3-dev (python3.11-dev for that version), or use the python of a conda environment"
    )


def main():
    """Print what is missing on standard error; the exit code is 2 if anything is, else 0."""
    lines = missing()
    for line in lines:
        sys.stderr.write(line + "\n")
    return 2 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
