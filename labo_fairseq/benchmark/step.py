"""Whole training steps of a Transformer: forward, backward, Adam, with fairseq's criterion and with ours."""

from types import SimpleNamespace

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerConfig, TransformerModelBase
from omegaconf import OmegaConf

from .. import register
from .candidates import BASELINE

LENGTH = 30
STEPS = {
    BASELINE: ("label_smoothed_cross_entropy", {"label_smoothing": 0.1}),
    "labo adaptive, fused": ("labo", {"smoothing_warmup_updates": 0}),
    "labo adaptive, dense": ("labo", {"smoothing_warmup_updates": 0, "projection": "dense"}),
    "label smoothing, fused": ("label_smoothing", {}),
    "confidence penalty, fused": ("confidence_penalty", {}),
}


def steps(args):
    """name -> function that does one training step of a model of its own."""
    register()
    task = _task(args.vocabulary)
    sample = _sample(task.target_dictionary, args.rows, args.device)
    return {name: _step(task, sample, args, *choice) for name, choice in STEPS.items()}


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


def _step(task, sample, args, criterion_name, settings):
    torch.manual_seed(0)
    model = _model(task, args).to(args.device).train()
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[criterion_name]())
    defaults = {"sentence_avg": False, "max_update": 0}
    cfg = OmegaConf.merge(cfg, {key: value for key, value in (defaults | settings).items() if key in cfg})
    cfg._name = criterion_name
    criterion = CRITERION_REGISTRY[criterion_name].build_criterion(cfg, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98))

    def step():
        optimizer.zero_grad()
        loss, size, _ = criterion(model, sample)
        (loss / size).backward()
        optimizer.step()

    return step


def _model(task, args):
    cfg = TransformerConfig()
    cfg.encoder.embed_dim = cfg.decoder.embed_dim = cfg.decoder.input_dim = cfg.decoder.output_dim = args.width
    cfg.encoder.ffn_embed_dim = cfg.decoder.ffn_embed_dim = 4 * args.width
    cfg.encoder.layers = cfg.decoder.layers = args.layers
    cfg.encoder.attention_heads = cfg.decoder.attention_heads = 4
    cfg.dropout = 0.1
    cfg.share_all_embeddings = cfg.share_decoder_input_output_embed = True
    return TransformerModelBase.build_model(cfg, task)
