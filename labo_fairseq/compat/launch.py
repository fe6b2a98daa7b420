"""How many processes a distributed training has, and who starts them."""

import functools
import os

from .errors import UserError


def check_world_size(module):
    """F12: `--distributed-world-size 2` on a CPU: exit code 0 and nothing trained; or more workers than there are GPUs.

    Without torchrun fairseq starts one process for each GPU and at most so many, so none on a CPU. A world size that
    differs from torchrun's is overwritten in silence, one that differs from SLURM's ends in an AssertionError.
    """
    original = module.call_main

    @functools.wraps(original)
    def call_main(cfg, main, **kwargs):
        if not cfg.common.tpu:
            _check_world_size(module, cfg)
        return original(cfg, main, **kwargs)

    module.call_main = call_main
    return True


def _check_world_size(module, cfg):
    training = cfg.distributed_training
    wanted = training.distributed_world_size
    if training.distributed_init_method is None:
        try:
            module.infer_init_method(training)
        except AssertionError as error:
            raise UserError(_too_many(wanted, module.torch.cuda.device_count(), str(error))) from None
    if training.distributed_init_method is None:
        return  # one process
    gpus = 0 if cfg.common.cpu else module.torch.cuda.device_count()
    started = training.distributed_world_size
    if training.distributed_init_method == "env://" and wanted not in (started, _default_world_size(module)):
        raise UserError(
            f"--distributed-world-size: {wanted}: {started} processes were started: leave the flag out, "
            f"or start {wanted} (torchrun: --nnodes times --nproc_per_node)"
        )
    if not training.distributed_no_spawn and module.torch.cuda.device_count() == 0:
        raise UserError(_too_many(wanted, 0, ""))
    if training.distributed_no_spawn and 0 < gpus <= training.device_id:
        raise UserError(
            f"process {training.device_id} of this machine: it has {gpus} GPUs, numbered from 0: "
            "start one process for each GPU (torchrun: --nproc_per_node)"
        )
    if gpus == 0 and training.distributed_backend == "nccl":
        raise UserError("--distributed-backend: nccl works between GPUs only: add --distributed-backend gloo")


def _default_world_size(module):
    return max(1, module.torch.cuda.device_count())  # fairseq's own default: nobody asked for it


def _too_many(wanted, gpus, reason):
    if "SLURM_NTASKS" in os.environ and not reason:
        tasks, nodes = os.environ["SLURM_NTASKS"], os.environ.get("SLURM_NNODES", "1")
        return f"--distributed-world-size: {wanted}: SLURM runs {tasks} tasks on {nodes} nodes: give that number"
    if gpus == 0:
        return (
            f"--distributed-world-size: {wanted}: fairseq starts one process for each GPU, and there is none here: "
            f"torchrun --standalone --nproc_per_node {wanted} $(which fairseq-train) ... --cpu "
            "--distributed-backend gloo"
        )
    return (
        f"--distributed-world-size: {wanted}: there are {gpus} GPUs here: give at most that number, "
        "or use several machines (docs/scaling.md)"
    )
