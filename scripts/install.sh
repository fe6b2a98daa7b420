#!/usr/bin/env bash
# usage: scripts/install.sh VENV [pip options...]
#
# Makes the virtual environment VENV with this package, fairseq 0.12.2 and the tested versions of everything else.
# Finished already: returns at once. Interrupted: run it again. LABO_EXTRAS=dev,vision adds extras, PYTHON=python3.12
# chooses the interpreter.
#
# GPU: constraints.txt pins the version of torch and not the build; the package index decides. To take a CUDA build, name
# torch's own index of such builds once: scripts/install.sh VENV --extra-index-url URL
#
# The install is editable: the commands, the bridge and `--user-dir labo_fairseq` are then the same code, and `git pull`
# updates all of them together. After moving the clone, run this script again.
set -euo pipefail

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: scripts/install.sh VENV [pip options...]" >&2
    exit 2
fi
case $1 in /*) venv=$1 ;; *) venv=$PWD/$1 ;; esac
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run() {
    echo "+ $*" >&2
    "$@"
}

stamp=$venv/.labo-installed
unfinished=$venv/.labo-unfinished # only in environments that this script made: nobody else's is ever cleared
wanted=$( (cat setup.py pyproject.toml constraints.txt && echo "$PWD ${LABO_EXTRAS-} $*") | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c ''; then
    echo "$venv is up to date" >&2
    exit 0
fi

python=${PYTHON:-python3}
run "$python" labo_fairseq/compat/build_tools.py
if [ -e "$unfinished" ]; then
    run "$python" -m venv --clear "$venv"
    touch "$unfinished"
elif [ ! -e "$venv" ]; then
    mkdir -p "$venv"
    touch "$unfinished"
    run "$python" -m venv "$venv"
elif ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    run "$python" -m venv "$venv"
fi
rm -f "$stamp"
run "$venv/bin/python" -m pip install "$@" -c constraints.txt -e ".${LABO_EXTRAS:+[$LABO_EXTRAS]}"
# fairseq's own pins cannot be met by any current pip
run "$venv/bin/python" -m pip install "$@" --no-deps fairseq==0.12.2
echo "$wanted" >"$stamp"
rm -f "$unfinished"
echo "done: source $venv/bin/activate && labo doctor" >&2
