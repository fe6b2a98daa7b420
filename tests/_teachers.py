"""Teachers for the tests: tiny models of the translation task, as checkpoints that fairseq could have written."""

import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

import labo_fairseq

labo_fairseq.register()


def make(data, seed=1, width=16, **flags):
    """(settings, task, model in evaluation mode) of a one-layer Transformer on a folder of binaries."""
    sizes = {f"{side}-embed-dim": width for side in ("encoder", "decoder")}
    sizes |= {f"{side}-{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention-heads")}
    sizes |= {f"{side}-ffn-embed-dim": width for side in ("encoder", "decoder")}
    words = [str(word) for name, value in {**sizes, **flags}.items() for word in (f"--{name}", value)]
    line = [str(data), "--task", "translation", "--arch", "transformer", "--share-all-embeddings", *words]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(seed)
    model = task.build_model(cfg.model)
    with torch.no_grad():  # far from uniform predictions, so that a mistake shows
        model.decoder.output_projection.weight.mul_(8)
    return cfg, task, model.eval()


def save(path, cfg, model):
    """Write a checkpoint; returns its path as a string."""
    path.parent.mkdir(parents=True, exist_ok=True)
    history = {"criterion_name": "C", "optimizer_name": "O", "lr_scheduler_state": {}, "num_updates": 0}
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, enum_to_str=True),
        "model": model.state_dict(),
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": None},
        "last_optimizer_state": None,
        "task_state": {},
    }
    torch.save(state, path)
    return str(path)


def batch_of(task, subset="train", ids=(0, 5, 7)):
    """A batch of some sentences of a subset."""
    if subset not in task.datasets:
        task.load_dataset(subset)
    return task.dataset(subset).collater([task.dataset(subset)[i] for i in ids])
