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


def _replace(text, old, new):
    return text.replace(old, new) if old in text else None
