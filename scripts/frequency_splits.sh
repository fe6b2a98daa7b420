#!/usr/bin/env bash
# usage: scripts/frequency_splits.sh DATA NAME=FILE... [-- options of fairseq-generate]
#
# From checkpoints to Table 4 of LABO: BLEU on the sentences whose source words are most, medium and least frequent in
# training, with differences from the first system, then word F1 by training count; and, as Figure 2, the probabilities
# of the chosen tokens on the same splits.
#
# DATA is a corpus that `labo prepare` wrote. FILE is a checkpoint (.pt), which is translated into
# OUT/NAME/generate-test.txt (OUT is runs/evaluation where it is not set), or such a translation, which is used as it is.
# Example: scripts/frequency_splits.sh data/m30k ls=ls/checkpoint_best.pt labo=labo/checkpoint_best.pt
#
# DRY_RUN=1 shows the commands only. Needs an environment with this package (active).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_systems.sh"

read_arguments "$@"
frequency=(--dict "$data/bin/dict.$source.txt" --source "$data/bpe/test.$source")
run labo splits "${frequency[@]}" --language "$target" --reference "$data/raw/test.$target" --train "$data/raw/train.$target" \
    ${lowercase[@]+"${lowercase[@]}"} "${systems[@]}"
echo
run labo confidence "${frequency[@]}" "${systems[@]}"
