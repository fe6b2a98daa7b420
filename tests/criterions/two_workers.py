"""Run by test_two_workers.py: gradients of two workers with half a batch each against one worker with all of it.

Prints, for each way to run, the largest difference over all parameters, relative to the largest gradient.
"""

import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from _models import build, make_batch, make_model, make_task, run
from fairseq.distributed import LegacyDistributedDataParallel, ModuleProxyWrapper
from torch.nn.parallel import DistributedDataParallel

LENGTHS = (7, 4, 2, 6, 5)
SETTINGS = {"smoothing_warmup_updates": 0, "report_accuracy": True}


def half(batch, rank):
    """The first three sentences for one worker, the last two for the other."""
    rows = slice(0, 3) if rank == 0 else slice(3, 5)
    cut = {key: value[rows] for key, value in batch["net_input"].items()}
    target = batch["target"][rows]
    return {"net_input": cut, "target": target, "ntokens": int(target.ne(1).sum()), "nsentences": len(target)}


def wrap(model, backend):
    if backend == "legacy_ddp":
        return ModuleProxyWrapper(LegacyDistributedDataParallel(model, process_group=dist.group.WORLD))
    # the encoder's unused BetterTransformer copies are parameters without gradient
    return ModuleProxyWrapper(DistributedDataParallel(model, find_unused_parameters=True))


def gradients(task, backend, tied, accumulate, projection, criterion_name):
    model = make_model(task, tied=tied)
    wrapped = wrap(model, backend)
    settings = SETTINGS if criterion_name == "labo" else {}
    criterion = build(task, criterion_name, projection=projection, **settings)
    batch = half(make_batch(task.target_dictionary, LENGTHS), dist.get_rank())
    wrapped.train()
    if accumulate:
        if hasattr(wrapped.module, "accumulate_grads"):
            wrapped.module.accumulate_grads = True
            criterion(wrapped, batch)[0].backward()
            wrapped.module.accumulate_grads = False
        else:
            with wrapped.module.no_sync():
                criterion(wrapped, batch)[0].backward()
    criterion(wrapped, batch)[0].backward()
    if backend == "legacy_ddp":
        wrapped.module.all_reduce_grads()
    factor = dist.get_world_size() / (2 if accumulate else 1)  # both kinds average over the workers
    return {name: p.grad * factor for name, p in model.named_parameters() if p.grad is not None}


def worker(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    task = make_task()
    for backend in ("legacy_ddp", "pytorch_ddp"):
        for tied in (True, False):
            for accumulate in (False, True):
                for name in ("labo", "label_smoothing"):
                    for projection in ("auto", "dense"):
                        got = gradients(task, backend, tied, accumulate, projection, name)
                        if rank:
                            continue
                        settings = SETTINGS if name == "labo" else {}
                        alone = build(task, name, projection=projection, **settings)
                        model = make_model(task, tied=tied)
                        expected = run(alone, model, make_batch(task.target_dictionary, LENGTHS))[3]
                        largest = max(g.abs().max() for g in expected.values())
                        error = max((got[key] - g).abs().max() / largest for key, g in expected.items())
                        print(backend, f"tied={tied} accumulate={accumulate} {name} {projection}", float(error))
                        sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(worker, args=(int(sys.argv[1]),), nprocs=2)
