"""Which of its ways fairseq takes to compute attention."""

import functools
import inspect

# the copies of its weights that an encoder layer keeps for the fast path
UNUSED_COPIES = {f"{layer}_{kind}" for layer in ("in_proj", "out_proj", "fc1", "fc2") for kind in ("weight", "bias")}


def disable_encoder_fast_path(module):
    """F3: generate and validate on a padded batch: `RuntimeError: Mask Type should be defined`.

    TransformerEncoderLayerBase.forward calls `torch._transformer_encoder_layer_fwd` with a mask and no mask type,
    which torch 2 demands. Encoder and layer both ask `can_use_fastpath`, so the flag is set where the layer is built:
    then the encoder makes no nested tensors for a layer that cannot take them. The ordinary path computes the same.
    """
    layer = module.TransformerEncoderLayerBase
    source = inspect.getsource(layer.forward)
    if "_transformer_encoder_layer_fwd" not in source or "mask_type" in source:
        return False
    build = layer.__init__

    @functools.wraps(build)
    def __init__(self, *args, **kwargs):
        build(self, *args, **kwargs)
        self.can_use_fastpath = False

    layer.__init__ = __init__
    return True


def keep_unused_copies_zero(module):
    """F31: a training that was resumed writes other checkpoints than one that was not, although it computes the same.

    An encoder layer's copies of its weights for the fast path, which F3 closes, are zero in a new layer, and as old as
    the checkpoint in one that was loaded. They stay zero; fairseq itself makes them anew from any checkpoint it loads.
    """
    layer = module.TransformerEncoderLayerBase
    load = vars(layer).get("_load_from_state_dict")
    if load is None or "in_proj_weight" not in inspect.getsource(load):
        return False

    @functools.wraps(load)
    def _load_from_state_dict(self, *args, **kwargs):
        load(self, *args, **kwargs)
        for name in UNUSED_COPIES & self._parameters.keys():
            self._parameters[name].data.zero_()

    layer._load_from_state_dict = _load_from_state_dict
    return True


def avoid_flash_attention_in_trainings(module):
    """F47: a training with --bf16 on a CPU spends an eighth of each update, or more, in torch's flash attention."""
    trainer = module.Trainer
    build = trainer.__init__

    @functools.wraps(build)
    def __init__(self, *args, **kwargs):
        build(self, *args, **kwargs)
        if avoid_flash_attention(self._model):
            module.logger.info("self-attention without torch's flash kernel (bfloat16 on a CPU)")

    trainer.__init__ = __init__
    return True


def avoid_flash_attention(model):
    """Let a bfloat16 model on a CPU compute self-attention as fairseq computes the attention to the source.

    fairseq hands self-attention to torch, whose flash kernel for CPUs takes three times as long in bfloat16 as the two
    batched products and the softmax (docs/performance.md). The results are equal to rounding. Returns the number of
    modules that change; other models are left alone.
    """
    import torch
    from fairseq.modules import MultiheadAttention

    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.type != "cpu" or parameter.dtype != torch.bfloat16:
        return 0
    modules = [m for m in model.modules() if type(m) is MultiheadAttention and not m.use_xformers]
    for module in modules:
        module.skip_embed_dim_check = True  # fairseq's own condition for its own way
    return len(modules)
