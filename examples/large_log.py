"""Write the output of fairseq-generate for any number of sentences, without a model, for measuring speed and memory.

    python examples/large_log.py --source bpe/train.de --target bpe/train.en --sentences 10000 --seed 1 --out a/gen.txt

The "translations" are the references with words that are left out, exchanged or taken from other sentences; scores and
positional scores are random. Beside the log, under its name with .ref and .source for .txt, stand the detokenized
references and the source subwords. The same seed gives the same bytes; another one is another system.
"""

import argparse
import contextlib
import itertools
import math
import random
import sys
from pathlib import Path

from sacremoses import MosesDetokenizer

from labo_fairseq.files import write_aside

_FAULTS = 0.25  # share of the words that are changed


def worsened(words, other, draw):
    """The words with some left out, exchanged with the next, or taken from another sentence."""
    kept = []
    for word in words:
        kind = draw.random() / _FAULTS
        if kind < 1 / 3:
            continue
        kept.append(draw.choice(other) if kind < 2 / 3 else word)
        if 2 / 3 <= kind < 1 and len(kept) > 1:
            kept[-2:] = kept[:-3:-1]
    return kept or words[:1]


def main():
    """Write the log and the two texts beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--source", required=True, type=Path, metavar="FILE")
    parser.add_argument("--target", required=True, type=Path, metavar="FILE")
    parser.add_argument("--sentences", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    args = parser.parse_args()
    draw, detokenizer = random.Random(args.seed), MosesDetokenizer(args.target.suffix[1:])

    def plain(subwords):
        return detokenizer.detokenize(f"{' '.join(subwords)} ".replace("@@ ", "").split())

    with open(args.source, encoding="utf-8") as source, open(args.target, encoding="utf-8") as target:
        lines = itertools.islice(zip(source, target, strict=True), args.sentences)
        pairs = [(one.strip(), other.strip()) for one, other in lines]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        names = [args.out, args.out.with_suffix(".ref"), args.out.with_suffix(".source")]
        streams = [stack.enter_context(write_aside(name)) for name in names]
        for number, (source, target) in enumerate(pairs):
            found = worsened(target.split(), draw.choice(pairs)[1].split(), draw)
            scores = [-2 * draw.random() ** 2 for _ in range(len(found) + 1)]
            mean = f"{math.fsum(scores) / len(scores):.4f}"
            log = [f"S-{number}\t{source}", f"T-{number}\t{target}", f"H-{number}\t{mean}\t{' '.join(found)}"]
            log += [f"D-{number}\t{mean}\t{plain(found)}", f"P-{number}\t{' '.join(f'{x:.4f}' for x in scores)}"]
            for stream, text in zip(streams, ("\n".join(log), plain(target.split()), source), strict=True):
                stream.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
