"""scripts/slurm_train.sh under a SLURM that is played by small scripts on the PATH."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "slurm_train.sh"
ARGUMENTS = ["data bin", "--adam-betas", "(0.9, 0.98)", "--user-dir", "$HOME; `false` \"'"]

FAKES = {
    # all tasks on this machine; the first that fails ends the others, as --kill-on-bad-exit=1 asks
    "srun": """
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
per_node=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES))
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$((task % per_node)) SLURM_NODEID=$((task / per_node)) "$@" &
done
trap 'kill $(jobs -p); exit 143' TERM
code=0
for ((task = 0; task < SLURM_NTASKS; task++)); do
    wait -n && continue || ended=$?
    [ "$code" != 0 ] || code=$ended
    kill $(jobs -pr) 2>/dev/null
done
exit "$code"
""",
    "scontrol": """
echo "$*" >>"$RECORD/scontrol"
[ "$1" != show ] || printf '%s\\n' node7 node8
""",
    "torchrun": """
printf '%s\\n' "$@" >"$RECORD/torchrun.$SLURM_PROCID"
""",
    "fairseq-train": """
{ echo "$RANK $WORLD_SIZE $LOCAL_RANK $MASTER_ADDR $MASTER_PORT"; printf '%s\\n' "$@"; } >"$RECORD/train.$SLURM_PROCID"
[ -z "${FAKE_EXIT-}" ] || exit "$FAKE_EXIT"
[ -z "${FAKE_SLEEP-}" ] || { echo started >&2; exec sleep "$FAKE_SLEEP"; }
""",
}


@pytest.fixture
def slurm(tmp_path):
    """Function: environment of a job of so many tasks on so many nodes; the fakes write into RECORD."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in FAKES.items():
        (commands / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (commands / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "CUDA", "MASTER"))}

    def environment(nodes, tasks, **more):
        job = {"SLURM_JOB_ID": 70123, "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": nodes}
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        given = {"PATH": path, "RECORD": tmp_path, **job, "SLURM_NTASKS": tasks, **more}
        return kept | {name: str(value) for name, value in given.items()}

    return environment


def run(env, *arguments):
    return subprocess.run(["bash", SCRIPT, *arguments], env=env, capture_output=True, text=True, timeout=60)


def test_it_is_correct_bash():
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", SCRIPT], check=True)


def test_one_task_for_each_node(slurm, tmp_path):
    done = run(slurm(2, 2, SLURM_GPUS_ON_NODE=8), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    for task in range(2):
        words = (tmp_path / f"torchrun.{task}").read_text().splitlines()
        options = dict(zip(words[:10:2], words[1:10:2], strict=True))
        assert options == {
            "--nnodes": "2",
            "--nproc_per_node": "8",
            "--rdzv_backend": "c10d",
            "--rdzv_id": "70123",
            "--rdzv_endpoint": "node7:30123",
        }
        assert words[10:] == [str(tmp_path / "bin" / "fairseq-train"), *ARGUMENTS]


@pytest.mark.parametrize("visible, local_ranks", [(None, "0101"), ("0,1", "0101"), ("3", "0000")])
def test_one_task_for_each_gpu(slurm, tmp_path, visible, local_ranks):
    more = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    done = run(slurm(2, 4, SLURM_GPUS_ON_NODE=2, **more), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    for task, local_rank in enumerate(local_ranks):
        first, *words = (tmp_path / f"train.{task}").read_text().splitlines()
        assert first == f"{task} 4 {local_rank} node7 30123"
        assert words == ARGUMENTS


def test_number_of_processes_and_port_by_hand(slurm, tmp_path):
    done = run(slurm(1, 1, NPROC_PER_NODE=3, MASTER_PORT=29999), *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "torchrun.0").read_text()
    assert "--nproc_per_node\n3\n" in text and "node7:29999\n" in text


def test_the_exit_code_is_that_of_the_training(slurm, tmp_path):
    assert run(slurm(1, 2, FAKE_EXIT=7), *ARGUMENTS).returncode == 7
    assert "requeue" not in (tmp_path / "scontrol").read_text(), "a job that fails would fail again"


@pytest.mark.parametrize("sent, requeued", [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_preempted_job_goes_back_into_the_queue_and_a_cancelled_one_does_not(slurm, tmp_path, sent, requeued):
    env = slurm(1, 2, FAKE_SLEEP=100, SLURM_RESTART_COUNT=1)
    with subprocess.Popen(["bash", SCRIPT, *ARGUMENTS], env=env, stderr=subprocess.PIPE, text=True) as job:
        assert "job 70123, restart 1: 2 tasks on 1 nodes" in job.stderr.readline()
        assert job.stderr.readline() + job.stderr.readline() == "started\nstarted\n"
        job.send_signal(sent)
        assert job.wait(timeout=20) == 143
    assert ("requeue 70123\n" in (tmp_path / "scontrol").read_text()) == requeued


@pytest.mark.parametrize(
    "change, message",
    [
        ({"SLURM_JOB_ID": ""}, "SLURM_JOB_ID: not set: this script runs inside a SLURM job, submit it with sbatch"),
        ({"SLURM_GPUS_ON_NODE": ""}, "SLURM_GPUS_ON_NODE: '': no GPUs: give sbatch --gpus-per-node"),
        ({"SLURM_NTASKS": "3"}, "SLURM_NTASKS: 3 tasks on 2 nodes: use --ntasks-per-node 1"),
    ],
)
def test_bad_jobs(slurm, change, message):
    done = run(slurm(2, 2, SLURM_GPUS_ON_NODE=8) | change, *ARGUMENTS)
    assert done.returncode == 2
    assert done.stderr.startswith(f"slurm_train: {message}") and done.stderr.count("\n") == 1


def test_help(slurm):
    done = run(slurm(1, 1), "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: sbatch") and "#!" not in done.stdout
    assert run(slurm(1, 1)).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [1, 2])
def test_it_trains_and_goes_on(slurm, tiny_bin, tmp_path, tasks):
    """Two processes on the CPU, by torchrun (one task) or as two tasks; the second job goes on where the first was."""
    for name in ("fairseq-train", "torchrun"):
        (tmp_path / "bin" / name).unlink()
        (tmp_path / "bin" / name).symlink_to(Path(sys.executable).with_name(name))
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho localhost\n")
    env = slurm(1, tasks, NPROC_PER_NODE=2, OMP_NUM_THREADS=1)
    train = (
        "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
        "--encoder-attention-heads 2 --decoder-attention-heads 2 --optimizer adam --lr 0.01 --max-tokens 300 "
        "--criterion labo --smoothing-warmup-updates 1 --num-workers 0 --cpu --distributed-backend gloo"
    ).split()
    folders = ["--user-dir", str(ROOT / "labo_fairseq"), "--save-dir", str(tmp_path / "run")]
    for updates, found in (("2", "No existing checkpoint found"), ("4", "(epoch 2 @ 2 updates)")):
        done = subprocess.run(
            ["bash", SCRIPT, str(tiny_bin), *train, *folders, "--max-update", updates],
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert found in done.stdout + done.stderr
        assert f"num_updates: {updates} >= max_update: {updates}" in done.stdout + done.stderr
        assert "training on 2 devices" in done.stdout + done.stderr
