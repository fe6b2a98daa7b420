#!/usr/bin/env bash
# usage: scripts/evaluate_bleu.sh DATA NAME=FILE... [-- options of fairseq-generate]
#
# From checkpoints to the table of scores: BLEU and chrF2 of detokenized text, then tokenized BLEU without and with
# compounds split; with several systems also paired tests against the first one.
#
# DATA is a corpus that `labo prepare` wrote. FILE is a checkpoint (.pt), which is translated into
# OUT/NAME/generate-test.txt (OUT is runs/evaluation where it is not set), or such a translation, which is scored as it
# is. Example: scripts/evaluate_bleu.sh data/m30k ls=ls/checkpoint_best.pt labo=labo/checkpoint_best.pt -- --lenpen 0.6
#
# DRY_RUN=1 shows the commands only. Needs an environment with this package (active).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/_systems.sh"

read_arguments "$@"
tests=none
if [ ${#systems[@]} -gt 2 ]; then tests=both; fi
run labo score --language "$target" --reference "$data/raw/test.$target" ${lowercase[@]+"${lowercase[@]}"} \
    --significance "$tests" "${systems[@]}"
echo
run labo score --compound-split --reference "$data/tok/test.$target" ${lowercase[@]+"${lowercase[@]}"} \
    --significance "$tests" "${systems[@]}"
