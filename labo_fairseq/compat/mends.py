"""Every mend by the module of fairseq that it mends. The docstring of each mend tells the failure and its cause.

A mend returns something true where it changed anything; None or False says that the failure is not there, so that a
mend steps aside by itself once fairseq or torch no longer needs it.
"""

from .attention import avoid_flash_attention_in_trainings, disable_encoder_fast_path, keep_unused_copies_zero
from .checkpoints import (
    allow_checkpoint_globals,
    explain_failed_restarts,
    explain_foreign_checkpoints,
    explain_missing_pretrained_model,
    explain_refused_checkpoints,
)
from .command_line import find_user_dir_by_name, infer_languages_of_tokenizer, one_line_for_wrong_flags
from .confidence import print_sentence_confidence
from .console import (
    one_line_errors,
    one_line_errors_in_workers,
    one_line_errors_of_hydra,
    say_once_that_a_log_is_lost,
)
from .fetching import end_fetching_before_shutdown, end_workers_of_past_epochs
from .hydra_line import import_user_dir_before_composition, one_line_for_wrong_settings
from .launch import check_world_size
from .literals import read_literals_alone, read_literals_alone_in_examples
from .loaded_models import name_loaded_models, warn_of_swapped_languages
from .source import (
    count_accumulated_batches,
    find_the_last_bit,
    give_unused_tensors_a_value,
    hashable_dataclasses,
    leave_out_warnings_of_hydra,
    let_bf16_run_without_tpu,
    let_torch_ddp_run_on_cpus,
    name_things_as_numpy_2_does,
    pass_config_to_scorer,
    pass_lists_to_sacrebleu,
    quote_fasta_paths,
    resume_under_another_criterion,
)
from .whole_files import copy_whole_files, explain_unwritable_folders, save_whole_files
from .workers import (
    allow_broadcast_globals,
    explain_lost_workers,
    leave_unused_copies_out_of_ddp,
)

WITH_UNUSED_TENSORS = (
    "model_parallel.models.pipeline_parallel_transformer.model", "models.masked_lm",
    "models.transformer.transformer_decoder", "models.transformer.transformer_encoder", "modules.adaptive_input",
    "modules.adaptive_softmax", "modules.sinusoidal_positional_embedding",
)  # fmt: skip
OF_OLD_NUMPY = (
    "data.data_utils", "data.language_pair_dataset", "data.token_block_dataset", "modules.dynamic_crf_layer",
    "tasks.text_to_speech",
)  # fmt: skip

# from the text of the module to its mended text
SOURCE_MENDS = {
    **{f"fairseq.{name}": [give_unused_tensors_a_value] for name in WITH_UNUSED_TENSORS},
    **{f"fairseq.{name}": [name_things_as_numpy_2_does] for name in OF_OLD_NUMPY},
    "fairseq.data.huffman.huffman_coder": [find_the_last_bit],
    "fairseq.dataclass.configs": [hashable_dataclasses],
    "fairseq.models.transformer.transformer_config": [hashable_dataclasses],
    "fairseq.data.fasta_dataset": [quote_fasta_paths],
    "fairseq.options": [let_bf16_run_without_tpu],
    "fairseq.models.distributed_fairseq_model": [let_torch_ddp_run_on_cpus],
    "fairseq.trainer": [resume_under_another_criterion, count_accumulated_batches],
    "fairseq_cli.generate": [print_sentence_confidence],
    "fairseq_cli.hydra_train": [leave_out_warnings_of_hydra],
    "fairseq_cli.interactive": [print_sentence_confidence],
    "fairseq_cli.score": [pass_lists_to_sacrebleu, pass_config_to_scorer],
}

# modules that call eval() on settings
EVALUATING = (
    "fairseq.criterions.ctc",
    "fairseq.data.audio.raw_audio_dataset",
    "fairseq.data.codedataset",
    "fairseq.models.fconv",
    "fairseq.models.fconv_lm",
    "fairseq.models.fconv_self_att",
    "fairseq.models.hubert.hubert",
    "fairseq.models.lightconv_lm",
    "fairseq.models.speech_to_text.s2t_wav_transformer",
    "fairseq.models.transformer_lm",
    "fairseq.models.wav2vec.wav2vec",
    "fairseq.models.wav2vec.wav2vec2",
    "fairseq.optim.adafactor",
    "fairseq.optim.adam",
    "fairseq.optim.adamax",
    "fairseq.optim.cpu_adam",
    "fairseq.optim.fused_lamb",
    "fairseq.utils",
    "fairseq_cli.eval_lm",
    "fairseq_cli.validate",
)

# from the module, once it ran
MODULE_MENDS = {
    "fairseq.options": [one_line_for_wrong_flags, infer_languages_of_tokenizer],
    "fairseq.utils": [find_user_dir_by_name, read_literals_alone_in_examples, say_once_that_a_log_is_lost],
    "fairseq.checkpoint_utils": [
        allow_checkpoint_globals,
        explain_refused_checkpoints,
        explain_foreign_checkpoints,
        explain_missing_pretrained_model,
        name_loaded_models,
        warn_of_swapped_languages,
        save_whole_files,
        explain_unwritable_folders,
    ],
    "fairseq.data.iterators": [end_fetching_before_shutdown, end_workers_of_past_epochs],
    "fairseq.distributed.utils": [
        allow_broadcast_globals,
        explain_lost_workers,
        one_line_errors_in_workers,
        check_world_size,
    ],
    "fairseq.file_io": [copy_whole_files],
    "fairseq.models.distributed_fairseq_model": [leave_unused_copies_out_of_ddp],
    "fairseq.trainer": [explain_failed_restarts, avoid_flash_attention_in_trainings],
    "fairseq.modules.transformer_layer": [disable_encoder_fast_path, keep_unused_copies_zero],
    "fairseq_cli.hydra_train": [
        one_line_errors_of_hydra,
        import_user_dir_before_composition,
        one_line_for_wrong_settings,
    ],
    **{
        f"fairseq_cli.{command}": [one_line_errors]
        for command in ("eval_lm", "generate", "interactive", "preprocess", "score", "train", "validate")
    },
}

for _module in EVALUATING:
    MODULE_MENDS.setdefault(_module, []).append(read_literals_alone)
