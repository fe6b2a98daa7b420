"""Run by test_two_workers.py, alone or twice under torchrun: fairseq-train's own main() for many command lines in turn.

python train_all.py FILE: the file holds a JSON object from names to lists of arguments. Prints, for each, what was
logged, as one JSON object {"name": ..., "log": [[tag, numbers], ...]}; checkpoints go where the arguments say.
"""

import json
import logging
import os
import sys
from pathlib import Path

import torch
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from fairseq_cli import train


class Numbers(logging.Handler):
    """Keeps what fairseq's JSON progress bar logs."""

    def __init__(self):
        super().__init__()
        self.found = []

    def emit(self, record):
        if record.name in ("train_inner", "train", "valid"):
            self.found.append([record.name, json.loads(record.getMessage())])


def tell_passes_apart():
    """In place of dropout, whose masks no two layouts of workers share: every second row of a batch is changed.

    With R-Drop that is every second pass, so that its pairs differ; without it the batches are the same in any layout.
    """
    original = TransformerDecoderLayerBase.forward

    def forward(self, x, *args, **kwargs):
        out = original(self, x, *args, **kwargs)
        if not self.training:
            return out
        factor = torch.ones(x.size(1), 1)
        factor[1::2] = 1.2
        return out[0] * factor, *out[1:]

    TransformerDecoderLayerBase.forward = forward


def run(arguments, numbers):
    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, [str(a) for a in arguments]))
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        del checkpoint_utils.save_checkpoint.best  # of the training before
    distributed.infer_init_method(cfg.distributed_training)
    if cfg.distributed_training.distributed_init_method and not torch.distributed.is_initialized():
        distributed.distributed_init(cfg)
    numbers.found = []
    train.main(cfg)
    return numbers.found


if __name__ == "__main__":
    torch.set_num_threads(1)
    tell_passes_apart()
    numbers = Numbers()
    logging.getLogger().addHandler(numbers)
    for name, arguments in json.loads(Path(sys.argv[1]).read_text()).items():
        log = run(arguments, numbers)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps({"name": name, "log": log}), flush=True)
