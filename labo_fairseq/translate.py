"""Translate subwords with an exported model (CTranslate2), in the output format of fairseq-generate.

INPUT holds one sentence per line, as subwords, the way they were given to fairseq-preprocess ("-": standard input).
S-, T-, H-, D- and P- lines are as fairseq's, scores in base 2, sentences in the order of the input. Needs neither
fairseq nor torch.

example:
  labo export --ctranslate2 checkpoint_best.pt --data data-bin --calibration calibration.json --out engine
  labo translate --model engine --reference bpe/test.de --remove-bpe --detokenize de bpe/test.en > generate-test.txt
  labo score --reference raw/test.de --system engine=generate-test.txt
"""

import math
import sys
import time

from .analysis.text import read_text, split_lines
from .errors import UserError

_BLOCK = 2000  # lines that are read, sorted by length, translated and printed together


def add_arguments(parser):
    """Declare the arguments of `labo translate`."""
    parser.add_argument("input", metavar="INPUT", help="text to translate, in subwords")
    parser.add_argument("--model", required=True, metavar="DIR", help="folder that `labo export` wrote")
    parser.add_argument("--reference", metavar="FILE", help="translations of INPUT in subwords, for T- lines")
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="beam size")
    parser.add_argument("--nbest", type=int, default=1, metavar="N", help="hypotheses per sentence")
    parser.add_argument("--lenpen", type=float, default=1.0, help="length penalty; below 1 favours shorter ones")
    parser.add_argument(
        "--max-len-a", type=float, default=0.0, metavar="A", help="at most A·(source tokens) + B tokens"
    )
    parser.add_argument("--max-len-b", type=int, default=200, metavar="B", help="see --max-len-a")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="sentences in a batch")
    parser.add_argument("--remove-bpe", action="store_true", help="join subword-nmt's subwords in S-, T-, H-, D- lines")
    parser.add_argument("--detokenize", metavar="LANG", help="detokenize S-, T- and D- lines by sacremoses")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="batches at a time; 0: one per core")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to run")


def run(args):
    """Translate; returns 0. Raises UserError on bad input."""
    from tqdm import tqdm

    from .decoding.engine import Engine, Search

    if args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size}: must be at least 1")
    search = Search(args.beam, args.nbest, args.lenpen, args.max_len_a, args.max_len_b)
    pairs = _read(args.input, args.reference)
    show = _shown(args)
    engine = Engine(args.model, args.threads, args.device)
    start, tokens = time.perf_counter(), 0
    with tqdm(total=len(pairs), unit=" sentences", disable=None, file=sys.stderr) as progress:
        for first in range(0, len(pairs), _BLOCK):
            block = pairs[first : first + _BLOCK]
            found = {}
            for index, hypotheses in engine.translate([source.split() for source, _ in block], search, args.batch_size):
                found[index] = hypotheses
                tokens += len(hypotheses[0].log_probs)
                progress.update()
            for index, (source, target) in enumerate(block):
                _print(first + index, source, target, found[index], search.lenpen, show)
    seconds = time.perf_counter() - start
    speed = f"{len(pairs) / seconds:.2f} sentences/s, {tokens / seconds:.2f} tokens/s"
    print(f"Translated {len(pairs)} sentences ({tokens} tokens) in {seconds:.1f}s ({speed})", file=sys.stderr)
    return 0


def _read(source_file, reference_file):
    """(source, reference or None) of each line. Raises UserError where there are none, or counts differ."""
    sources = split_lines(sys.stdin.buffer.read().decode() if source_file == "-" else read_text(source_file))
    if not sources:
        raise UserError(f"{source_file}: no sentences: give one per line")
    if reference_file is None:
        return [(source, None) for source in sources]
    references = split_lines(read_text(reference_file))
    if len(references) != len(sources):
        raise UserError(
            f"{reference_file}: {len(references)} lines, {source_file} has {len(sources)}: one reference per sentence"
        )
    return list(zip(sources, references, strict=True))


def _shown(args):
    """Two functions of a line of subwords: what S-, T- and D- lines show of it, and what H- lines do."""

    def words(line):
        return f"{line} ".replace("@@ ", "").rstrip() if args.remove_bpe else line

    if args.detokenize is None:
        return words, words
    from sacremoses import MosesDetokenizer

    detokenizer = MosesDetokenizer(args.detokenize)
    return lambda line: detokenizer.detokenize(words(line).split()), words


def _print(index, source, target, hypotheses, lenpen, show):
    text, words = show
    print(f"S-{index}\t{text(source)}")
    if target is not None:
        print(f"T-{index}\t{text(target)}")
    for hypothesis in hypotheses:
        line, score = " ".join(hypothesis.tokens), hypothesis.score(lenpen) / math.log(2)
        print(f"H-{index}\t{score}\t{words(line)}")
        print(f"D-{index}\t{score}\t{text(line)}")
        print(f"P-{index}\t{' '.join(f'{p:.4f}' for p in hypothesis.log_probs / math.log(2))}")
