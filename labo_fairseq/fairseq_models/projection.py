"""Which models let projection and loss be fused, and why the others do not."""

import inspect
from typing import Any

import torch
from fairseq.distributed import DistributedTimeoutWrapper, LegacyDistributedDataParallel, ModuleProxyWrapper
from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqEncoderDecoderModel, FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoderBase, TransformerModelBase
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_WRAPPERS = (DistributedTimeoutWrapper, ModuleProxyWrapper, DistributedDataParallel, LegacyDistributedDataParallel)
_STANDARD_PROBS = {
    BaseFairseqModel.get_normalized_probs,
    TransformerModelBase.get_normalized_probs,
}


def unwrap(model: Any) -> Any:
    """The fairseq model inside the wrappers of data parallelism."""
    while isinstance(model, _WRAPPERS):
        model = model.module
    return model


def has_plain_logits(model: Any) -> bool:
    """Whether the model's output is logits, of which its probabilities are the softmax."""
    model = unwrap(model)
    decoder = getattr(model, "decoder", None)
    return (
        getattr(type(model), "get_normalized_probs", None) in _STANDARD_PROBS
        and getattr(type(decoder), "get_normalized_probs", None) is FairseqDecoder.get_normalized_probs
        and getattr(decoder, "adaptive_softmax", None) is None
    )


def hidden_states(model: Any, net_input: dict) -> torch.Tensor:
    """Decoder features (batch, length, D) of a model without an `obstacle`."""
    if _is_generic(model):
        return model.extract_features(**net_input)[0]
    unread = {}
    if "alignment_layer" in inspect.signature(type(unwrap(model)).forward).parameters:
        unread["alignment_layer"] = -1  # no layer: nobody reads the attention's weights
    return model(**net_input, features_only=True, **unread)[0]


def dense_logits(model: Any, net_input: dict) -> torch.Tensor:
    """Logits (batch, length, V) of the model; log-probabilities, which are logits too, where it has no plain ones.

    (batch, K) of a classifier.
    """
    plain = unwrap(model)
    softmax = getattr(getattr(plain, "decoder", None), "adaptive_softmax", None)
    net_output = model(**net_input)
    if torch.is_tensor(net_output):  # fairseq's sign of a classifier, whose output is its logits
        return net_output
    if softmax is not None:
        return _adaptive_log_probs(softmax, net_output[0])
    return net_output[0] if has_plain_logits(model) else model.get_normalized_probs(net_output, log_probs=True)


def _adaptive_log_probs(softmax, hidden):
    """fairseq's AdaptiveSoftmax.get_log_prob, which overwrites tensors that its own backward pass needs.

    hidden: (..., D); returns (..., V)
    """
    # a head that is tied to the embedding takes rows alone, (N, D), and none that are not contiguous
    x = softmax.dropout_module(hidden).reshape(-1, hidden.size(-1))
    dtype = torch.promote_types(x.dtype, torch.float32)
    head = torch.log_softmax(softmax.head(x), -1, dtype=dtype)
    shortlist = softmax.cutoff[0]
    parts = [head[..., :shortlist]]
    for i, tail in enumerate(softmax.tail):
        cluster = head[..., shortlist + i : shortlist + i + 1]
        parts.append(cluster + torch.log_softmax(tail(x), -1, dtype=dtype))
    return torch.cat(parts, -1).unflatten(0, hidden.shape[:-1])


def obstacle(model: Any) -> str | None:
    """Why projection and loss cannot be fused for this model, in words; None where they can."""
    plain = unwrap(model)
    if not isinstance(plain, BaseFairseqModel):
        return f"the model is wrapped in {type(plain).__name__}, which may shard its weights"
    decoder = getattr(plain, "decoder", None)
    if decoder is None:
        return "the model has no decoder"
    if getattr(decoder, "adaptive_softmax", None) is not None:
        return "the model uses an adaptive softmax"
    if not has_plain_logits(model):
        return "the model computes its probabilities in a way of its own (get_normalized_probs)"
    if type(decoder).__dict__.get("forward", TransformerDecoderBase.forward) is not TransformerDecoderBase.forward or (
        getattr(type(decoder), "output_layer", None) is not TransformerDecoderBase.output_layer
    ):
        return f"the decoder {type(decoder).__name__} is not fairseq's Transformer decoder"
    if not _takes_features_only(plain) and not _is_generic(model):
        return f"the model {type(plain).__name__} takes no features_only"
    projection = decoder.output_projection
    if type(projection) is not nn.Linear or projection._forward_hooks or projection._forward_pre_hooks:
        return "the output projection is more than a linear layer"
    if projection.weight.shape != (projection.out_features, projection.in_features):
        return "the output projection's weight is sharded over the workers"
    if _ddp_finds_unused_parameters(model) and not _is_tied(plain, projection):
        # it marks a parameter that its own forward did not use as ready at once, and again when its gradient arrives
        return "--find-unused-parameters: torch's DistributedDataParallel would take an untied projection for unused"
    return None


def _takes_features_only(model):
    if isinstance(model, FairseqLanguageModel):
        return True  # its forward hands all keywords to the decoder
    return "features_only" in inspect.signature(type(model).forward).parameters


def _is_generic(model):
    """Whether this is the plain pair of encoder and decoder of which multilingual models are made.

    Its forward hands every keyword to the encoder too, so features come from extract_features. Only without a wrapper:
    workers are kept equal in the wrapper's forward.
    """
    return type(model) is FairseqEncoderDecoderModel


def _ddp_finds_unused_parameters(model):
    while isinstance(model, _WRAPPERS):
        if isinstance(model, DistributedDataParallel):
            return model.find_unused_parameters
        model = model.module
    return False


def _is_tied(model, projection):
    return any(
        isinstance(module, nn.Embedding) and module.weight is projection.weight for module in model.decoder.modules()
    )
