"""A small Transformer, a task and a padded batch to run criterions on."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerConfig, TransformerModelBase
from omegaconf import OmegaConf

import labo_fairseq

labo_fairseq.register()

SYMBOLS = 19
# what some criterions read of the settings of the run
RUN = {"max_update": 0, "max_epoch": 0, "update_freq": [1]}


def make_task(symbols=SYMBOLS):
    dictionary = Dictionary()
    for i in range(symbols):
        dictionary.add_symbol(f"w{i}", n=symbols - i)
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary, cfg=SimpleNamespace())


def make_model(task, tied=True, **overrides):
    cfg = TransformerConfig()
    cfg.encoder.embed_dim = cfg.decoder.embed_dim = cfg.decoder.input_dim = cfg.decoder.output_dim = 16
    cfg.encoder.ffn_embed_dim = cfg.decoder.ffn_embed_dim = 32
    cfg.encoder.layers = cfg.decoder.layers = 1
    cfg.encoder.attention_heads = cfg.decoder.attention_heads = 2
    cfg.dropout = 0.0
    cfg.max_source_positions = cfg.max_target_positions = 64
    cfg.share_decoder_input_output_embed = tied
    cfg.share_all_embeddings = tied
    for name, value in overrides.items():
        setattr(cfg, name, value)
    torch.manual_seed(1)
    return TransformerModelBase.build_model(cfg, task)


def make_batch(dictionary, lengths=(7, 4, 2), seed=0):
    """A sample as fairseq's translation task makes it: targets end in EOS and are padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    pad, eos = dictionary.pad(), dictionary.eos()
    target = torch.full((len(lengths), max(lengths)), pad)
    previous = target.clone()
    for row, length in enumerate(lengths):
        words = torch.randint(dictionary.nspecial, len(dictionary), (length - 1,), generator=generator)
        target[row, :length] = torch.cat([words, torch.tensor([eos])])
        previous[row, :length] = torch.cat([torch.tensor([eos]), words])
    return {
        "net_input": {
            "src_tokens": target.flip(0).clone(),
            "src_lengths": torch.tensor(lengths[::-1]),
            "prev_output_tokens": previous,
        },
        "target": target,
        "ntokens": int(target.ne(pad).sum()),
        "nsentences": len(lengths),
    }


def build(task, name, **flags):
    """A criterion with settings as hydra and argparse give them: a DictConfig of the registered dataclass."""
    cfg = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name]())
    flags = {"sentence_avg": False, **{k: v for k, v in RUN.items() if k in cfg}, **flags}
    cfg = OmegaConf.merge(cfg, flags)
    cfg._name = name
    return CRITERION_REGISTRY[name].build_criterion(cfg, task)


def run(criterion, model, batch, **options):
    """Loss, logging output and gradients of all parameters that have one."""
    model.zero_grad()
    loss, sample_size, log = criterion(model, batch, **options)
    loss.sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), sample_size, log, grads


# fixtures, which the conftest.py of a folder imports


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def model(task):
    return make_model(task)


@pytest.fixture
def batch(task):
    return make_batch(task.target_dictionary)
