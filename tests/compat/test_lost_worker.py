"""F23: a worker is killed: the others end soon and say so in one line, checkpoints are whole, the training goes on."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labo_fairseq.compat.checkpoints import load_safely

TRAIN = Path(sys.executable).with_name("fairseq-train")
FOR_EVER = ["--save-interval-updates", 2, "--keep-interval-updates", 1, "--disable-validation"]
GLOO = ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]


def start(command, **more):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **more}
    line = [str(word) for word in command]
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_until(process, phrase):
    for line in process.stdout:
        if phrase in line:
            return
    raise AssertionError(f"ended with {process.wait()} before {phrase!r}")


def assert_whole(folder):
    assert load_safely(folder / "checkpoint_last.pt")["model"]


@pytest.mark.slow
def test_the_other_says_so_and_ends(train_args, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # as srun starts them: nobody watches over the two
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [TRAIN, *train_args(tmp_path, 10**6, *FOR_EVER, *GLOO)]
    ranks = [start(command, RANK=str(rank), **shared) for rank in range(2)]
    try:
        read_until(ranks[0], "Saved checkpoint")
        ranks[1].kill()
        rest = ranks[0].communicate(timeout=60)[0]
    finally:
        for process in ranks:
            process.kill()
            process.communicate()
    assert ranks[0].returncode == 1 and "Traceback" not in rest
    message = rest.splitlines()[-1]
    assert message.startswith("fairseq-train: rank 0: another worker is gone (Connection ")
    assert message.endswith("checkpoints are whole: run the same command again to go on from the last one")
    assert_whole(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_under_torchrun(run_two, train_args, tmp_path, rank):
    command = ["torchrun", "--standalone", "--nproc_per_node", 2, TRAIN, *train_args(tmp_path, 10**6, *FOR_EVER), *GLOO]
    command[0] = TRAIN.with_name("torchrun")
    process = start(command)
    try:
        read_until(process, "Saved checkpoint")
        os.kill(worker_of(process.pid, rank), signal.SIGKILL)
        rest = process.communicate(timeout=90)[0]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1 and "Signal 9 (SIGKILL) received" in rest
    lines = [line for line in rest.splitlines() if line.startswith(f"fairseq-train: rank {1 - rank}: ")]
    assert len(lines) == 1 and "another worker is gone" in lines[0]
    assert lines[0].endswith("checkpoints are whole: run the same command again to go on from the last one")
    assert_whole(tmp_path)
    saved = load_safely(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    done = run_two(TRAIN, *train_args(tmp_path, saved + 2))
    assert done.returncode == 0, done.stderr
    assert f"@ {saved} updates)" in done.stdout + done.stderr
    assert f"num_updates: {saved + 2} >= max_update" in done.stdout + done.stderr


def worker_of(pid, rank):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"{pid} has no worker of rank {rank}: {children}")


@pytest.mark.slow
def test_a_process_that_fairseq_starts_for_a_gpu(train_args, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    code = (
        "import sys, torch; torch.cuda.device_count = lambda: 2; from fairseq_cli.train import cli_main\n"
        "sys.argv[0] = 'fairseq-train'; cli_main()"
    )
    spawn = ["--distributed-world-size", 2, "--distributed-init-method", address]
    args = train_args(tmp_path, 10**6, *FOR_EVER, *GLOO, *spawn)
    process = start([sys.executable, "-c", code, *args])
    try:
        read_until(process, "Saved checkpoint")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        rest = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1 and "Traceback" not in rest
    assert (
        "fairseq-train: rank 1 was killed (SIGKILL): checkpoints are whole" in rest or "another worker is gone" in rest
    )
    assert_whole(tmp_path)
