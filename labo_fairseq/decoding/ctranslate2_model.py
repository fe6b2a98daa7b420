"""A fairseq Transformer as a CTranslate2 model, with a scalar temperature folded into its output projection.

softmax((W h + b) / T) is softmax((W/T) h + b/T): the fold is exact up to the rounding of W/T to float32.
"""

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from fairseq import checkpoint_utils
from fairseq.models import ARCH_MODEL_NAME_REGISTRY

from ..errors import UserError
from ..files import sha256, write_aside
from ..functional.calibrators import Temperature
from . import choose

#: beside the model's own files: which checkpoint it was, and its temperature
RECORD = "labo_export.json"

# CTranslate2's converter takes these models, but not with these settings, which it does not look at
_MODELS = ("transformer", "transformer_align")
_NOT_CONVERTED = {
    "adaptive_softmax_cutoff": "an adaptive softmax has no logits to divide",
    "cross_self_attention": "its layers are not CTranslate2's",
    "no_cross_attention": "its layers are not CTranslate2's",
    "base_layers": "its layers are not CTranslate2's",
}


def export(checkpoint, data, out, calibration_file=None, strict=True):
    """Write the checkpoint as a CTranslate2 model into the new folder `out`; returns its temperature.

    data: folder with the dictionaries. calibration_file: its calibrator for this checkpoint must be a scalar
    strict: refuse a calibration of another checkpoint or dictionary, else warn

    The checkpoint is read with weights_only=True. Raises UserError on what cannot be exported, with the reason.
    """
    if importlib.util.find_spec("ctranslate2") is None:
        raise UserError("ctranslate2: not installed: pip install ctranslate2")
    out = Path(out)
    if out.exists():
        raise UserError(f"{out}: exists already: remove it or give another --out")
    model, cfg, task = _load(checkpoint, data)
    temperature = _temperature(checkpoint, calibration_file, task.target_dictionary, strict)
    _fold(model.decoder, temperature)
    record = {"checkpoint": os.path.basename(checkpoint), "sha256": sha256(checkpoint), "temperature": temperature}
    aside = Path(tempfile.mkdtemp(dir=_made(out.parent), prefix=f".{out.name}."))
    try:
        # convert() removes the folder and makes it anew, with the permissions that a user expects
        _convert(model, cfg, task, aside)
        with write_aside(aside / RECORD) as stream:
            json.dump(record, stream, indent=1)
        os.rename(aside, out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return temperature


def _load(checkpoint, data):
    if not os.path.isfile(checkpoint):
        raise UserError(f"{checkpoint}: no such file: give a checkpoint of fairseq-train")
    overrides = {"data": str(data), "eval_bleu": False}
    try:
        (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], arg_overrides=overrides)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file: --data needs the folder with the dictionaries") from error
    return model.eval().requires_grad_(False), cfg.model, task


def _temperature(checkpoint, calibration_file, dictionary, strict):
    _, calibration = choose.calibration_of(calibration_file, None)
    if calibration is None:
        return 1.0
    (calibrator,) = choose.calibrators(calibration, calibration_file, [checkpoint], dictionary, strict)
    if calibrator is None:
        return 1.0
    if not isinstance(calibrator, Temperature):
        raise UserError(
            f"{calibration_file}: its calibrator is {type(calibrator).__name__.lower()}: only a scalar temperature is "
            "linear in the logits and can be folded in: fit one (--calibrator temperature), or use fairseq-generate"
        )
    return calibrator.temperature


def _fold(decoder, temperature):
    """Divide the projection's weight and bias by T; one that shares its weight with the embedding gets its own."""
    if temperature == 1:
        return
    tied = decoder.output_projection
    projection = torch.nn.Linear(tied.in_features, tied.out_features, bias=tied.bias is not None)
    projection.weight = torch.nn.Parameter(tied.weight / temperature, requires_grad=False)
    if tied.bias is not None:
        projection.bias = torch.nn.Parameter(tied.bias / temperature, requires_grad=False)
    decoder.output_projection = projection


def _convert(model, cfg, task, folder):
    from ctranslate2.converters import fairseq as layers
    from ctranslate2.converters.converter import Converter

    class LoadedModel(Converter):
        """ctranslate2's FairseqConverter, but for a model that is loaded (it would build the task from the file)."""

        def _load(self):
            spec = _spec(layers, cfg)
            layers.set_transformer_encoder(spec.encoder, model.encoder)
            layers.set_transformer_decoder(spec.decoder, model.decoder)
            spec.register_source_vocabulary(layers._get_vocab(task.source_dictionary))
            spec.register_target_vocabulary(layers._get_vocab(task.target_dictionary))
            spec.config.decoder_start_token = spec.config.eos_token
            spec.config.add_source_eos = True
            return spec

    LoadedModel().convert(str(folder), force=True)


def _spec(layers, cfg):
    """The empty specification of the model; UserError, with the reason, where CTranslate2 has no such model."""
    arch = getattr(cfg, "arch", None) or getattr(cfg, "_name", None)
    name = ARCH_MODEL_NAME_REGISTRY.get(arch)
    if name not in _MODELS:
        raise UserError(f"architecture {arch}: cannot be exported: only {' and '.join(_MODELS)} models are")
    for setting, reason in _NOT_CONVERTED.items():
        if getattr(cfg, setting, None):
            raise UserError(f"--{setting.replace('_', '-')}: cannot be exported: {reason}: use fairseq-generate")
    try:
        return layers._get_model_spec(cfg)
    except ValueError as error:
        raise UserError(f"cannot be exported: {' '.join(str(error).split())}") from error


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder
