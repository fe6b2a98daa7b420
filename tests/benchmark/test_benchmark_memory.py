"""labo benchmark memory: the computed bytes against hand-made sums, fairseq's optimizers and the measured peak."""

import json
from argparse import Namespace

import pytest
import torch
from fairseq import optim, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from labo_fairseq.benchmark import memory

SMOOTHING = "fairseq label_smoothed_cross_entropy"


def benchmark(run_cli, *arguments):
    return run_cli("python", "-m", "labo_fairseq.cli", "benchmark", "memory", *arguments, timeout=1200)


def test_table(run_cli):
    done = benchmark(run_cli, "--rows", 4096, "--sizes", "32000x512", "32000x1024", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    found = {(row["width"], row["what"]): row["computed_MB"] for row in result["rows"]}
    assert len(found) == 12 and {row["vocabulary"] for row in result["rows"]} == {32000}
    logits = 4096 * 32000 * 4 / 1e6
    assert found[512, SMOOTHING] == found[1024, SMOOTHING] == pytest.approx(3 * logits)
    assert found[512, "dense labo adaptive"] == pytest.approx(2 * logits)
    # gradients of weight and hidden states, a chunk of 2^23 logits at most and a block of 2^20
    gradients = (4096 + 32000) * 512 * 4 / 1e6
    assert 30 < found[512, "fused labo adaptive"] - gradients < (2**23 + 2**20) * 4 / 1e6
    assert found[512, "weight with Adam"] == pytest.approx(16 * 32000 * 512 / 1e6)


def test_a_gpu_takes_larger_chunks_and_half_precision():
    on_cpu, on_gpu = (memory.loss_bytes(4096, 32000, 512, "float32", device) for device in ("cpu", "cuda"))
    assert on_gpu[SMOOTHING] == on_cpu[SMOOTHING] and on_gpu[memory.FUSED] > on_cpu[memory.FUSED]
    half = memory.loss_bytes(4096, 32000, 512, "bfloat16", "cuda")
    # 2^24 logits, twice in float32 and once in half precision; gradients in float32
    chunk = 10 * (2**24 // 32000) * 32000
    assert half[memory.FUSED] == pytest.approx(4 * (4096 + 32000) * 512 + chunk, rel=0.02)
    assert half[SMOOTHING] == on_gpu[SMOOTHING], "its log-probabilities are float32 in any case"


def test_a_cpu_holds_a_chunk_in_bfloat16_where_it_multiplies_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    half = memory.loss_bytes(4096, 32000, 512, "bfloat16", "cpu")[memory.FUSED]
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    widened = memory.loss_bytes(4096, 32000, 512, "bfloat16", "cpu")[memory.FUSED]
    gradients, chunk = 4 * (4096 + 32000) * 512, 2 * 512 * 32000
    # two blocks of 16 rows in float32, the product of a chunk with the gradient of the weight
    assert half == gradients + chunk + 8 * 16 * 32000 + 2 * 32000 * 512
    assert widened > half  # a float32 copy of hidden states and weight


@pytest.mark.parametrize(
    "name, flags", list(zip(memory.ADAM, ([], ["--bf16"], ["--memory-efficient-bf16"]), strict=True))
)
def test_bytes_of_adam_are_those_of_fairseqs_optimizers(name, flags):
    count = 1000
    arguments = ["data", "--arch", "transformer", "--optimizer", "adam", "--lr", "0.1", "--cpu", *flags]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    weight = torch.nn.Parameter(torch.randn(count, dtype=torch.bfloat16 if flags else torch.float32))
    optimizer = {
        0: lambda: optim.build_optimizer(cfg.optimizer, [weight]),
        1: lambda: optim.FP16Optimizer.build_optimizer(cfg, [weight]),
        2: lambda: optim.MemoryEfficientFP16Optimizer.build_optimizer(cfg, [weight]),
    }[list(memory.ADAM).index(name)]()
    loss = weight.square().sum()
    optimizer.backward(loss)
    optimizer.step()
    inner = getattr(optimizer, "wrapped_optimizer", getattr(optimizer, "fp32_optimizer", optimizer))
    moments = [x for state in inner.optimizer.state.values() for x in state.values() if torch.is_tensor(x)]
    copies = getattr(optimizer, "fp32_params", [])  # one for each tensor: fairseq flattens them for --fp16 only
    alive = [weight, weight.grad, *moments, *copies, *(copy.grad for copy in copies)]
    assert sum(x.numel() * x.element_size() for x in alive) == memory.ADAM[name] * count


@pytest.mark.parametrize("text", ["32000", "0x512", "axb", "32000x512x2"])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="must read VxD"):
        memory.run(Namespace(sizes=[text], rows=1, measure=False))


def test_a_device_that_is_not_there_is_needed_only_to_measure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    args = Namespace(sizes=["32000x512"], rows=1, dtype="bfloat16", device="cuda", threads=0, measure=False)
    assert len(memory.run(args)[0]) == 6
    args.measure = True
    with pytest.raises(ValueError, match="--device cuda: torch sees no CUDA device"):
        memory.run(args)


@pytest.mark.slow
def test_computed_is_near_to_measured(run_cli):
    done = benchmark(run_cli, "--rows", 4096, "--sizes", "8000x256", "--measure", "--threads", 1, "--json")
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout)["rows"] if row["measured_MB"] is not None]
    assert len(rows) == 3
    for row in rows:
        # the rest is what the libraries pack, and what the allocator keeps
        assert -2 < row["measured_MB"] - row["computed_MB"] < 45, row
