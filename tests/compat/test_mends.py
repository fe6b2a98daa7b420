"""Each mend is needed: without it the failure that its docstring tells is there; and it steps aside where it is not.

test_commands.py shows the same commands at work with all mends. Whether each is still needed matters after an upgrade,
so those tests are slow ones.
"""

import importlib.util
import re
import shutil
import types
from pathlib import Path

import pytest

import labo_fairseq_hook
from labo_fairseq.compat import attention, mends, source, whole_files, workers

SCRIPT = Path(__file__).with_name("without_mend.py")


@pytest.fixture
def run_without(run_cli):
    def run(mend, command, *args):
        return run_cli("python", SCRIPT, mend, command, *args)

    return run


def assert_fails(done, message):
    assert done.returncode != 0, done.stdout
    assert message in done.stderr + done.stdout


def test_every_mended_module_is_known_to_the_hook_and_the_reverse():
    assert {*mends.SOURCE_MENDS, *mends.MODULE_MENDS} == labo_fairseq_hook.MODULES


def test_every_mend_tells_its_failure():
    for mend in {mend for table in (mends.SOURCE_MENDS, mends.MODULE_MENDS) for row in table.values() for mend in row}:
        assert mend.__doc__.startswith("F"), mend


@pytest.mark.slow
def test_f1_without_hashable_dataclasses(run_without):
    assert_fails(run_without("hashable_dataclasses", "fairseq-train", "--help"), "mutable default")


def test_f1_with_the_bridge_off(run_cli):
    assert_fails(run_cli("fairseq-train", "--help", env={"LABO_FAIRSEQ_COMPAT": "0"}), "mutable default")


@pytest.mark.slow
def test_f2_without_allow_checkpoint_globals(run_without, tiny_bin, trained):
    args = [tiny_bin, "--path", trained / "checkpoint_best.pt", "--cpu"]
    done = run_without("allow_checkpoint_globals", "fairseq-generate", *args)
    assert_fails(done, "contains code (GLOBAL argparse.Namespace)")


@pytest.mark.slow
def test_f18_without_resume_under_another_criterion(run_without, trained, train_args, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    other = ["--criterion", "label_smoothed_cross_entropy"]
    done = run_without("resume_under_another_criterion", "fairseq-train", *train_args(folder, 6, *other))
    assert_fails(done, "Criterion does not match")


@pytest.mark.slow
def test_f3_without_disable_encoder_fast_path(run_without, tiny_bin, trained):
    args = [tiny_bin, "--path", trained / "checkpoint_best.pt", "--batch-size", 12, "--cpu"]
    assert_fails(run_without("disable_encoder_fast_path", "fairseq-generate", *args), "Mask Type should be defined")


@pytest.mark.slow
def test_f4_without_allow_broadcast_globals(run_two, trained_by_two, train_args, tmp_path):
    folder = shutil.copytree(trained_by_two, tmp_path / "run")
    done = run_two(SCRIPT, "allow_broadcast_globals", "fairseq-train", *train_args(folder, 6))
    assert_fails(done, "UnpicklingError: Weights only load failed")


@pytest.mark.slow
def test_f5_and_f6_without_their_mends(run_without, tiny_text):
    same = ["--sys", tiny_text / "test.en", "--ref", tiny_text / "test.en"]
    done = run_without("pass_lists_to_sacrebleu", "fairseq-score", *same, "--sacrebleu")
    assert_fails(done, "should be a sequence of strings")
    done = run_without("pass_config_to_scorer", "fairseq-score", *same, "--sentence-bleu")
    assert_fails(done, "takes 2 positional arguments but 4 were given")


@pytest.mark.slow
def test_f7_without_let_bf16_run_without_tpu(run_without, train_args, tmp_path):
    done = run_without("let_bf16_run_without_tpu", "fairseq-train", *train_args(tmp_path, 1, "--bf16"))
    assert_fails(done, "'NoneType' object has no attribute 'xla_device'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mend", "message"),
    [
        ("let_torch_ddp_run_on_cpus", "device_ids and output_device arguments only work with"),
        ("leave_unused_copies_out_of_ddp", "Expected to have finished reduction in the prior iteration"),
    ],
)
def test_f10_and_f21_without_their_mends(run_two, train_args, tmp_path, mend, message):
    args = train_args(tmp_path, 3)
    done = run_two(SCRIPT, mend, "fairseq-train", *args, backend="pytorch_ddp")
    assert_fails(done, message)


@pytest.mark.slow
def test_f22_without_count_accumulated_batches(run_two, train_args, tmp_path):
    # 60 sentences are 7 batches: of the last two of rank 1 one is missing, and 9 sentences of the other are not counted
    args = train_args(tmp_path, 2, "--batch-size", 9, "--required-batch-size-multiple", 1, "--update-freq", 2)
    seen = {}
    for mend in ("count_accumulated_batches", "no_mend"):
        done = run_two(SCRIPT, mend, "fairseq-train", *args, "--save-dir", tmp_path / mend)
        assert done.returncode == 0, done.stderr
        seen[mend] = sum(float(n) for n in re.findall(r"train_inner .* bsz=([\d.]+),", done.stdout + done.stderr))
    assert seen["no_mend"] == 60 and seen["count_accumulated_batches"] == 60 - 9


@pytest.mark.parametrize(
    "mend",
    [
        source.count_accumulated_batches,
        source.hashable_dataclasses,
        source.pass_lists_to_sacrebleu,
        source.pass_config_to_scorer,
        source.let_bf16_run_without_tpu,
        source.let_torch_ddp_run_on_cpus,
    ],
)
def test_a_mend_of_the_source_steps_aside_where_the_text_is_another(mend):
    assert mend("@dataclass\nclass A:\n    b: B = field(default_factory=B)\n") is None


def test_the_source_mends_keep_line_numbers():
    for module, table in mends.SOURCE_MENDS.items():
        text = source_of(module)
        for mend in table:
            mended = mend(text)
            assert mended != text and mended.count("\n") == text.count("\n"), (module, mend)


def source_of(module):
    top = importlib.util.find_spec(module.partition(".")[0])
    root = Path(top.origin).parent.parent
    return (root / Path(*module.split("."))).with_suffix(".py").read_text()


class LayerOfALaterFairseq:
    """Passes the mask type."""

    def forward(self, torch):
        return torch._transformer_encoder_layer_fwd(mask_type=1)


class ManagerOfALaterFairseq:
    """Copies aside."""

    @staticmethod
    def copy(source, destination):
        Path(source).rename(destination)


class WrapperOfALaterTorch:
    """Has no list of what it leaves alone."""


def broadcast_of_a_later_fairseq(torch, stream):
    return torch.load(stream, weights_only=False)


def save_of_a_later_fairseq(os, stream):
    os.fsync(stream)


@pytest.mark.parametrize(
    ("mend", "name", "value"),
    [
        (attention.disable_encoder_fast_path, "TransformerEncoderLayerBase", LayerOfALaterFairseq),
        (attention.keep_unused_copies_zero, "TransformerEncoderLayerBase", LayerOfALaterFairseq),
        (whole_files.copy_whole_files, "PathManager", ManagerOfALaterFairseq),
        (whole_files.save_whole_files, "torch_persistent_save", save_of_a_later_fairseq),
        (workers.allow_broadcast_globals, "_broadcast_object_slow", broadcast_of_a_later_fairseq),
        (workers.leave_unused_copies_out_of_ddp, "DistributedDataParallel", WrapperOfALaterTorch),
    ],
)
def test_a_mend_steps_aside_where_a_later_fairseq_needs_none(mend, name, value):
    module = types.SimpleNamespace(**{name: value})
    before = dict(vars(value)) if isinstance(value, type) else value
    assert mend(module) is False
    assert getattr(module, name) is value
    assert not isinstance(value, type) or dict(vars(value)) == before


def test_allowing_the_broadcast_takes_nothing_away_that_was_allowed_before():
    import torch
    from omegaconf import DictConfig

    module = types.SimpleNamespace(_TensorPlaceholder=object, _broadcast_object_slow=_broadcast_of_the_test)
    workers.allow_broadcast_globals(module)
    with torch.serialization.safe_globals([DictConfig]):
        seen = module._broadcast_object_slow(torch)
        assert DictConfig in torch.serialization.get_safe_globals()
        assert dict in seen and dict not in torch.serialization.get_safe_globals()


def _broadcast_of_the_test(torch):
    return torch.serialization.get_safe_globals()
