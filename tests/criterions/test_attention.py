"""What is taken away from a step changes nothing but its time."""

import copy

import pytest
import torch
from _models import build, make_model, run
from fairseq.modules import MultiheadAttention

from labo_fairseq.compat.attention import avoid_flash_attention
from labo_fairseq.fairseq_models.projection import hidden_states


@pytest.fixture
def two_layers(task):
    return make_model(task, **{"attention_dropout": 0.0})


def test_a_bfloat16_model_on_a_cpu_computes_the_same_attention(two_layers, batch):
    """Both ways stay within bfloat16's rounding (2^-8 of values around 1) of float32."""
    exact = two_layers.eval()(**batch["net_input"])[0]
    half = copy.deepcopy(two_layers).bfloat16()
    flash = half(**batch["net_input"])[0].float()
    assert avoid_flash_attention(half) == 3  # self-attention twice, the attention to the source
    plain = half(**batch["net_input"])[0].float()
    error, before = (plain - exact).norm() / exact.norm(), (flash - exact).norm() / exact.norm()
    assert error < 2**-6 and error < 2 * before


def test_its_gradients_are_as_near_to_float32s(task, two_layers, batch):
    exact = run(build(task, "label_smoothing"), two_layers, batch)[3]
    half = copy.deepcopy(two_layers).bfloat16()
    avoid_flash_attention(half)
    grads = run(build(task, "label_smoothing"), half, batch)[3]
    assert all(m.skip_embed_dim_check for m in half.modules() if type(m) is MultiheadAttention)
    for name, grad in grads.items():
        if not name.endswith("k_proj.bias"):  # 0 but for rounding: softmax does not see it
            assert (grad.float() - exact[name]).norm() <= 0.05 * exact[name].norm() + 1e-3, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_other_models_are_left_alone(two_layers, dtype):
    model = copy.deepcopy(two_layers).to(dtype)
    assert avoid_flash_attention(model) == 0
    assert not any(m.skip_embed_dim_check for m in model.modules() if type(m) is MultiheadAttention)


@pytest.mark.parametrize("flags", [["--bf16"], pytest.param([], marks=pytest.mark.slow)])
def test_every_training_in_bfloat16_on_a_cpu_avoids_it(run_cli, tiny_bin, tmp_path, flags):
    """F47: fairseq's own criterion too; a float32 model keeps torch's kernel."""
    done = run_cli(
        *("fairseq-train", tiny_bin, "--arch", "transformer_tiny", "--optimizer", "adam", "--max-tokens", 300, "--cpu"),
        *("--max-update", 1, "--save-dir", tmp_path, "--no-save", "--disable-validation", *flags),
    )
    assert done.returncode == 0, done.stderr
    assert ("without torch's flash kernel" in done.stdout + done.stderr) is bool(flags)


def test_a_model_without_parameters_is_left_alone():
    assert avoid_flash_attention(torch.nn.Identity()) == 0


def test_no_weights_of_attention_are_made_that_nobody_reads(model, batch, monkeypatch):
    asked = []
    forward = MultiheadAttention.forward

    def watch(self, *args, **kwargs):
        asked.append(kwargs["need_weights"])
        return forward(self, *args, **kwargs)

    model.train()
    expected = model(**batch["net_input"], features_only=True)[0]
    monkeypatch.setattr(MultiheadAttention, "forward", watch)
    got = hidden_states(model, batch["net_input"])
    assert len(asked) == 3 and not any(asked)
    assert torch.equal(got, expected)
