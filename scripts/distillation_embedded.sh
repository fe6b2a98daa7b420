#!/usr/bin/env bash
# usage: bash scripts/distillation_embedded.sh [--jobs N]
#
# Word-level and sequence-level distillation on the embedded corpus, three seeds each (docs/distillation.md): a teacher, a
# small student without it, with it, and trained on its translations. Prints the tables, the last one with all methods.
#
#   --jobs N   trainings at a time, default 1
#
# Writes runs/distillation_embedded. Interrupted, it goes on where it stopped when it is run again.
set -euo pipefail
jobs=1
case ${1-} in
'') ;;
--jobs) jobs=${2:?--jobs: needs a number} ;;
*)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac
    ;;
esac

run() {
    printf '+' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
    "$@"
}

recipe=$(dirname "${BASH_SOURCE[0]}")/experiments/distillation_embedded.yaml
out=runs/distillation_embedded data=$out/data/de-en
experiment() { run labo experiment run "$recipe" --out "$out" --no-report --profile "$@"; }

experiment teacher
experiment students --jobs "$jobs"

# sequence level: translate the training set, make a corpus of the translations
log=$out/generate-train.txt
if [ ! -e "$log" ]; then
    run fairseq-generate "$data/bin" --path "$out/de-en/teacher/seed1/checkpoints/checkpoint_best.pt" \
        --gen-subset train --beam 5 --max-tokens 8192 --required-batch-size-multiple 1 > "$log.part"
    mv "$log.part" "$log"
fi
if [ ! -e "$out/data/distilled/bin" ]; then
    mkdir -p "$out/data/distilled"
    cp -r "$data"/{raw,tok,bpe,manifest.json} "$out/data/distilled"
    run labo distill-corpus "$data/bin" "$log" --out "$out/data/distilled/bin"
fi
experiment sequence --jobs "$jobs"

systems=()
for method in cross-entropy label-smoothing distilled-t=1 distilled-t=2 sequence-level teacher; do
    for log in "$out/de-en/$method"/seed*/generate-test.txt; do systems+=(--system "${method/=/ }=$log"); done
done
run labo score --reference "$data/raw/test.en" "${systems[@]}"
