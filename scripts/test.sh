#!/usr/bin/env bash
# usage: scripts/test.sh [pytest options...]
#
# Lints, then runs the fast tests in an environment of their own: .venv-test, or the one that LABO_TEST_VENV names.
# All tests: scripts/test.sh -m "slow or not slow"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${LABO_TEST_VENV:-$PWD/.venv-test}
LABO_EXTRAS=dev,plot,vision scripts/install.sh "$venv"
"$venv/bin/ruff" check .
# one thread: the models are tiny, and threads would only wait for each other
OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest "$@"
