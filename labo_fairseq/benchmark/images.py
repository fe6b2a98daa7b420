"""Time of whole updates of an image classifier through fairseq's trainer: data, forward, backward, optimizer, EMA."""

import contextlib
import logging
import math
import statistics
import tempfile
from pathlib import Path

import torch
from fairseq import metrics, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.trainer import Trainer

from .. import register
from ..errors import UserError
from ..vision.sources import SOURCES
from .measure import chosen, environment, interleaved, prepare

BASELINE = "cross entropy"
_TEACHER = "TEACHER"  # stands for the checkpoint of a model of the same architecture
METHODS = {
    BASELINE: "--criterion label_smoothing --label-smoothing 0",
    "label smoothing": "--criterion label_smoothing",
    "labo adaptive": "--criterion labo --smoothing-warmup-updates 0",
    "labo fixed": "--criterion labo --smoothing-warmup-updates 0 --smoothing-mass fixed",
    "focal": "--criterion focal_loss",
    "confidence penalty": "--criterion confidence_penalty",
    "knowledge distillation": f"--criterion knowledge_distillation --teacher-path {_TEACHER} --teacher-temperature 5",
    "CS-KD": "--criterion cs_kd",
    "TF-reg": "--criterion tf_reg",
    "Beta-LS": "--criterion beta_smoothing --store-ema --ema-decay 0.999",
    "KR-LS": "--criterion kr_ls",
}


def run(args):
    """The table of `labo benchmark images`: (list of rows, the setting). The first update of each is not counted.

    The ratio is the median over the repetitions of each one's ratio; ratio_low and ratio_high its 95 % interval.
    """
    for name in ("repetitions", "batch_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')}: {getattr(args, name)}: must be at least 1")
    prepare(args)
    register()
    for flag, known in (("arch", ARCH_MODEL_REGISTRY), ("image_dataset", SOURCES)):
        if getattr(args, flag) not in known:
            raise UserError(f"--{flag.replace('_', '-')}: {getattr(args, flag)}: unknown: see docs/vision.md")
    with _warnings_alone():
        times = _times(args)
    rows = []
    for name, seconds in times.items():
        # each repetition by itself: a machine that is slow for a while is so for all methods of the repetition
        ratios = [a / b for a, b in zip(seconds, times[BASELINE], strict=True)]
        low, high = median_interval(ratios)
        row = {"candidate": name, "median_ms": statistics.median(seconds) * 1e3, "ratio": statistics.median(ratios)}
        rows.append(row | {"ratio_low": low, "ratio_high": high})
    setting = {
        "image data set": args.image_dataset,
        "arch": args.arch,
        "batch size": args.batch_size,
        "repetitions": args.repetitions,
    }
    return rows, setting | environment(args.device)


def _times(args):
    """{method: seconds of each repetition's update}."""
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "teacher.pt"
        untrained = trainer(args, METHODS[BASELINE], teacher)
        untrained.consolidate_optimizer()  # which fairseq's save_checkpoint leaves to its caller
        untrained.save_checkpoint(str(teacher), {})
        methods = chosen(METHODS, args.only, BASELINE)
        table = {name: updates(trainer(args, flags, teacher)) for name, flags in methods.items()}
    with metrics.aggregate():
        return interleaved(table, args.repetitions, args.device)


@contextlib.contextmanager
def _warnings_alone():
    """fairseq tells much about each trainer; who calls this from a program of their own keeps their levels."""
    loggers = [logging.getLogger(package) for package in ("fairseq", "labo_fairseq")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def median_interval(values):
    """The (at least) 95 % interval of the median from order statistics: no assumption on the distribution."""
    values, n = sorted(values), len(values)
    rank = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    return values[rank], values[n - 1 - rank]


def trainer(args, flags, teacher):
    """fairseq's trainer of a method, its training set loaded."""
    line = [
        *(["--cpu"] if args.device == "cpu" else []),
        *f"--task torchvision_classification --image-dataset {args.image_dataset} --arch {args.arch}".split(),
        *f"--optimizer torch_sgd --lr 0.01 --weight-decay 5e-4 --batch-size {args.batch_size} --num-workers 0".split(),
        *(str(teacher) if word == _TEACHER else word for word in flags.split()),
    ]
    line = [args.data, *line] if args.data else line
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    task.load_dataset("train")
    return Trainer(cfg, task, model, criterion)


def updates(trainer):
    """A function that does one update, on a batch that it makes first."""
    batches = _batches(trainer)
    trainer.begin_epoch(1)
    return lambda: trainer.train_step([next(batches)])


def _batches(trainer):
    epoch = 0
    while True:
        epoch += 1
        iterator = trainer.task.get_batch_iterator(
            trainer.task.dataset("train"), max_sentences=trainer.cfg.dataset.batch_size, epoch=epoch
        )
        yield from iterator.next_epoch_itr(shuffle=True)
