"""Mends in the text of a module, for what no patch from outside can reach. Line numbers stay as they are."""

import re

_DEFAULT_THAT_IS_AN_INSTANCE = re.compile(r"^    \w+: (\w+) = \1\(\)", re.MULTILINE)


def hashable_dataclasses(text):
    """F1: `ValueError: mutable default <class '...CommonConfig'> for field common is not allowed: use default_factory`.

    From 3.11 on, Python rejects a default value without a hash, and fairseq's nested configurations are instances of
    plain dataclasses. `unsafe_hash` gives them one. A default_factory would not do: hydra_init reads `.default`.
    """
    if not _DEFAULT_THAT_IS_AN_INSTANCE.search(text):
        return None
    return re.sub(r"^@dataclass$", "@dataclass(unsafe_hash=True)", text, flags=re.MULTILINE)


def pass_lists_to_sacrebleu(text):
    """F5: `fairseq-score --sacrebleu`: `TypeError: BLEU: Each element of refs should be a sequence of strings`.

    fairseq hands over open files; sacrebleu 2 wants lists.
    """
    return _replace(
        text,
        "sacrebleu.corpus_bleu(fdsys, [fdref])",
        "sacrebleu.corpus_bleu(list(fdsys), [list(fdref)])",
    )


def pass_config_to_scorer(text):
    """F6: `fairseq-score --sentence-bleu`: `TypeError: Scorer.__init__() takes 2 positional arguments but 4 were`.

    A call that was forgotten when Scorer began to take a BleuConfig.
    """
    return _replace(
        text,
        "bleu.Scorer(dict.pad(), dict.eos(), dict.unk())",
        "bleu.Scorer(bleu.BleuConfig(pad=dict.pad(), eos=dict.eos(), unk=dict.unk()))",
    )


def let_bf16_run_without_tpu(text):
    """F7: `--bf16`: `AttributeError: 'NoneType' object has no attribute 'xla_device'`.

    fairseq takes --bf16 to imply a TPU; CPUs and GPUs have bfloat16 too. Only where torch_xla is installed the
    implication stays (`utils.xm` is torch_xla, or None).
    """
    return _replace(
        text,
        "    if args.bf16:\n        args.tpu = True",
        "    if args.bf16 and utils.xm is not None:\n        args.tpu = True",
    )


def resume_under_another_criterion(text):
    """F18: `AssertionError: Criterion does not match; please reset the optimizer (--reset-optimizer)`.

    fairseq ties the optimizer's state to the criterion's name, since a criterion may own parameters. One without any
    has no part in that state: a run of label_smoothed_cross_entropy goes on under labo with its Adam moments, and back.
    """
    same_name = 'last_optim["criterion_name"] == self.get_criterion().__class__.__name__'
    return _replace(text, same_name, f"{same_name} or not any(True for _ in self.get_criterion().parameters())")


def let_torch_ddp_run_on_cpus(text):
    """F10: torchrun with `--cpu`: `ValueError: DistributedDataParallel device_ids and output_device ...`.

    fairseq names a GPU to torch's DDP whatever the device is; on a CPU torch wants none named.
    """
    named = ("device_ids=[args.device_id],", "output_device=args.device_id,")
    if not all(argument in text for argument in named):
        return None
    for argument in named:
        text = text.replace(argument, f'{argument[:-1]} if device.type == "cuda" else None,')
    return text


def count_accumulated_batches(text):
    """F22: uneven workers under --update-freq: the last update of an epoch is too large, and its log too small.

    Where the batches do not come out even, a worker's last one is a dummy whose gradient is zeroed. fairseq then takes
    the whole update of that worker for a dummy: the gradients of the batches accumulated before it count, but their
    sample size and log do not. A dummy that follows other batches is left out of both sums instead.
    """
    loop_end = "                    del loss\n\n                logging_outputs.append(logging_output)\n"
    skip = "                if is_dummy_batch and i: is_dummy_batch = False; continue\n"
    return _replace(text, loop_end, loop_end.replace("\n\n", "\n" + skip))


def quote_fasta_paths(text):
    """F29: `--dataset-impl fasta`: the path of the data is part of a shell's command line, so a path can be a command.

    The path is a setting, of a checkpoint or an experiment too.
    """
    return _replace(
        text,
        "path = fasta_file_path(path)\n        bytes_offsets",
        'path = __import__("shlex").quote(fasta_file_path(path))\n        bytes_offsets',
    )


def leave_out_warnings_of_hydra(text):
    """F50: hydra 1.2 and later puts twenty lines about its future above the one line that says what is wrong."""
    about = (
        r"\s*The version_base parameter",
        r"\s*In 'config': Usage of deprecated keyword",
        r"\s*'config' is validated against ConfigStore schema",
    )
    silent = f'[__import__("warnings").filterwarnings("ignore", about) for about in {about!r}]'
    return _replace(text, "\n\n@hydra.main(", f"\n{silent}\n@hydra.main(")


_OF_OLD_NUMPY = {
    "np.compat.long": "int",
    "np.int,": "int,",
    'np.float("inf")': 'float("inf")',
    'interpolation="lower"': 'method="lower"',
    'np.fromstring(fig.canvas.tostring_rgb(), dtype=np.uint8, sep="")': (
        "np.asarray(fig.canvas.buffer_rgba())[..., :3].copy()"
    ),
}


def name_things_as_numpy_2_does(text):
    """F33: numpy 2: `AttributeError: np.compat`, `np.int`, `np.float`; `percentile() got ... 'interpolation'`.

    Any of them ends a training with --break-mode eos, with --num-batch-buckets, or on several languages.
    """
    found = [old for old in _OF_OLD_NUMPY if old in text]
    for old in found:
        text = text.replace(old, _OF_OLD_NUMPY[old])
    return text if found else None


def find_the_last_bit(text):
    """F34: bitarray 3: `module 'bitarray.util' has no attribute 'rindex'`, reading any --dataset-impl huffman."""
    return _replace(text, "util.rindex(a, 1)", "a.find(1, right=True)")


def give_unused_tensors_a_value(text):
    """F31: two equal trainings write unequal checkpoints: a buffer that shows a module's type is never filled.

    `_float_tensor` is made by `torch.FloatTensor(1)`, which holds whatever the memory held.
    """
    return _replace(text, "torch.FloatTensor(1)", "torch.zeros(1)")


def _replace(text, old, new):
    return text.replace(old, new) if old in text else None
