# shellcheck shell=bash
# Sourced by evaluate_bleu.sh and frequency_splits.sh: reads their arguments, translates where a checkpoint is given.
#
# Sets: data, source, target, lowercase (an array: --lowercase or nothing), systems (an array: --system NAME=FILE …).

die() { # one line, exit code 2
    echo "$(basename "$0" .sh): $*" >&2
    exit 2
}

run() {
    # a dry run's lines can be pasted
    if [ -z "${DRY_RUN-}" ]; then printf '+ ' >&2; fi
    { printf '%q' "$1" && printf ' %q' "${@:2}" && printf '\n'; } >&2
    if [ -z "${DRY_RUN-}" ]; then "$@"; fi
}

read_arguments() { # DATA NAME=FILE... [-- options of fairseq-generate]
    if [ $# -eq 0 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
        exit $(($# == 0 ? 2 : 0))
    fi
    data=$1 out=${OUT:-runs/evaluation} systems=() named=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        [[ $1 =~ ^[A-Za-z0-9._-]+=.+$ ]] || die "$1: must read NAME=FILE, a checkpoint or its translations"
        [ -f "${1#*=}" ] || die "${1#*=}: no such file: give a checkpoint or its translations"
        named+=("$1")
        shift
    done
    [ ${#named[@]} -gt 0 ] || die "no system: give NAME=FILE, a checkpoint or its translations"
    [ $# -eq 0 ] || shift
    local facts
    facts=$(python -c 'import sys
from labo_fairseq.errors import UserError
from labo_fairseq.records.run_folder import corpus_at
try:
    corpus = corpus_at(sys.argv[1])
    print(corpus.source, corpus.target, *["--lowercase"] * corpus.lowercase)
except UserError as error:
    print(error)
    sys.exit(1)' "$data") || die "$facts"
    read -r source target lowercase <<<"$facts"
    lowercase=(${lowercase:+"$lowercase"})
    local system file
    for system in "${named[@]}"; do
        file=${system#*=}
        case $file in
        *.pt)
            file=$out/${system%%=*}/generate-test.txt
            translate "${system#*=}" "$file" "$@"
            ;;
        esac
        systems+=(--system "${system%%=*}=$file")
    done
}

translate() { # CHECKPOINT FILE [options]
    local folder
    folder=$(dirname "$2")
    if [ -z "${DRY_RUN-}" ]; then mkdir -p "$folder" && rm -f "$2"; fi
    run python -m labo_fairseq.recipe generate "$folder" fairseq-generate "$data/bin" --task translation \
        --source-lang "$source" --target-lang "$target" --path "$1" --beam 5 --max-len-a 1.2 --max-len-b 10 \
        --max-tokens 8192 --required-batch-size-multiple 1 --remove-bpe --tokenizer moses "${@:3}"
}
