"""Flags: the same settings through argparse and through hydra, and no name that fairseq uses already."""

import dataclasses
from pathlib import Path

import fairseq
import pytest
from _cases import CASES
from fairseq import options
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY
from fairseq.dataclass.initialize import hydra_init
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

OURS = sorted({case.criterion or case.of for case in CASES} - {None})
# the flags whose name and meaning are those of fairseq's own criterions
SHARED = {"report_accuracy", "ignore_prefix_size", "label_smoothing"}
SETTINGS = [(case.criterion, case.flags) for case in CASES if case.criterion] + [
    ("labo", {"report_accuracy": True, "ignore_prefix_size": 2, "projection": "dense", "smoothing_warmup_updates": 7}),
    ("knowledge_distillation", {"teacher_path": "a.pt", "teacher_temperature": 2.5, "distill_match": "logits"}),
    ("cs_kd", {"pair_weight": 3.0, "pair_temperature": 2.0}),
    ("beta_smoothing", {"smoothing_weight": 0.4, "beta_shape": 2.0}),
    ("kr_ls", {"table_weight": 0.1, "table_limit": 10}),
    ("matrix_smoothing", {"smoothing_matrix": "matrix.txt"}),
    ("mixup", {"mixup_alpha": 0.3}),
    ("pairwise_label_smoothing", {"smoothing_weight": 0.3}),
    ("label_smoothing", {"smoothing_prior": "unigram", "prior_exponent": 0.5, "prior_counts": "counts.txt"}),
]


def flags_of(name):
    """Fields of a criterion that are flags of the command line (the others point at fairseq's own settings)."""
    fields = dataclasses.fields(CRITERION_DATACLASS_REGISTRY[name])
    return {f.name: f for f in fields if f.name != "_name" and "help" in f.metadata}


def from_argparse(name, flags, *more):
    words = []
    for key, value in flags.items():
        words += [f"--{key.replace('_', '-')}"] + ([] if value is True else [str(value)])
    line = ["data", "--task", "translation", "--arch", "transformer_tiny", "--criterion", name, *words, *more]
    parser = options.get_training_parser()
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, line)).criterion


def from_hydra(name, flags, *more):
    GlobalHydra.instance().clear()
    hydra_init()
    # fairseq itself calls hydra's older interface later, which a newer version_base would switch off
    with initialize_config_dir(str(Path(fairseq.__file__).parent / "config"), version_base="1.1"):
        return compose(
            "config",
            overrides=[f"criterion={name}", "task=translation", "task.data=data"]
            + [f"criterion.{key}={value}" for key, value in flags.items()]
            + list(more),
        ).criterion


@pytest.mark.parametrize("name, flags", SETTINGS)
def test_argparse_and_hydra_agree(name, flags):
    left = from_argparse(name, flags, "--max-update", "9000", "--sentence-avg")
    right = from_hydra(name, flags, "optimization.max_update=9000", "optimization.sentence_avg=true")
    left, right = (OmegaConf.to_container(cfg, resolve=True) for cfg in (left, right))
    assert {k: str(v) for k, v in left.items()} == {k: str(v) for k, v in right.items()}
    assert left["sentence_avg"] is True and left.get("max_update", 9000) == 9000
    for key, value in flags.items():
        assert str(left[key]) == str(value)


@pytest.mark.parametrize("name", OURS)
def test_defaults_agree(name):
    left, right = from_argparse(name, {}), from_hydra(name, {})
    defaults = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name]())
    for key in flags_of(name):
        assert str(left[key]) == str(right[key]) == str(defaults[key])


@pytest.mark.parametrize("name", OURS)
def test_no_flag_collides_with_fairseq(name):
    """fairseq swallows a flag that exists already, silently: the earlier one wins."""
    parsers = {
        "train": options.get_training_parser(),
        "generate": options.get_generation_parser(),
        "interactive": options.get_interactive_generation_parser(),
        "validate": options.get_validation_parser(),
        "preprocess": options.get_preprocessing_parser(),
        "eval-lm": options.get_eval_lm_parser(),
    }
    for command, parser in parsers.items():
        taken = {word for action in parser._actions for word in action.option_strings}
        clash = taken & {f"--{field.replace('_', '-')}" for field in flags_of(name)}
        assert not clash, f"fairseq-{command} has {clash} already"


@pytest.mark.parametrize("name", OURS)
def test_no_switch_defaults_to_true(name):
    """fairseq turns a bool that defaults to True into a flag that switches it off."""
    assert not [f.name for f in flags_of(name).values() if f.default is True]


@pytest.mark.parametrize("name", OURS)
def test_every_flag_explains_itself(name):
    for field in flags_of(name).values():
        assert len(field.metadata["help"]) > 10, field.name


def test_cases_lists_every_criterion():
    """Gradcheck, fused equals dense, padding, half precision and the rest are tried on what is listed there."""
    registered = {name for name, c in CRITERION_REGISTRY.items() if c.__module__.startswith("labo_fairseq.")}
    assert set(OURS) == registered
