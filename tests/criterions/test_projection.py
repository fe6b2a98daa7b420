"""Replicas of data parallelism leave projection and loss fused; what shards its weights takes the dense path."""

import socket

import pytest
import torch
import torch.distributed as dist
from _models import build, run
from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from torch.distributed.fsdp import FullyShardedDataParallel

from labo_fairseq.fairseq_models.projection import obstacle


@pytest.fixture
def group():
    """A process group of this process alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_replicas_are_fused(model, group):
    replica = ModuleProxyWrapper(LegacyDistributedDataParallel(model, group))
    assert obstacle(replica) is None
    assert obstacle(DistributedTimeoutWrapper(replica, timeout=0)) is None  # --heartbeat-timeout


def test_a_weight_cut_into_shards_is_not_fused(model):
    weight = model.decoder.output_projection.weight
    weight.data = weight.data.flatten()[:7]
    assert obstacle(model) == "the output projection's weight is sharded over the workers"


def test_a_fully_sharded_model_takes_the_dense_path_to_the_same_gradients(task, model, batch, group, caplog):
    criterion = build(task, "labo", smoothing_warmup_updates=0)
    expected = run(build(task, "labo", smoothing_warmup_updates=0), model, batch)
    sharded = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    with caplog.at_level("INFO"):
        got = run(criterion, sharded, batch)
    assert "dense path (the model is wrapped in FullyShardedDataParallel, which may shard its weights)" in caplog.text
    torch.testing.assert_close(got[0], expected[0])
    name = "decoder.layers.0.fc1.weight"
    torch.testing.assert_close(got[3][f"_fsdp_wrapped_module.{name}"], expected[3][name])
