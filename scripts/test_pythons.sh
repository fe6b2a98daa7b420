#!/usr/bin/env bash
# usage: scripts/test_pythons.sh [pytest options...]
#
# Runs the fast tests on every Python that the package supports, each in an environment of its own, .venv-test-3.XX.
# LABO_PYTHONS="python3.12 python3.13" chooses the interpreters, LABO_TEST_VENVS=DIR where the environments are made.
# A version that is not installed is reported and fails at the end, after the others have run.
#
#   scripts/test_pythons.sh                         # all fast tests
#   scripts/test_pythons.sh tests/test_losses.py    # some
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${LABO_TEST_VENVS:-$PWD}
failed=()
for python in ${LABO_PYTHONS:-python3.11 python3.12 python3.13}; do
    # not only whether there is one: pyenv has stand-ins that refuse to run
    if ! version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
        echo "$python: not found" >&2
        failed+=("$python")
        continue
    fi
    venv=$folder/.venv-test-$version
    echo "== Python $version" >&2
    if ! PYTHON=$python LABO_EXTRAS=dev,vision scripts/install.sh "$venv" ||
        ! OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -n auto --maxprocesses 8 --dist loadfile "$@"; then
        failed+=("$python")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
echo "all passed" >&2
