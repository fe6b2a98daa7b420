#!/usr/bin/env bash
# usage: sbatch --nodes N --gpus-per-node G [--ntasks-per-node 1|G] [sbatch options] scripts/slurm_train.sh \
#            DATA-BIN [options of fairseq-train]
#
# Trains on N nodes with G GPUs each. Every argument goes to fairseq-train as it is; docs/scaling.md chooses them.
#   --ntasks-per-node 1  (or nothing) one task per node, whose torchrun starts a process for each of its GPUs
#   --ntasks-per-node G  one task per GPU, started by srun
# Submit it from an environment in which fairseq-train works.
#
# Preemption and time limit: two minutes before its end SLURM tells this script (SIGUSR1), which puts the job back into
# the queue. It then goes on from checkpoint_last.pt in --save-dir, so that what is lost are the updates since the last
# checkpoint: give --save-interval-updates. A job that is cancelled, or fails, stays out of the queue. Where preemption
# comes without that signal, SLURM requeues the job itself (PreemptMode=REQUEUE).
#
# NPROC_PER_NODE=n replaces the number of GPUs (for --cpu, say); MASTER_PORT=n the port, which follows from the job's id.
#SBATCH --job-name=labo_fairseq
#SBATCH --output=slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
set -euo pipefail

die() { # one line, exit code 2
    echo "slurm_train: $*" >&2
    exit 2
}

if [ $# -eq 0 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
    sed -n '2,/^#SBATCH/{/^#SBATCH/d;s/^# \{0,1\}//;p}' "$0"
    exit $(($# == 0 ? 2 : 0))
fi
[ -n "${SLURM_JOB_ID-}" ] || die "SLURM_JOB_ID: not set: this script runs inside a SLURM job, submit it with sbatch"
train=$(command -v fairseq-train) || die "fairseq-train: not on the PATH: activate its environment, then submit again"

nodes=${SLURM_JOB_NUM_NODES:-${SLURM_NNODES:-1}}
tasks=${SLURM_NTASKS:-$nodes}
hosts=$(scontrol show hostnames "${SLURM_JOB_NODELIST-}") || die "SLURM_JOB_NODELIST: '${SLURM_JOB_NODELIST-}': unknown"
MASTER_ADDR=${hosts%%$'\n'*}
MASTER_PORT=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
export MASTER_ADDR MASTER_PORT

if [ "$tasks" -eq "$nodes" ]; then
    processes=${NPROC_PER_NODE:-${SLURM_GPUS_ON_NODE-}}
    [[ $processes =~ ^[1-9][0-9]*$ ]] ||
        die "SLURM_GPUS_ON_NODE: '$processes': no GPUs: give sbatch --gpus-per-node, or set NPROC_PER_NODE"
    launch=(torchrun --nnodes "$nodes" --nproc_per_node "$processes" --rdzv_backend c10d
        --rdzv_id "$SLURM_JOB_ID" --rdzv_endpoint "$MASTER_ADDR:$MASTER_PORT")
elif [ $((tasks % nodes)) -eq 0 ]; then
    # srun tells each task its number in the names of SLURM, fairseq reads those of torchrun; a task that sees its own
    # GPU only (--gpus-per-task 1) finds it under the number 0
    # shellcheck disable=SC2016 # expanded by the task's shell, not by this one
    launch=(bash -c '
        local_rank=$SLURM_LOCALID
        case ${CUDA_VISIBLE_DEVICES-} in ?*,*) ;; ?*) local_rank=0 ;; esac
        export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$local_rank
        exec "$@"' task)
else
    die "SLURM_NTASKS: $tasks tasks on $nodes nodes: use --ntasks-per-node 1, or the number of GPUs of a node"
fi

# shellcheck disable=SC2329 # called by trap
requeue() {
    echo "slurm_train: job $SLURM_JOB_ID: out of time or preempted: back into the queue" >&2
    scontrol requeue "$SLURM_JOB_ID" || echo "slurm_train: job $SLURM_JOB_ID: SLURM refuses: submit it again" >&2
    stop
}

# shellcheck disable=SC2329 # called by trap
stop() {
    trap '' USR1 TERM
    kill -TERM "$step" 2>/dev/null || true
    wait "$step" || true
    exit 143
}

echo "slurm_train: job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}: $tasks tasks on $nodes nodes," \
    "rendezvous at $MASTER_ADDR:$MASTER_PORT" >&2
# one dead task ends the others; in the background, so that a signal is handled at once and not after the training
srun --kill-on-bad-exit=1 "${launch[@]}" "$train" "$@" &
step=$!
trap requeue USR1
trap stop TERM
code=0
wait "$step" || code=$?
exit "$code"
