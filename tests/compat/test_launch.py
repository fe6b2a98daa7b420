"""F12: a number of processes that does not fit is one line and exit code 2, before anything starts."""

import sys
from pathlib import Path

import pytest
import torch
from fairseq.dataclass.configs import DistributedTrainingConfig
from fairseq.distributed import utils
from omegaconf import OmegaConf

TORCHRUN = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": "0"}
SLURM = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_NTASKS": "4"}
GLOO = {"distributed_backend": "gloo"}
ELSEWHERE = {"distributed_init_method": "tcp://node7:9"}


@pytest.fixture
def call_main(monkeypatch, tmp_path):
    """Function: fairseq's call_main on a machine with so many GPUs; returns how a training would have been started."""
    started = []
    monkeypatch.setattr(utils, "distributed_main", lambda *_: started.append("this process"))
    monkeypatch.setattr(torch.multiprocessing, "spawn", lambda nprocs, **_: started.append(f"{nprocs} processes"))
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho node7\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def call(gpus, environment, flags, cpu=False):
        for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        training = OmegaConf.structured(DistributedTrainingConfig())
        default = {"distributed_world_size": max(1, gpus)}
        cfg = {"common": {"cpu": cpu, "tpu": False}, "distributed_training": OmegaConf.merge(training, default, flags)}
        utils.call_main(OmegaConf.create(cfg), lambda cfg: started.append("one process"))
        return started.pop()

    return call


@pytest.mark.parametrize(
    ("gpus", "environment", "flags", "message"),
    [
        (0, {}, {"distributed_world_size": 2}, "2: fairseq starts one process for each GPU, and this machine has none"),
        (0, {}, {"distributed_world_size": 2, **ELSEWHERE}, "torchrun --standalone --nproc_per_node 2 $(which fairseq"),
        (2, {}, {"distributed_world_size": 3}, "--distributed-world-size: 3: this machine has 2 GPUs: give at most"),
        (0, TORCHRUN | {"WORLD_SIZE": "2"}, {"distributed_world_size": 3, **GLOO}, "3: 2 processes were started"),
        (8, TORCHRUN | {"WORLD_SIZE": "16"}, {"distributed_world_size": 24}, "24: 16 processes were started"),
        (0, TORCHRUN | {"WORLD_SIZE": "2"}, {}, "--distributed-backend: nccl works between GPUs only"),
        (2, TORCHRUN | {"WORLD_SIZE": "3"}, {"device_id": 2}, "process 2 has no GPU, this machine has 2"),
        (2, SLURM, {"distributed_port": 9, "distributed_world_size": 8}, "8: SLURM runs 4 tasks on 2 nodes"),
    ],
)
def test_one_line(call_main, gpus, environment, flags, message):
    with pytest.raises(ValueError) as error:
        call_main(gpus, environment, flags)
    assert error.value.labo_user_error and message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("gpus", "environment", "flags", "cpu", "how"),
    [
        (0, {}, {}, False, "one process"),
        (1, {}, {}, False, "one process"),
        (8, {}, {}, False, "8 processes"),
        (8, {}, {"distributed_world_size": 4}, False, "4 processes"),
        (8, {}, {"distributed_world_size": 16, **ELSEWHERE}, False, "8 processes"),
        (8, TORCHRUN | {"WORLD_SIZE": "16"}, {"device_id": 7}, False, "this process"),
        (0, TORCHRUN | {"WORLD_SIZE": "2"}, GLOO, False, "this process"),
        (1, TORCHRUN | {"WORLD_SIZE": "2"}, {"device_id": 1, **GLOO}, True, "this process"),
        (2, SLURM | {"SLURM_PROCID": "3", "SLURM_LOCALID": "1"}, {"distributed_port": 9, "distributed_world_size": 4},
         False, "this process"),
    ],
)  # fmt: skip
def test_what_fits_starts(call_main, gpus, environment, flags, cpu, how):
    assert call_main(gpus, environment, flags, cpu) == how


def test_the_command(run_cli, train_args, tmp_path):
    done = run_cli("fairseq-train", *train_args(tmp_path, 1, "--distributed-world-size", 2))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("fairseq-train: --distributed-world-size: 2: fairseq starts one")


@pytest.mark.slow
def test_the_command_under_torchrun(run_two, train_args, tmp_path):
    script = Path(sys.executable).with_name("fairseq-train")
    done = run_two(script, *train_args(tmp_path, 1, "--distributed-world-size", 3))
    assert "fairseq-train: --distributed-world-size: 3: 2 processes were started: leave the flag out" in done.stderr
    assert "exitcode  : 2" in done.stderr, "torchrun reports the workers' code and ends with 1"
