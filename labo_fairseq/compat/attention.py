"""The encoder's fast path."""

import functools
import inspect


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
