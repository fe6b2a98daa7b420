"""A fairseq Transformer as a CTranslate2 model, with a fitted scalar temperature folded in."""

import contextlib
import copy
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..calibration.file import Decoding, dictionary_record, load
from ..errors import UserError
from ..files import sha256
from ..functional.calibrators import Temperature
from .engine import FORMAT, RECORD, VERSION, import_ctranslate2

TOLERANCE = 1e-3  # nats per token; float32 rounding stays below 1e-4 on trained models
_TASKS = ("translation", "calibrated_translation")
_ACTIVATIONS = {
    "relu": "RELU",
    "gelu": "GELU",
    "gelu_accurate": "GELUTanh",
    "gelu_fast": "GELUTanh",
}


# how the weights are stored; the type of the computation that goes with each is `labo translate`'s default
QUANTIZATIONS = ("float32", "float16", "bfloat16", "int16", "int8", "int8_float16", "int8_bfloat16")


class Exported(NamedTuple):
    """decoding: what was folded in; difference: largest one of a score between fairseq and the engine in float32,
    nats; quantization_difference: the same once the weights are quantized, None where they are not."""

    decoding: Decoding
    difference: float
    quantization_difference: float | None


def export_ctranslate2(
    checkpoint: str | Path,
    data: str | Path,
    out: str | Path,
    calibration: Any = None,
    mismatch: str = "refuse",
    tuned: bool = True,
    quantization: str = "float32",
) -> Exported:
    """Write the folder `out` with a checkpoint as a CTranslate2 model.

    data: folder of fairseq's binaries; calibration: file whose temperature is folded in; mismatch: as of
    `folded_temperature`; tuned: whether the settings of --tune-decoding in that file are taken too. Of the Decoding the
    temperature (that of the calibrator included) and the EOS bias are folded in; the length penalty is that of
    `labo translate` where it is told no other. quantization: of QUANTIZATIONS. Nothing is written where the two models
    disagree in float32. Raises UserError on bad input.
    """
    if quantization not in QUANTIZATIONS:
        raise UserError(f"--quantization: {quantization}: choose from {', '.join(QUANTIZATIONS)}")
    ctranslate2 = import_ctranslate2()
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already: name a new folder, or remove this one")
    model, task = load_fairseq_model(checkpoint, data)
    decoding = _decoding(calibration, checkpoint, task, mismatch, tuned) if calibration else Decoding()
    with _folder_aside(out) as aside:

        def saved_difference(kind, compute_type):
            # optimize() quantizes in place, in the memory of the model itself
            spec = transformer_spec(copy.deepcopy(model), task, decoding.temperature, decoding.eos_bias)
            spec.validate()
            spec.optimize(quantization=None if kind == "float32" else kind)
            spec.save(str(aside))
            translator = ctranslate2.Translator(str(aside), compute_type=compute_type)
            return largest_difference(translator, model, task, decoding.temperature, decoding.eos_bias)

        difference = saved_difference("float32", "float32")
        if not difference <= TOLERANCE:
            raise UserError(
                f"{checkpoint}: the converted model gives other scores (by {difference:.3g} nats): it has a part "
                "that CTranslate2 does not compute: use fairseq-generate"
            )
        quantized = None if quantization == "float32" else saved_difference(quantization, "default")
        record = _record(checkpoint, task, model, decoding) | {"quantization": quantization}
        (aside / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Exported(decoding, difference, quantized)


def _decoding(calibration, checkpoint, task, mismatch, tuned):
    """The Decoding of a calibration file, with its calibrator's temperature in it."""
    temperature = folded_temperature(calibration, checkpoint, task.target_dictionary, mismatch)
    found = (load(calibration).decoding if tuned else None) or Decoding()
    return dataclasses.replace(found, temperature=temperature * found.temperature)


def load_fairseq_model(checkpoint: str | Path, data: str | Path) -> tuple[Any, Any]:
    """(model in evaluation mode, task) of one checkpoint, with the dictionaries in `data`.

    Raises UserError where a file is missing, the dictionaries have another size than the model, or the checkpoint is
    damaged or holds code (then from fairseq's loader, which the bridge keeps at weights_only=True).
    """
    from fairseq import checkpoint_utils

    from .. import register

    register()
    for path, what in ((checkpoint, "a checkpoint"), (data, "the folder that fairseq-preprocess wrote")):
        if not os.path.exists(path):
            raise UserError(f"{path}: no such file or folder: give {what}")
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], {"data": str(data)})
    except FileNotFoundError as error:
        raise UserError(f"{data}: {error}: give the folder of the model's dictionaries") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        raise UserError(
            f"{data}: its dictionaries have other sizes than the embeddings of {checkpoint}: give the folder that the "
            "model was trained on"
        ) from error
    return models[0].eval().float().requires_grad_(False), task


def transformer_spec(model: Any, task: Any, temperature: float = 1.0, eos_bias: float = 0.0) -> Any:
    """The ctranslate2.specs.TransformerSpec of a fairseq model with the logits z/T + bias·[EOS].

    Raises UserError for architectures and options that CTranslate2 does not compute, naming them.
    """
    from ctranslate2.converters import fairseq as convert
    from ctranslate2.specs import TransformerSpec, common_spec
    from ctranslate2.specs.transformer_spec import TransformerDecoderSpec, TransformerEncoderSpec

    _refuse_unsupported(model, task)
    cfg = model.decoder.cfg
    activation = common_spec.Activation[_ACTIVATIONS[cfg.activation_fn]]
    sides = []
    for part, settings, side_spec in (
        (model.encoder, cfg.encoder, TransformerEncoderSpec),
        (model.decoder, cfg.decoder, TransformerDecoderSpec),
    ):
        side = side_spec(
            len(part.layers),
            settings.attention_heads,
            pre_norm=settings.normalize_before,
            no_final_norm=part.layer_norm is None,
            activation=activation,
            layernorm_embedding=part.layernorm_embedding is not None,
        )
        sides.append(side)
    spec = TransformerSpec(*sides)
    convert.set_transformer_encoder(spec.encoder, model.encoder)
    convert.set_transformer_decoder(spec.decoder, model.decoder)
    if temperature != 1:
        # new arrays: a tied embedding keeps its own. In float64 and rounded once.
        projection = model.decoder.output_projection
        spec.decoder.projection.weight = (projection.weight.double() / temperature).float().numpy()
        if projection.bias is not None:
            spec.decoder.projection.bias = (projection.bias.double() / temperature).float().numpy()
    if eos_bias != 0:
        own = model.decoder.output_projection.bias
        types = model.decoder.output_projection.weight.size(0)
        bias = torch.zeros(types).double() if own is None else own.double() / temperature
        bias[task.target_dictionary.eos()] += eos_bias
        spec.decoder.projection.bias = bias.float().numpy()
    spec.register_source_vocabulary(list(task.source_dictionary.symbols))
    spec.register_target_vocabulary(list(task.target_dictionary.symbols))
    # as in fairseq: sources end in the end of sentence, and the decoder starts with it
    spec.config.add_source_eos = True
    spec.config.decoder_start_token = spec.config.eos_token
    return spec


def _refuse_unsupported(model, task):
    from fairseq.models.transformer import (
        TransformerDecoder,
        TransformerDecoderBase,
        TransformerEncoder,
        TransformerEncoderBase,
        TransformerModel,
        TransformerModelBase,
    )

    name = type(task).__name__
    if (task_name := getattr(task.cfg, "_name", None)) not in _TASKS:
        raise UserError(f"task {task_name or name}: only {' and '.join(_TASKS)} can be exported: use fairseq-generate")
    # exact types: subclasses override what the layers compute
    known = (
        (model, (TransformerModel, TransformerModelBase)),
        (getattr(model, "encoder", None), (TransformerEncoder, TransformerEncoderBase)),
        (getattr(model, "decoder", None), (TransformerDecoder, TransformerDecoderBase)),
    )
    for part, types in known:
        if type(part) not in types:
            raise UserError(
                f"architecture {type(part).__name__}: only fairseq's plain `transformer` can be exported: "
                "use fairseq-generate"
            )
    for option, present in _unsupported_options(model).items():
        if present:
            raise UserError(f"option {option}: CTranslate2 cannot compute it: use fairseq-generate")


def _unsupported_options(model):
    """Option of fairseq-train -> whether this model was built with it."""
    decoder, cfg = model.decoder, model.decoder.cfg
    layers = [*model.encoder.layers, *decoder.layers]
    positions = (model.encoder.embed_positions, decoder.embed_positions)
    return {
        "--adaptive-softmax-cutoff": decoder.adaptive_softmax is not None,
        "--no-token-positional-embeddings": any(table is None for table in positions),
        "--no-cross-attention": cfg.no_cross_attention,
        "--cross-self-attention": cfg.cross_self_attention,
        f"--activation-fn {cfg.activation_fn}": cfg.activation_fn not in _ACTIVATIONS,
        "--decoder-input-dim, --decoder-output-dim": bool(decoder.project_in_dim or decoder.project_out_dim),
        "--base-layers": cfg.base_layers > 0,
        "--scale-attn, --scale-heads, --scale-fc, --scale-resids": any(
            getattr(layer, part, None) is not None
            for layer in layers
            for part in ("attn_ln", "c_attn", "ffn_layernorm", "w_resid")
        ),
    }


def folded_temperature(file: str | Path, checkpoint: str | Path, dictionary: Any, mismatch: str = "refuse") -> float:
    """The temperature of a calibration file, for one checkpoint and the target dictionary.

    mismatch: "refuse" or "warn" of a calibration of another checkpoint or dictionary. Raises UserError.
    """
    calibration = load(file)
    members = calibration.members
    if len(members) != 1:
        raise UserError(
            f"{file}: holds {len(members)} members: an exported model is one checkpoint: calibrate it alone"
        )
    calibrator = members[0].calibrator
    if not isinstance(calibrator, Temperature):
        raise UserError(
            f"{file}: its calibrator is {type(calibrator).__name__.lower()}: only a scalar temperature "
            "folds into the weights: fit one with `labo calibrate`, or decode with --task calibrated_translation"
        )
    foreign = []
    if members[0].sha256 != sha256(checkpoint):
        foreign.append(f"another checkpoint ({members[0].checkpoint})")
    if calibration.dictionary != dictionary_record(dictionary):
        foreign.append("another dictionary")
    if foreign:
        message = f"{file}: fitted to {' and '.join(foreign)}"
        if mismatch == "refuse":
            raise UserError(f"{message}: fit it to this one, or say --calibration-mismatch warn")
        print(f"warning: {message}", file=sys.stderr)
    return calibrator.temperature


def _record(checkpoint, task, model, decoding):
    from .. import __version__

    return {
        "format": FORMAT,
        "version": VERSION,
        "labo_fairseq": __version__,
        "checkpoint": Path(checkpoint).name,
        "sha256": sha256(checkpoint),
        "temperature": decoding.temperature,
        "eos_bias": decoding.eos_bias,
        "lenpen": decoding.lenpen,
        "source_lang": task.cfg.source_lang,
        "target_lang": task.cfg.target_lang,
        "source_dictionary": dictionary_record(task.source_dictionary),
        "target_dictionary": dictionary_record(task.target_dictionary),
        "max_source_positions": model.max_positions()[0],
        "max_target_positions": model.max_decoder_positions(),
    }


@contextlib.contextmanager
def _folder_aside(out):
    """A folder beside `out` that takes its name after the block ended without an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        inner = aside / "model"  # mkdtemp's own folder is private, this one has the user's permissions
        inner.mkdir()
        yield inner
        os.replace(inner, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def largest_difference(
    translator: Any,
    model: Any,
    task: Any,
    temperature: float,
    eos_bias: float = 0.0,
    sentences: Any = 8,
    length: int = 12,
) -> float:
    """Largest |log p_fairseq(softmax(z/T + bias·[EOS])) − log p_CTranslate2|, nats, of tokens of made-up sentences."""
    generator = torch.Generator().manual_seed(1)
    source, target = task.source_dictionary, task.target_dictionary
    differences = []
    for _ in range(sentences):
        words = [
            torch.randint(side.nspecial, len(side), (length,), generator=generator).tolist()
            for side in (source, target)
        ]
        source_words, target_words = words
        expected = fairseq_token_scores(model, target.eos(), source_words, target_words, temperature, eos_bias)
        pair = [[side.symbols[i] for i in ids] for side, ids in zip((source, target), words, strict=True)]
        got = torch.tensor(translator.score_batch([pair[0]], [pair[1]])[0].log_probs)
        differences.append((got - expected).abs().max())
    return torch.stack(differences).max().item()  # NaN stays NaN, unlike in max()


def fairseq_token_scores(
    model: Any, eos: int, source: Any, target: Any, temperature: float = 1.0, eos_bias: float = 0.0
) -> torch.Tensor:
    """log softmax(z/T + bias·[EOS]) of each target token and of the end of sentence: (len(target) + 1,), nats.

    source, target: lists of ids without the end of sentence.
    """
    with torch.no_grad():
        logits, _ = model(
            torch.tensor([[*source, eos]]), torch.tensor([len(source) + 1]), torch.tensor([[eos, *target]])
        )
    logits = logits[0].float() / temperature
    logits[:, eos] += eos_bias
    scores = torch.log_softmax(logits, -1)
    return scores[torch.arange(len(target) + 1), [*target, eos]]
