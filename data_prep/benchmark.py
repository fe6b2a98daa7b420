"""How fast `labo prepare` tokenizes and segments, and how many lines differ from Moses' Perl scripts.

  python -m labo_fairseq.data_prep.benchmark --raw-dir multi30k/data/task1/raw --language de --workers 2
  python -m labo_fairseq.data_prep.benchmark --raw-dir multi30k/data/task1/raw --language de --moses mosesdecoder

Takes {train,val,test_2016_flickr}.LANGUAGE (.gz or plain) of Multi30k. The first table has lines per second: sacremoses
and subword-nmt used one line at a time in one process, as their own command lines do, against `labo prepare` with
--workers processes, their start included. The second table (--moses, a checkout of moses-smt/mosesdecoder) counts the
lines on which sacremoses as it comes, and the tokenizer of `labo prepare`, differ from the Perl scripts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE

from .moses import Moses
from .parallel import Pool, available
from .subword import Segmenter, learn
from .text import read_lines

_SPLITS = ("train", "val", "test_2016_flickr")


def main():
    """Print the tables as TSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--raw-dir", required=True, type=Path, metavar="DIR")
    parser.add_argument("--language", default="de", metavar="CODE")
    parser.add_argument("--workers", type=int, default=available(), metavar="N")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="use the text N times over for the speed")
    parser.add_argument("--moses", type=Path, metavar="DIR", help="count differences and measure no speed")
    args = parser.parse_args()
    paths = [next(args.raw_dir.glob(f"{split}.{args.language}*")) for split in _SPLITS]
    lines = [line for path in paths for line in read_lines(path)]
    rows = differences(args.moses, args.language, lines) if args.moses else speeds(args, lines)
    for row in rows:
        print(*row, sep="\t", flush=True)


def speeds(args, lines):
    """Yield rows: task, tool, processes, lines per second."""
    yield "task", "tool", "processes", "lines_per_second"
    many = lines * args.repeat
    alone = MosesTokenizer(args.language)
    yield _timed("tokenize", "sacremoses", 1, (alone.tokenize(line, return_str=True) for line in many), len(many))
    tokenize = Moses(args.language)
    for workers in sorted({1, args.workers}):
        with Pool(workers) as pool:
            yield _timed("tokenize", "labo prepare", workers, pool.map(tokenize, iter(many)), len(many))
    tokens = list(map(tokenize.build(), lines))
    with tempfile.TemporaryDirectory() as folder:
        codes = Path(folder) / "codes"
        learn("bpe", iter(tokens), 10_000, codes)
        tokens *= args.repeat
        with open(codes, encoding="utf-8") as stream:
            bpe = BPE(stream)
        yield _timed("segment", "subword-nmt", 1, map(bpe.process_line, tokens), len(tokens))
        for workers in sorted({1, args.workers}):
            with Pool(workers) as pool:
                segmented = pool.map(Segmenter("bpe", str(codes)), iter(tokens))
                yield _timed("segment", "labo prepare", workers, segmented, len(tokens))


def _timed(task, tool, processes, results, count):
    start = time.perf_counter()
    for _ in results:
        pass
    return task, tool, processes, round(count / (time.perf_counter() - start))


def differences(moses, language, lines):
    """Yield rows: recipe, lines, lines on which sacremoses differs from Perl, and on which `labo prepare` does."""
    yield "recipe", "language", "lines", "sacremoses", "labo prepare"
    alone = MosesTokenizer(language)
    plain = [alone.tokenize(line, return_str=True) for line in lines]
    dashes = [alone.tokenize(line, aggressive_dash_splits=True, return_str=True) for line in lines]
    recipes = (
        ("tokenizer.perl", [["tokenizer", "-q", "-l"]], Moses(language), plain),
        ("tokenizer.perl -a", [["tokenizer", "-q", "-a", "-l"]], Moses(language, split_dashes=True), dashes),
        (
            "normalize-punctuation.perl | tokenizer.perl",
            [["normalize-punctuation", "-l"], ["tokenizer", "-q", "-l"]],
            Moses(language, normalize=True),
            None,
        ),
    )
    for name, scripts, ours, theirs in recipes:
        expected = _perl(moses, language, scripts, lines)
        mine = map(ours.build(), lines)
        alien = _differing(expected, theirs) if theirs else ""
        yield name, language, len(lines), alien, _differing(expected, mine)


def _perl(moses, language, scripts, lines):
    data = "".join(f"{line}\n" for line in lines).encode()
    for name, *flags in scripts:
        command = ["perl", str(moses / "scripts/tokenizer" / f"{name}.perl"), *flags, language]
        data = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
    return data.decode().split("\n")[:-1]


def _differing(expected, found):
    return sum(one != other for one, other in zip(expected, found, strict=True))


if __name__ == "__main__":
    sys.exit(main())
