#!/usr/bin/env bash
# From nothing to a table of two training methods. See --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/quickstart.sh [options]

Installs into a virtual environment, prepares a corpus, trains one model per criterion with everything else equal,
translates the test set and prints the table of results. Without options: a small made-up corpus, minutes on two cores.

  --corpus embedded|multi30k  default embedded, which needs no download
  --raw-dir DIR               folder with the raw text of multi30k; without it the text is downloaded
  --source XX --target YY     languages; default de en for embedded, en de for multi30k
  --criterion NAME            can be repeated; default label_smoothed_cross_entropy and labo
  --max-update N              updates of each training; default 900 for embedded, 2500 for multi30k
  --device cpu|cuda|auto      default auto: CUDA where there is a device
  --out DIR                   default runs
  --help

Interrupted, at any point: run the same command again, it goes on where it stopped. Commands and progress go to standard
error, the table to standard output. VENV=DIR names the virtual environment (default .venv). DRY_RUN=1 only prints the
commands.
TEXT
}

die() { # one line, exit code 2
    echo "quickstart: $*" >&2
    exit 2
}

show() {
    # a dry run's lines can be pasted
    if [ -z "${DRY_RUN-}" ]; then printf '+ ' >&2; fi
    { printf '%q' "$1" && printf ' %q' "${@:2}" && printf '\n'; } >&2
}

run() {
    show "$@"
    if [ -z "${DRY_RUN-}" ]; then "$@"; fi
}

absolute() {
    case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac
}

matches() { # matches VALUE PATTERN OPTION WANTED
    [[ $1 =~ ^($2)$ ]] || die "$3: '$1': must be $4"
}

# --- options ---
corpus=embedded raw_dir='' source='' target='' max_update='' device=auto out=runs criterions=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --corpus | --raw-dir | --source | --target | --criterion | --max-update | --device | --out)
        [ $# -ge 2 ] && [ -n "$2" ] || die "$1: needs a value"
        ;;
    *) die "$1: unknown option: see --help" ;;
    esac
    case $1 in
    --corpus) corpus=$2 ;;
    --raw-dir) raw_dir=$(absolute "$2") ;;
    --source) source=$2 ;;
    --target) target=$2 ;;
    --criterion) criterions+=("$2") ;;
    --max-update) max_update=$2 ;;
    --device) device=$2 ;;
    --out) out=$(absolute "$2") ;;
    esac
    shift 2
done
venv=.venv
if [ -n "${VENV-}" ]; then venv=$(absolute "$VENV"); fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case $corpus in
embedded)
    [ -z "$raw_dir" ] || die "--raw-dir: '$raw_dir': the embedded corpus needs none: leave it out"
    source=${source:-de} target=${target:-en} max_update=${max_update:-900}
    ;;
multi30k)
    source=${source:-en} target=${target:-de} max_update=${max_update:-2500}
    ;;
*) die "--corpus: '$corpus': must be embedded or multi30k" ;;
esac
[ ${#criterions[@]} -gt 0 ] || criterions=(label_smoothed_cross_entropy labo)
matches "$source" '[a-z]{2,3}' --source 'a language code'
matches "$target" '[a-z]{2,3}' --target 'a language code'
matches "$max_update" '[1-9][0-9]{0,6}' --max-update 'a number of updates'
matches "$device" 'cpu|cuda|auto' --device 'cpu, cuda or auto'
for criterion in "${criterions[@]}"; do matches "$criterion" '[a-z][a-z0-9_]*' --criterion 'the name of a criterion'; done

# --- recipes: the same for every criterion ---
subwords=()
case $corpus in
embedded)
    recipe=(--arch transformer --encoder-layers 3 --decoder-layers 3
        --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256
        --encoder-attention-heads 4 --decoder-attention-heads 4 --dropout 0.1
        --lr 0.005 --warmup-updates $(((max_update + 4) / 5)) --max-tokens 1024
        # validated and saved by updates alone: every epoch too would take a tenth of the time
        --save-interval-updates 150 --save-interval 1000 --validate-interval 1000)
    ;;
multi30k)
    # 4,000 merges in place of the corpus recipe's 10,000: a smaller vocabulary makes an update cheaper
    subwords=(--bpe-operations 4000)
    recipe=(--arch transformer --encoder-layers 4 --decoder-layers 4
        --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256
        --encoder-attention-heads 4 --decoder-attention-heads 4 --dropout 0.3
        --lr 0.005 --warmup-updates 2000 --max-tokens 4096 --save-interval-updates 250)
    ;;
esac
on_device=()
if [ "$device" = cpu ]; then on_device=(--cpu); fi

# --- one quickstart per output folder; a training that a killed one left behind is waited for ---
pair=$corpus.$source-$target
if [ -z "${DRY_RUN-}" ]; then
    mkdir -p "$out"
    if command -v flock >/dev/null; then
        exec 9>"$out/.lock"
        flock -n 9 || { echo "quickstart: another one works in $out: waiting until it is done" >&2 && flock 9; }
    fi
fi

# --- install, prepare ---
run bash scripts/install.sh "$venv" >&2
PATH=$(absolute "$venv")/bin:$PATH
if [ -n "${DRY_RUN-}" ]; then
    case $venv in /*) printf 'PATH=%q/bin:$PATH\n' "$venv" >&2 ;; *) printf 'PATH=$PWD/%q/bin:$PATH\n' "$venv" >&2 ;; esac
fi
run python -m labo_fairseq.recipe check --device "$device" "${criterions[@]}"
run labo prepare "$corpus" --source "$source" --target "$target" --out "$out/data/$pair" \
    ${raw_dir:+--raw-dir "$raw_dir"} ${subwords[@]+"${subwords[@]}"} >&2

# --- train and translate: on a CPU side by side, one core each, which two threads of one training do not use as well ---
method() { # the criterion $1 in the run folder $2
    local criterion=$1 folder=$2 metric=nll_loss settings train generate command
    case $criterion in
    labo) settings=(--smoothing-warmup-updates $((max_update / 10))) ;;
    label_smoothed_cross_entropy) settings=(--label-smoothing 0.1) ;;
    cross_entropy) settings=() metric=loss ;; # fairseq's logs its nll_loss under this name only
    *) settings=() ;;
    esac
    train=(fairseq-train "$out/data/$pair/bin" --user-dir labo_fairseq --task translation
        --source-lang "$source" --target-lang "$target" --criterion "$criterion" ${settings[@]+"${settings[@]}"}
        "${recipe[@]}" --share-all-embeddings --optimizer adam --adam-betas '(0.9, 0.98)'
        --lr-scheduler inverse_sqrt --warmup-init-lr 1e-7 --max-update "$max_update"
        --save-dir "$folder/checkpoints" --no-epoch-checkpoints --keep-interval-updates 1
        --best-checkpoint-metric "$metric" --log-format json --log-interval 100 --log-file "$folder/train.log"
        --seed 1 --distributed-world-size 1 ${on_device[@]+"${on_device[@]}"})
    through_recipe train --half-on-cpu --data "../../data/$pair" "$folder" "${train[@]}"
    generate=(fairseq-generate "$out/data/$pair/bin" --user-dir labo_fairseq --task translation
        --source-lang "$source" --target-lang "$target" --path "$folder/checkpoints/checkpoint_best.pt"
        --beam 5 --max-len-a 1.2 --max-len-b 10 --max-tokens 8192 --required-batch-size-multiple 1
        --remove-bpe --tokenizer moses ${on_device[@]+"${on_device[@]}"})
    through_recipe generate "$folder" "${generate[@]}"
}

through_recipe() { # shows fairseq's command, which is the array of that name, or the whole line where it is to be pasted
    command=(python -m labo_fairseq.recipe "$@")
    if [ -n "${DRY_RUN-}" ]; then show "${command[@]}" && return; fi
    if [ "$1" = train ]; then show "${train[@]}"; else show "${generate[@]}"; fi
    "${command[@]}"
}

stop() { # the methods that run side by side, each in a process group of its own
    local pid
    for pid in "${pids[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
    wait
    exit 130
}

runs=() pids=() at_once=1 status=0
for criterion in "${criterions[@]}"; do runs+=("$out/$pair.u$max_update/$criterion"); done
if [ -z "${DRY_RUN-}" ] && [ ${#runs[@]} -gt 1 ]; then
    at_once=$(python -m labo_fairseq.recipe cores --device "$device")
fi
for i in "${!criterions[@]}"; do
    if [ "$at_once" -lt 2 ]; then
        method "${criterions[i]}" "${runs[i]}"
        continue
    fi
    if [ "$i" -ge "$at_once" ]; then wait "${pids[i - at_once]}" || status=$?; fi
    set -m
    OMP_NUM_THREADS=1 method "${criterions[i]}" "${runs[i]}" &
    pids+=($!)
    set +m
    trap stop INT TERM
done
for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" || status=$?; done
trap - INT TERM
[ "$status" -eq 0 ] || exit "$status"
run labo table "${runs[@]}"
