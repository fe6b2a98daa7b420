"""Two tables of docs/performance.md: products in bfloat16 on this CPU, and updates of fairseq's Adam and of torch_adam.

  python examples/benchmark_kernels.py products
  python examples/benchmark_kernels.py adam --repetitions 25

One thread, CPU time, repetitions in turn; prints TSV. Needs the whole installation (fairseq).
"""

import argparse
import statistics
import time

import torch

# those of a Transformer with D=256 and V=8000, and 3,500 target tokens in a batch
PRODUCTS = {
    "logits": (3500, 256, 8000),
    "gradient of the hidden states": (3500, 8000, 256),
    "gradient of the weight": (8000, 3500, 256),
    "attention's projections": (900, 256, 256),
    "feed-forward, first": (900, 256, 1024),
    "feed-forward, second": (900, 1024, 256),
}
# parameters of 3+3 layers
PARAMETERS = [(8000, 256)] + [(256, 256)] * 36 + [(256,)] * 72 + [(1024, 256), (256, 1024)] * 6


def main():
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("table", choices=("products", "adam"))
    parser.add_argument("--repetitions", type=int, default=9, help="timed runs of each candidate (default: 9)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for row in (products if args.table == "products" else adam)(args.repetitions):
        print("\t".join(row))


def products(repetitions):
    """Rows: relative errors of the norm from float64, and times against float32."""
    setting = torch.backends.mkldnn.matmul
    yield ["product", "float32", "under the setting", "bfloat16 operands", "time: setting", "time: bfloat16 operands"]
    for name, (m, k, n) in PRODUCTS.items():
        a, b = torch.randn(m, k), torch.randn(k, n)
        exact = a.double() @ b.double()
        half = a.bfloat16(), b.bfloat16()
        candidates = {"ieee": (a, b), "bf16": (a, b), "operands": half}
        times, errors = {key: [] for key in candidates}, {}
        for _ in range(repetitions):
            for key, (left, right) in candidates.items():
                setting.fp32_precision = "bf16" if key == "bf16" else "ieee"
                start = time.process_time()
                product = left @ right
                times[key].append(time.process_time() - start)
                errors[key] = float((product.double() - exact).norm() / exact.norm())
        base, *others = (statistics.median(values) for values in times.values())
        yield [name, *(f"{error:.1e}" for error in errors.values()), *(f"{value / base:.2f}" for value in others)]


def adam(repetitions):
    """Rows: milliseconds of an update, and its ratio to fairseq's."""
    from fairseq.optim.adam import Adam

    import labo_fairseq

    labo_fairseq.register()
    from labo_fairseq.optimizers.torch_adam import ManyTensorsAdam

    settings = {"lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 1e-4}
    makers = {
        "adam": lambda params: Adam(params, **settings),
        "torch_adam": lambda params: ManyTensorsAdam(params, True, "auto", **settings),
        "torch_adam --adam-kernel foreach": lambda params: ManyTensorsAdam(params, True, "foreach", **settings),
    }
    optimizers = {}
    for name, make in makers.items():
        params = [torch.nn.Parameter(torch.randn(shape)) for shape in PARAMETERS]
        for p in params:
            p.grad = torch.randn_like(p)
        optimizers[name] = make(params)
    times = {name: [] for name in optimizers}
    for _ in range(repetitions):
        for name, optimizer in optimizers.items():
            start = time.process_time()
            optimizer.step()
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    yield ["optimizer", "ms", "ratio"]
    for name, value in medians.items():
        yield [name, f"{1000 * value:.1f}", f"{value / medians['adam']:.2f}"]


if __name__ == "__main__":
    main()
