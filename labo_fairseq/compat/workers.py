"""What the processes of one distributed training send each other."""

import collections
import functools
import inspect
import typing


def allow_broadcast_globals(module):
    """F4: resume of two processes: `Weights only load failed: GLOBAL omegaconf.dictconfig.DictConfig` on rank 1.

    Rank 0 reads the checkpoint and sends it to the others as a pickle, in which the configuration is an omegaconf
    object and tensors are replaced by placeholders. The types that such a message needs are allowed while one is
    received, and only then: no file may hold them. torch's safe_globals would take away on leaving what a user had
    allowed before, so only the missing ones are given to it.
    """
    import torch

    original = module._broadcast_object_slow
    if "weights_only" in inspect.getsource(original):
        return False

    @functools.wraps(original)
    def _broadcast_object_slow(*args, **kwargs):
        allowed = torch.serialization.get_safe_globals()
        missing = [entry for entry in _broadcast_globals(module) if entry not in allowed]
        with torch.serialization.safe_globals(missing):
            return original(*args, **kwargs)

    module._broadcast_object_slow = _broadcast_object_slow
    return True


def _broadcast_globals(module):
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    containers = [dict, int, list, collections.defaultdict, typing.Any]
    configuration = [DictConfig, ListConfig, AnyNode, Metadata, ContainerMetadata]
    return [*containers, *configuration, module._TensorPlaceholder]
