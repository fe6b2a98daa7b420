"""torch_adam against fairseq's adam and against Adam's equations: the same numbers, the same state."""

import copy
import re

import pytest
import torch
from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY, OPTIMIZER_REGISTRY, build_optimizer
from omegaconf import OmegaConf

import labo_fairseq
from labo_fairseq.errors import UserError
from labo_fairseq.optimizers import torch_adam

labo_fairseq.register()

UPDATES = 100
KERNELS = ["fused", "foreach", "auto"]


def make(name, parameters, lr=1e-3, **flags):
    cfg = OmegaConf.structured(OPTIMIZER_DATACLASS_REGISTRY[name]())
    cfg = OmegaConf.merge(cfg, {"lr": [lr], **flags, **({"tpu": False} if "tpu" in cfg else {})})
    cfg._name = name
    return build_optimizer(cfg, parameters)


def parameters(dtype=torch.float32):
    """Of several shapes and sizes, one of them a scalar."""
    generator = torch.Generator().manual_seed(0)
    shapes = {(20, 30): 0.1, (300,): 1.0, (7, 1, 2): 1e-3, (): 3.0}
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) * size for shape, size in shapes.items()]
    return [torch.nn.Parameter(value.to(dtype)) for value in values]


def descend(optimizer, params, first=0, last=UPDATES, unused=()):
    """Updates with gradients of 1 down to 1e-6, a learning rate that changes; parameters `unused` before update 10."""
    for update in range(first, last):
        generator = torch.Generator().manual_seed(update)
        for i, p in enumerate(params):
            gradient = torch.randn(p.shape, generator=generator, dtype=torch.float64) * 10.0 ** -(update % 7)
            p.grad = None if i in unused and update < 10 else gradient.to(p.dtype)
        optimizer.set_lr(1e-3 * min(1, (update + 1) / 20))
        optimizer.step()
    return params


def assert_near(got, expected, tolerance=1e-6):
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b.double()).abs().max() <= tolerance * b.double().abs().max()


def test_it_is_registered():
    assert OPTIMIZER_REGISTRY["torch_adam"] is torch_adam.TorchAdam


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.3])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_the_numbers_of_fairseqs_adam(kernel, decay, eps):
    """ε = 1e-3 tells where it is added: torch's own Adam, which adds it elsewhere, then differs by percents."""
    flags = {"adam_betas": "(0.9, 0.98)", "weight_decay": decay, "adam_eps": eps}
    ours, theirs = parameters(), parameters()
    descend(make("torch_adam", ours, adam_kernel=kernel, **flags), ours)
    descend(make("adam", theirs, **flags), theirs)
    assert_near(ours, theirs)


def test_a_parameter_without_gradients_at_first():
    ours, theirs = parameters(), parameters()
    descend(make("torch_adam", ours), ours, unused=(1, 3))
    descend(make("adam", theirs), theirs, unused=(1, 3))
    assert_near(ours, theirs)


@pytest.mark.parametrize("kernel", KERNELS)
def test_l2_decay_enters_the_moments(kernel):
    """Kingma and Ba 2015, Algorithm 1, on the gradient of f + λ/2·w²."""
    params, decay = parameters(torch.float64), 0.3
    (w,) = params[:1]
    weight, m, v = w.detach().clone(), 0.0, 0.0
    optimizer = make("torch_adam", [w], weight_decay=decay, weight_decay_form="l2", adam_kernel=kernel)
    for update in range(1, 6):
        gradient = torch.full_like(weight, 0.1 * update)
        w.grad = gradient.clone()
        optimizer.step()
        gradient = gradient + decay * weight
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight = weight - 1e-3 * (m / (1 - 0.9**update)) / ((v / (1 - 0.999**update)).sqrt() + 1e-8)
    torch.testing.assert_close(w.detach(), weight, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("names", [("adam", "torch_adam"), ("torch_adam", "adam"), ("torch_adam", "torch_adam")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_state_goes_on_under_the_other(names, dtype):
    """Sixty updates under one, forty under the other, are a hundred under fairseq's."""
    expected, params = parameters(dtype), parameters(dtype)
    descend(make("adam", expected, weight_decay=0.1), expected)
    flags = {"weight_decay": 0.1, "adam_betas": "(0.9, 0.999)"}
    first = make(names[0], params, **flags)
    descend(first, params, last=60)
    saved = copy.deepcopy(first.state_dict())
    second = make(names[1], params, **flags)
    second.load_state_dict(saved, second.optimizer_config)
    assert second.state_dict()["param_groups"] == saved["param_groups"]
    descend(second, params, first=60)
    # torch casts the moments that it loads to the parameters' type
    assert_near(params, expected, 1e-6 if dtype == torch.float32 else 2**-7)


def test_a_checkpoint_holds_what_fairseqs_does():
    ours, theirs = parameters(), parameters()
    states = []
    for name, params in (("torch_adam", ours), ("adam", theirs)):
        optimizer = make(name, params, weight_decay=0.1, adam_betas="(0.9, 0.98)")
        descend(optimizer, params, last=3)
        states.append(optimizer.state_dict())
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for got, expected in zip(states[0]["state"].values(), states[1]["state"].values(), strict=True):
        assert got.keys() == expected.keys() and got["step"] == expected["step"] == 3
        assert_near([got["exp_avg"], got["exp_avg_sq"]], [expected["exp_avg"], expected["exp_avg_sq"]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_are_updated_in_float32(dtype):
    """As --memory-efficient-bf16 needs it: the moments are float32, and the numbers are fairseq's."""
    ours, theirs = parameters(dtype), parameters(dtype)
    optimizer = make("torch_adam", ours, weight_decay=0.1)
    assert optimizer.supports_memory_efficient_fp16 and optimizer.supports_flat_params
    descend(optimizer, ours)
    descend(make("adam", theirs, weight_decay=0.1), theirs)
    assert {state["exp_avg"].dtype for state in optimizer.optimizer.state.values()} == {torch.float32}
    assert_near(ours, theirs, torch.finfo(dtype).eps)


def test_without_a_fused_kernel_the_other_one_runs(monkeypatch):
    def no_kernel(*args, fused, **kwargs):
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of supported devices")
        return kernel(*args, fused=fused, **kwargs)

    kernel = torch_adam.adam
    monkeypatch.setattr(torch_adam, "adam", no_kernel)
    torch_adam._fused_runs.cache_clear()
    ours, theirs = parameters(), parameters()
    descend(make("torch_adam", ours), ours)
    descend(make("adam", theirs), theirs)
    torch_adam._fused_runs.cache_clear()
    assert_near(ours, theirs)


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"adam_betas": "(0.9)"}, "--adam-betas: '(0.9)' is not two numbers"),
        ({"adam_betas": "(0.9, 1.0)"}, "--adam-betas: '(0.9, 1.0)' is not"),
        ({"adam_betas": "__import__('os').getcwd()"}, "--adam-betas: "),
        ({"adam_betas": "(0.9, nan)"}, "--adam-betas: "),
        ({"adam_betas": "('a', 'b')"}, "--adam-betas: "),
        ({"adam_eps": 0.0}, "--adam-eps: 0.0 is out of range"),
        ({"weight_decay": -1.0}, "--weight-decay: -1.0 is out of range"),
        ({"weight_decay": float("inf")}, "--weight-decay: inf is out of range"),
    ],
)
def test_bad_flags_are_named(flags, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make("torch_adam", parameters(), **flags)


def test_sparse_gradients_are_refused():
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UserError, match="sparse"):
        make("torch_adam", list(embedding.parameters())).step()


# --- through fairseq-train ---

FLAGS = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--share-all-embeddings --lr 0.01 --weight-decay 0.01 --clip-norm 1 --max-tokens 100 --seed 1 --cpu "
    "--num-workers 0 --criterion label_smoothing --log-format json --log-interval 1 --no-epoch-checkpoints"
).split()


@pytest.fixture
def train(run_cli, tiny_bin):
    """Function: fairseq-train with an optimizer into a folder up to an update -> the model's parameters."""

    def run(optimizer, folder, updates, *flags):
        labo = ["--user-dir", labo_fairseq.__path__[0]]
        args = [tiny_bin, *FLAGS, *labo, "--save-dir", folder, "--max-update", updates, "--optimizer", optimizer]
        done = run_cli("fairseq-train", *args, *flags)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        checkpoint = torch.load(folder / "checkpoint_last.pt", weights_only=False)
        assert checkpoint["optimizer_history"][-1]["num_updates"] == updates
        return checkpoint

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        [],
        pytest.param(["--bf16", "--store-ema", "--ema-fp32"], marks=pytest.mark.slow),
        pytest.param(["--memory-efficient-bf16", "--bf16"], marks=pytest.mark.slow),
    ],
    ids=len,
)
def test_a_run_changes_the_optimizer_and_back(train, tmp_path, flags):
    train("adam", tmp_path / "mixed", 2, *flags)
    train("torch_adam", tmp_path / "mixed", 4, *flags)
    mixed = train("adam", tmp_path / "mixed", 6, *flags)
    plain = train("adam", tmp_path / "plain", 6, *flags)
    tolerance = 2**-6 if flags else 1e-5
    for name, value in plain["model"].items():
        # fairseq's encoder holds copies of weights that it never sets, and marks of a type that are not set either
        # the gradient of the keys' bias is 0 but for rounding (softmax does not see it), which Adam blows up to lr
        if not name.startswith("decoder.") or name.endswith(("_float_tensor", "k_proj.bias")):
            continue
        torch.testing.assert_close(mixed["model"][name], value, atol=tolerance, rtol=tolerance)
    assert ("ema" in mixed["extra_state"]) == ("--store-ema" in flags)
