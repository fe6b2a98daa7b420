"""Time and memory of the modules beside torch's cross entropy with label_smoothing; the numbers of docs/python.md.

  python examples/benchmark_losses.py                # projection and loss of hidden states (N, D)
  python examples/benchmark_losses.py --model gpt2   # a whole Hugging Face model with random weights

Each is one forward and backward pass. All candidates run in turn, repetition by repetition; quote the ratios of the
medians. On a machine that others use, --clock cpu --threads 1 counts the time that this process gets. Memory is the
high-water mark of a fresh process above what it used before one pass, gradients included; for a model, the pass without
a loss (the sum of its hidden states) shows what of it is the model's own.
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from labo_fairseq.huggingface import TrainerLoss
from labo_fairseq.losses import LabelSmoothing, Labo

BASELINE = "torch cross_entropy(label_smoothing=0.1)"


def main():
    """Print the table as TSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", choices=["none", "gpt2", "marian"], default="none")
    parser.add_argument("--sentences", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    now = time.perf_counter if args.clock == "wall" else time.process_time
    table, clear = candidates(args)
    times = {name: [] for name in table}
    for repetition in range(args.repetitions + 1):
        for name, function in table.items():
            clear()
            start = now()
            function()
            if repetition:  # the first one warms up
                times[name].append(now() - start)
    clear()
    base = statistics.median(times[BASELINE])
    memory = {name: peak_memory(args, name) for name in table}
    print("candidate\tratio\tms\tmemory ratio\tMB", flush=True)
    for name in table:
        median, share = statistics.median(times[name]), memory[name] / memory[BASELINE]
        print(f"{name}\t{median / base:.3f}\t{median * 1e3:.0f}\t{share:.3f}\t{memory[name]:.0f}")


def candidates(args):
    """({name: function of one forward and backward pass}, function that drops the gradients)."""
    torch.manual_seed(0)
    return of_hidden_states(args) if args.model == "none" else of_a_model(args)


def of_hidden_states(args):
    """Projection and loss alone."""
    rows = args.sentences * args.length
    hidden = torch.randn(rows, args.width, requires_grad=True)
    weight = (torch.randn(args.vocabulary, args.width) / args.width**0.5).requires_grad_()
    target = torch.randint(args.vocabulary, (rows,))
    labo, smoothing = Labo(), LabelSmoothing(0.1)

    def clear():
        hidden.grad = weight.grad = None

    table = {
        BASELINE: lambda: F.cross_entropy(F.linear(hidden, weight), target, label_smoothing=0.1).backward(),
        "LabelSmoothing, dense": lambda: smoothing(F.linear(hidden, weight), target).backward(),
        "Labo, dense": lambda: labo(F.linear(hidden, weight), target).backward(),
        "LabelSmoothing, fused": lambda: smoothing(hidden, target, weight=weight).backward(),
        "Labo, fused": lambda: labo(hidden, target, weight=weight).backward(),
    }
    return table, clear


def of_a_model(args):
    """The forward and backward pass of a whole model."""
    model = (gpt2 if args.model == "gpt2" else marian)(args).train()
    tokens = torch.randint(3, args.vocabulary, (args.sentences, args.length))
    inputs = {"input_ids": tokens}
    if args.model == "marian":
        inputs["decoder_input_ids"] = tokens
    causal = args.model == "gpt2"

    def torchs():
        logits = model(**inputs).logits
        # as ForCausalLMLoss does it: the labels move, not the logits
        target = F.pad(tokens[:, 1:], (0, 1), value=-100) if causal else tokens
        F.cross_entropy(logits.view(-1, args.vocabulary), target.reshape(-1), label_smoothing=0.1).backward()

    def ours(projection):
        loss = TrainerLoss(Labo(), model, projection)
        loss(model(**inputs), tokens).backward()
        loss.close()

    table = {
        BASELINE: torchs,
        "TrainerLoss(Labo), dense": lambda: ours("dense"),
        "TrainerLoss(Labo), fused": lambda: ours("fused"),
        "model without a loss": lambda: model.base_model(**inputs)[0].sum().backward(),
    }
    return table, model.zero_grad


def gpt2(args):
    """A language model with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=args.vocabulary,
            n_embd=args.width,
            n_layer=args.layers,
            n_head=8,
            n_positions=args.length,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def marian(args):
    """A translation model with random weights."""
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(
        MarianConfig(
            vocab_size=args.vocabulary,
            d_model=args.width,
            encoder_layers=args.layers,
            decoder_layers=args.layers,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=4 * args.width,
            decoder_ffn_dim=4 * args.width,
            max_position_embeddings=args.length,
            pad_token_id=0,
            eos_token_id=1,
            forced_eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


def peak_memory(args, name):
    """MB above what was in use before one pass, in a process of its own (Linux)."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=measure_memory, args=(args, name, queue))
    process.start()
    process.join()
    return queue.get()


def measure_memory(args, name, queue):
    """See peak_memory."""
    torch.set_num_threads(args.threads)
    function = candidates(args)[0][name]
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark of resident memory
    before = resident("VmRSS")
    function()
    queue.put((resident("VmHWM") - before) / 1e3)


def resident(field):
    """kB of resident memory: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    main()
