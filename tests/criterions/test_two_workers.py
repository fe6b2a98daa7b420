"""Two workers over gloo give the gradients of one: fairseq's legacy_ddp and torch's DDP, tied and untied, no_sync."""

import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_two_workers_give_the_gradients_of_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, HERE / "two_workers.py", str(port)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    errors = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in done.stdout.splitlines()}
    assert len(errors) == 32
    assert not {how: error for how, error in errors.items() if error > 2e-6}
    dense = "dense path (torch's DistributedDataParallel sees an untied output projection only inside its own forward)"
    assert done.stderr.count(dense) == 8, "the untied projection under torch's DDP must go dense, and say so"
