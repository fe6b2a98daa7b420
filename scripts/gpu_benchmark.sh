#!/usr/bin/env bash
# usage: scripts/gpu_benchmark.sh [OUT]
#
# Everything that docs/performance.md wants to know of a card, in one go: the GPU tests, then the losses in bf16 with
# the torch and with the Triton row pass. Needs an environment with this package and a CUDA build of torch (active).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-runs/gpu_benchmark}
mkdir -p "$out"
set -x
labo doctor --json >"$out/doctor.json" || true
python -m pytest -m gpu tests 2>&1 | tee "$out/tests.txt"
for kernel in torch triton; do
    labo benchmark loss --device cuda --dtype bfloat16 --rows 32768 --width 512 --vocabulary 32768 \
        --loss-kernel "$kernel" --json >"$out/loss_$kernel.json"
done
labo benchmark step --device cuda --rows 32768 --width 512 --vocabulary 32768 --layers 6 --json >"$out/step.json"
