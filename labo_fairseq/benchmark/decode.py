"""Time of beam search on the same batches: fairseq's own, with calibrators, and CTranslate2's; all in turn."""

import os
import statistics
from argparse import Namespace

import torch
from fairseq import utils

from .. import register
from ..errors import UserError
from ..fairseq_models.loading import load_models
from .measure import environment, interleaved

_BASELINE = "fairseq"


def run(args):
    """Measure what the arguments of `labo benchmark decode` ask for: (list of rows, the setting)."""
    for name in ("data", "path"):
        if getattr(args, name) is None:
            raise UserError(f"--{name}: missing: decode needs a trained model and data")
    for name in ("repetitions", "sentences", "beam", "batch_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name.replace('_', '-')}: {getattr(args, name)}: must be at least 1")
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    register()
    model, task, batches = _load(args)
    table = {_BASELINE: _fairseq(task, model, batches, args)}
    for file in args.calibration:
        table[f"calibrated: {file}"] = _fairseq(_calibrated(task, args.path, file), model, batches, args)
    if args.engine:
        table[f"ctranslate2: {args.engine}"] = _engine(task, batches, args)
    times = interleaved(table, args.repetitions, args.device)
    count = sum(len(batch["id"]) for batch in batches)
    rows = [
        {
            "candidate": name,
            "median_s": statistics.median(seconds),
            # of one repetition each: a machine that is slow for a while is so for all candidates of the repetition
            "ratio": statistics.median(a / b for a, b in zip(seconds, times[_BASELINE], strict=True)),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "sentences_per_s": count / statistics.median(seconds),
        }
        for name, seconds in times.items()
    ]
    setting = {name: getattr(args, name) for name in ("path", "subset", "beam", "batch_size", "repetitions")}
    return rows, setting | {"sentences": count} | environment(args.device)


def _load(args):
    (model,), task = load_models([args.path], args.data, args.device, {"eval_bleu": False})
    task.load_dataset(args.subset)
    dataset = task.dataset(args.subset)
    order = sorted(range(min(args.sentences, len(dataset))), key=lambda index: -dataset.src_sizes[index])
    starts = range(0, len(order), args.batch_size)
    batches = [dataset.collater([dataset[i] for i in order[start : start + args.batch_size]]) for start in starts]
    if args.device == "cuda":
        batches = [utils.move_to_cuda(batch) for batch in batches]
    return model, task, batches


def _calibrated(task, path, file):
    from ..decoding.tasks import CalibratedTranslationTask

    flags = {"calibration": file, "calibration_mismatch": "refuse", "ensemble_weights": None, "path": path}
    cfg = Namespace(**{**task.cfg, **flags, "sentence_confidence": False})
    return CalibratedTranslationTask(cfg, task.source_dictionary, task.target_dictionary)


def _fairseq(task, model, batches, args):
    generator = task.build_generator([model], Namespace(beam=args.beam, max_len_a=1.2, max_len_b=10))

    def translate():
        for batch in batches:
            task.inference_step(generator, [model], batch)

    return translate


def _engine(task, batches, args):
    from ..decoding.translate import Model, Search, Sentence

    model = Model(args.engine, threads=args.threads)
    search = Search(beam=args.beam, max_len_a=1.2, max_len_b=10)
    string = task.source_dictionary.string
    sentences = [
        [Sentence(i, string(row).split()) for i, row in enumerate(batch["net_input"]["src_tokens"])]
        for batch in batches
    ]

    def translate():
        for batch in sentences:
            model.translate(batch, search)

    return translate
