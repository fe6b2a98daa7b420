"""Whole training steps of a Transformer, as fairseq's trainer does them, with fairseq's criterion and with ours."""

from types import SimpleNamespace

import torch
from fairseq import optim, options
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.transformer import TransformerConfig, TransformerModelBase
from omegaconf import OmegaConf
from torch.profiler import record_function

from .. import register
from ..compat.attention import avoid_flash_attention
from . import profile
from .candidates import BASELINE, FLOAT32

LENGTH = 30
_FAIRSEQ = ("label_smoothed_cross_entropy", {"label_smoothing": 0.1})
_LABO = ("labo", {"smoothing_warmup_updates": 0})
# criterion, its settings, optimizer
STEPS = {
    BASELINE: (*_FAIRSEQ, "adam"),
    "labo adaptive, fused": (*_LABO, "adam"),
    "labo adaptive, fused, torch_adam": (*_LABO, "torch_adam"),
    "labo adaptive, dense": ("labo", {"smoothing_warmup_updates": 0, "projection": "dense"}, "adam"),
    "label smoothing, fused": ("label_smoothing", {}, "adam"),
    "confidence penalty, fused": ("confidence_penalty", {}, "adam"),
}


def steps(args):
    """name -> function that does one training step of a model of its own, which is its attribute `model`.

    With bfloat16 the model is trained as under --bf16, and the first two candidates in float32 too.
    """
    register()
    task = _task(args.vocabulary)
    sample = _sample(task.target_dictionary, args.rows, args.device)
    half = args.dtype == "bfloat16"
    table = {name: _step(task, sample, args, *choice, half) for name, choice in STEPS.items()}
    if half:
        for name in list(STEPS)[:2]:
            table[name + FLOAT32] = _step(task, sample, args, *STEPS[name], False)
    return table


def _task(vocabulary):
    dictionary = Dictionary()
    for i in range(vocabulary - dictionary.nspecial):
        dictionary.add_symbol(f"w{i}")
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)


def _sample(dictionary, rows, device):
    """Sentences of LENGTH/2 to LENGTH tokens, padded: about `rows` target tokens in all."""
    generator = torch.Generator().manual_seed(0)
    sentences = max(1, rows * 4 // (3 * LENGTH))
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (sentences,), generator=generator)
    shape = (sentences, LENGTH)
    words = torch.randint(dictionary.nspecial, len(dictionary), shape, generator=generator)
    words[torch.arange(LENGTH) >= lengths.unsqueeze(1)] = dictionary.pad()
    words = words.to(device)
    previous = words.roll(1, 1)
    previous[:, 0] = dictionary.eos()
    net_input = {"src_tokens": words, "src_lengths": lengths.to(device), "prev_output_tokens": previous}
    return {"net_input": net_input, "target": words, "ntokens": int(lengths.sum()), "nsentences": sentences}


def _step(task, sample, args, criterion_name, settings, optimizer_name, half):
    torch.manual_seed(0)
    model = _model(task, args).to(device=args.device, dtype=torch.bfloat16 if half else torch.float32).train()
    if (criterion_name, settings) != _FAIRSEQ:
        avoid_flash_attention(model)  # which every training of ours does, fairseq's by itself does not
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[criterion_name]())
    defaults = {"sentence_avg": False, "max_update": 0}
    cfg = OmegaConf.merge(cfg, {key: value for key, value in (defaults | settings).items() if key in cfg})
    cfg._name = criterion_name
    criterion = CRITERION_REGISTRY[criterion_name].build_criterion(cfg, task)
    optimizer = _optimizer(optimizer_name, list(model.parameters()), args, half)

    def step():
        optimizer.zero_grad()
        loss, size, _ = criterion(model, sample)
        optimizer.backward(loss)
        with record_function(profile.optimizer_scope()):
            optimizer.multiply_grads(1 / size)
            optimizer.clip_grad_norm(0.0)  # the trainer logs the norm
            optimizer.step()

    step.model = model
    return step


def _optimizer(name, params, args, half):
    """As fairseq's trainer builds it."""
    flags = ["data", "--arch", "transformer", "--optimizer", name, "--lr", "1e-4", "--adam-betas", "(0.9, 0.98)"]
    flags += (["--cpu"] if args.device == "cpu" else []) + (["--bf16"] if half else [])
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), flags))
    if half:
        return optim.FP16Optimizer.build_optimizer(cfg, params)
    return optim.build_optimizer(cfg.optimizer, params)


def _model(task, args):
    cfg = TransformerConfig()
    cfg.encoder.embed_dim = cfg.decoder.embed_dim = cfg.decoder.input_dim = cfg.decoder.output_dim = args.width
    cfg.encoder.ffn_embed_dim = cfg.decoder.ffn_embed_dim = 4 * args.width
    cfg.encoder.layers = cfg.decoder.layers = args.layers
    cfg.encoder.attention_heads = cfg.decoder.attention_heads = 4
    cfg.dropout = 0.1
    cfg.share_all_embeddings = cfg.share_decoder_input_output_embed = True
    return TransformerModelBase.build_model(cfg, task)
