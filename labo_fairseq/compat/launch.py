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
        if not (cfg.common.tpu or cfg.distributed_training.pipeline_model_parallel):
            _check(module, cfg)
        return original(cfg, main, **kwargs)

    module.call_main = call_main
    return True


def _check(module, cfg):
    training = cfg.distributed_training
    asked, gpus = training.distributed_world_size, module.torch.cuda.device_count()
    if training.distributed_init_method is None:
        try:
            module.infer_init_method(training)
        except AssertionError as error:
            raise UserError(_more_than_gpus(asked, gpus) if str(error) else _not_as_slurm(asked)) from None
    if training.distributed_init_method is not None:  # otherwise it is one process
        problem = _misfit(training, asked, gpus, cfg.common.cpu)
        if problem:
            raise UserError(problem)


def _misfit(training, asked, gpus, on_cpu):
    """One line about processes that cannot work together, or None. asked: the world size of the command line."""
    started = training.distributed_world_size
    # fairseq's default is the number of GPUs: nobody need have asked for it
    if training.distributed_init_method == "env://" and asked not in (started, max(1, gpus)):
        return (
            f"--distributed-world-size: {asked}: {started} processes were started: leave the flag out, "
            f"or start {asked} (torchrun: --nnodes times --nproc_per_node)"
        )
    if gpus == 0 and not training.distributed_no_spawn:
        return _more_than_gpus(asked, gpus)
    if training.distributed_backend == "nccl" and (on_cpu or gpus == 0):
        return "--distributed-backend: nccl works between GPUs only: add --distributed-backend gloo"
    if training.distributed_no_spawn and not on_cpu and 0 < gpus <= training.device_id:
        return (
            f"torchrun --nproc_per_node: process {training.device_id} has no GPU, this machine has {gpus}, numbered "
            "from 0: start one process for each GPU"
        )
    return None


def _more_than_gpus(asked, gpus):
    if gpus:
        return (
            f"--distributed-world-size: {asked}: this machine has {gpus} GPUs: give at most that number, "
            "or use several machines (docs/scaling.md)"
        )
    return (
        f"--distributed-world-size: {asked}: fairseq starts one process for each GPU, and this machine has none: "
        f"torchrun --standalone --nproc_per_node {asked} $(which fairseq-train) ... --cpu --distributed-backend gloo"
    )


def _not_as_slurm(asked):
    tasks, nodes = os.environ.get("SLURM_NTASKS"), os.environ.get("SLURM_NNODES")
    return f"--distributed-world-size: {asked}: SLURM runs {tasks} tasks on {nodes} nodes: give the number of tasks"
