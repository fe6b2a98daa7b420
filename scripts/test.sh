#!/usr/bin/env bash
# usage: scripts/test.sh [pytest options...]
#
# Lints, then runs the fast tests in an environment of their own: .venv-test, or the one that LABO_TEST_VENV names.
# All tests: scripts/test.sh -m "slow or not slow"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${LABO_TEST_VENV:-$PWD/.venv-test}
# the tests compile what they import; pip would compile all
PIP_NO_COMPILE=1 LABO_EXTRAS=dev,vision scripts/install.sh "$venv"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check --quiet .
"$venv/bin/mypy"
# a process for each core, one thread in each: the models are tiny. A file's tests share what they train, so they stay
# together.
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
