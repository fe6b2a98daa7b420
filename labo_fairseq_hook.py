"""Lets the unmodified fairseq 0.12.2 run on a current Python: `import labo_fairseq_hook` before fairseq.

pip installs labo_fairseq_hook.pth beside this module, which does that import whenever Python starts. This module only
registers a finder for a handful of fairseq's module names; the mends themselves (labo_fairseq/compat) are loaded when
one of those modules is imported. Nothing here may stop Python from starting, and LABO_FAIRSEQ_COMPAT=0 turns it off.
"""

import os
import sys

# the modules that have a mend (labo_fairseq/compat/mends.py); any other import costs one look-up in this set
MODULES = frozenset(
    {
        "fairseq.checkpoint_utils",
        "fairseq.criterions.ctc",
        "fairseq.data.audio.raw_audio_dataset",
        "fairseq.data.codedataset",
        "fairseq.data.data_utils",
        "fairseq.data.fasta_dataset",
        "fairseq.data.huffman.huffman_coder",
        "fairseq.data.iterators",
        "fairseq.data.language_pair_dataset",
        "fairseq.data.token_block_dataset",
        "fairseq.dataclass.configs",
        "fairseq.distributed.utils",
        "fairseq.file_io",
        "fairseq.model_parallel.models.pipeline_parallel_transformer.model",
        "fairseq.models.distributed_fairseq_model",
        "fairseq.models.fconv",
        "fairseq.models.fconv_lm",
        "fairseq.models.fconv_self_att",
        "fairseq.models.hubert.hubert",
        "fairseq.models.lightconv_lm",
        "fairseq.models.masked_lm",
        "fairseq.models.speech_to_text.s2t_wav_transformer",
        "fairseq.models.transformer.transformer_config",
        "fairseq.models.transformer.transformer_decoder",
        "fairseq.models.transformer.transformer_encoder",
        "fairseq.models.transformer_lm",
        "fairseq.models.wav2vec.wav2vec",
        "fairseq.models.wav2vec.wav2vec2",
        "fairseq.modules.adaptive_input",
        "fairseq.modules.adaptive_softmax",
        "fairseq.modules.dynamic_crf_layer",
        "fairseq.modules.sinusoidal_positional_embedding",
        "fairseq.modules.transformer_layer",
        "fairseq.optim.adafactor",
        "fairseq.optim.adam",
        "fairseq.optim.adamax",
        "fairseq.optim.cpu_adam",
        "fairseq.optim.fused_lamb",
        "fairseq.options",
        "fairseq.tasks.text_to_speech",
        "fairseq.trainer",
        "fairseq.utils",
        "fairseq_cli.eval_lm",
        "fairseq_cli.generate",
        "fairseq_cli.hydra_train",
        "fairseq_cli.interactive",
        "fairseq_cli.preprocess",
        "fairseq_cli.score",
        "fairseq_cli.train",
        "fairseq_cli.validate",
    }
)

# A private name, never `labo_fairseq`: fairseq imports the folder given as --user-dir under its own name, labo_fairseq,
# and refuses it ("not globally unique") or skips it where a module of that name is loaded already.
PACKAGE = "_labo_fairseq_compat"


class Finder:
    """Finds the modules in MODULES with a loader that mends them, and nothing else."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in MODULES:
            return None
        try:
            return _loader_module().find_spec(name, path, target, skip=cls)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            print(f"labo_fairseq: {name} is imported without its mends ({reason}): run `labo doctor`", file=sys.stderr)
            return None


def _loader_module():
    import importlib.util

    if PACKAGE not in sys.modules:
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "labo_fairseq", "compat")
        spec = importlib.util.spec_from_file_location(
            PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )
        package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
        sys.modules[PACKAGE] = package
    return importlib.import_module(PACKAGE + ".loader")


if os.environ.get("LABO_FAIRSEQ_COMPAT") != "0":
    sys.meta_path.insert(0, Finder)
