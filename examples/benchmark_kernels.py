"""Tables of the docs: products in bfloat16 on this CPU, updates of fairseq's Adam and of torch_adam, and the single
operations of LABO's row pass and of the adaptive calibrator.

  python examples/benchmark_kernels.py products
  python examples/benchmark_kernels.py adam --repetitions 25
  python examples/benchmark_kernels.py row-pass --repetitions 40
  python examples/benchmark_kernels.py calibrator --repetitions 40

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
    tables = {"products": products, "adam": adam, "row-pass": row_pass, "calibrator": calibrator}
    parser.add_argument("table", choices=tuple(tables))
    parser.add_argument("--repetitions", type=int, default=9, help="timed runs of each candidate (default: 9)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for row in tables[args.table](args.repetitions):
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


def row_pass(repetitions):
    """Rows: least microseconds of each operation of LABO's adaptive row pass, on a block of 65 × 8,000 logits."""
    half, z, p, q = (torch.randn(65, 8000).to(kind) for kind in (torch.bfloat16, *[torch.float32] * 3))
    column, out = torch.rand(65, 1), torch.empty(65, 8000)
    operations = {
        "bfloat16 to float32": lambda: out.copy_(half),
        "largest entries (three times)": lambda: z.amax(1),
        "shift": lambda: torch.sub(z, column, out=out),
        "softmax (twice)": lambda: torch.softmax(z, 1, out=out),
        "sum of p z": lambda: torch.mul(p, z, out=out).sum(1),
        "logits by the temperature": lambda: torch.mul(z, 0.8, out=out),
        "p by its coefficient": lambda: torch.mul(p, column, out=out),
        "sum of the two terms": lambda: torch.addcmul(p, q, column, out=out),
        "float32 to bfloat16": lambda: half.copy_(z),
    }
    yield from _least("operation", operations, repetitions)


def calibrator(repetitions):
    """Rows: least microseconds of the adaptive calibrator and of its operations, on a step of 320 × 4,056 logits."""
    from labo_fairseq.functional import calibrators

    z, out, column = torch.randn(320, 4056) * 3, torch.empty(320, 4056), torch.rand(320, 1)
    adaptive = calibrators.Adaptive(torch.tensor([0.1, 0.2, -0.01, 0.02, 0.03]), 2, 0.1)
    step = torch.full((320,), 5), torch.full((320,), 12)
    operations = {
        "log-softmax": lambda: torch.log_softmax(z, -1),
        "adaptive calibrator": lambda: adaptive.log_probs(z, *step),
        "its softmax": lambda: torch.softmax(z, -1, out=out),
        "its product with the logits, summed": lambda: torch.mul(out, z, out=out).sum(-1),
        "its two largest logits": lambda: calibrators._two_largest(z),
        "its division by T": lambda: torch.div(z, column, out=out),
    }
    yield from _least("operation", operations, repetitions)


def _least(heading, operations, repetitions):
    times = {name: [] for name in operations}
    with torch.no_grad():
        for _ in range(repetitions):
            for name, run in operations.items():
                start = time.process_time()
                for _ in range(5):
                    run()
                times[name].append((time.process_time() - start) / 5)
    yield [heading, "least microseconds"]
    yield from ([name, f"{1e6 * min(values):.0f}"] for name, values in times.items())


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
