"""Write a German-English corpus of any size, for measuring speed and memory only: its sentences mean nothing.

    python examples/large_corpus.py --raw-dir multi30k/data/task1/raw --pairs 1000000 --out big/train
    labo prepare files --source de --target en --train big/train --valid multi30k/val …

Every pair joins a sentence of Multi30k (--raw-dir holds train.de and train.en, plain or .gz) with one of the project's
synthetic corpus, about 25 words as in WMT's, and adds what makes real text hard: names and compounds that keep coming
new, numbers, dates, prices, abbreviations, quotation marks, brackets. Lines do not repeat, so that a cache of lines is
of no use, and the number of different words grows with the size as it does in text (about N^0.7). The same seed gives
the same bytes.
"""

import argparse
import itertools
import random
import sys
from pathlib import Path

from labo_fairseq.data_prep.synthetic.sentences import Sentences
from labo_fairseq.data_prep.text import read_pairs

from labo_fairseq.files import write_aside

_SYLLABLES = [first + vowel for first in "b d f g h k l m n r s t w sch st br gr".split() for vowel in "aeiou"]
_ENDINGS = ("n", "r", "s", "l", "mann", "berg", "burg", "ström", "ović", "stein")
_STEMS = """Arbeit Bahn Bau Bund Dorf Energie Fach Finanz Gesundheit Handel Haus Jahr Kinder Klima Kraft Kultur Land
Luft Markt Nacht Recht Schul Sicherheit Stadt Steuer Umwelt Verkehr Wasser Wirtschaft Zeit""".split()
_SIZES = 20_000, 1.18  # synthetic sentences in the pool; exponent of Zipf's law among the names


def name(number):
    """A made-up family name for every number, different for different numbers below ten million or so."""
    parts = []
    number, ending = divmod(number, len(_ENDINGS))
    while number or not parts:
        number, syllable = divmod(number, len(_SYLLABLES))
        parts.append(_SYLLABLES[syllable])
    return ("".join(parts) + _ENDINGS[ending]).capitalize()


def rare(draw):
    """A rank by Zipf's law: without an end, so that new ones never stop coming."""
    return min(int(draw.random() ** (-1 / (_SIZES[1] - 1))), 50_000_000)


def compound(draw):
    """A German compound of two to four stems."""
    stems = [draw.choice(_STEMS) for _ in range(draw.choice((2, 2, 3, 3, 4)))]
    return "s".join([stems[0], *map(str.lower, stems[1:])]) + draw.choice(("", "e", "en", "ung", "s", "politik"))


def additions(draw):
    """What is put between the two sentences of a pair: (German, English)."""
    who, word, number = name(rare(draw)), compound(draw), draw.randrange(1, 100_000)
    kind = draw.randrange(6)
    if kind == 0:
        year = 1950 + number % 75
        return f" – so Dr. {who} am {number % 28 + 1}.{number % 12 + 1}.{year}: ", f" - said Dr. {who} in {year}: "
    if kind == 1:
        return f" („{word}“, {number / 100:.2f} €); ".replace(".", ","), f' ("{word}", €{number / 100:.2f}); '
    if kind == 2:
        return f" {who} & {name(rare(draw))} GmbH, Nr. {number}, ", f" {who}'s company, No. {number:,}, didn't "
    if kind == 3:
        return f" bzw. {number:,} {word}, z.B. ".replace(",", ".", 1), f" or {number:,} {word}s, e.g. "
    if kind == 4:
        return f" {who}-{word}? ", f" {who}-{word}? "
    return f" [{word}/{who}] ", f" [{word}/{who}] "


def pairs(raw_dir, seed):
    """Yield pairs of lines without an end."""
    draw = random.Random(seed)
    found = [next(path for path in sorted(raw_dir.glob(f"train.{code}*"))) for code in ("de", "en")]
    real = list(read_pairs(*found))
    synthetic = list(itertools.islice(iter(Sentences(seed)), _SIZES[0]))
    while True:
        first, second, middle = draw.choice(real), draw.choice(synthetic), additions(draw)
        yield tuple(one.strip() + between + other for one, between, other in zip(first, middle, second, strict=True))


def main():
    """Write --out.de and --out.en."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--raw-dir", required=True, type=Path, metavar="DIR")
    parser.add_argument("--pairs", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--out", required=True, type=Path, metavar="PREFIX")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(f"{args.out}.de") as german, write_aside(f"{args.out}.en") as english:
        for one, other in itertools.islice(pairs(args.raw_dir, args.seed), args.pairs):
            german.write(f"{one}\n")
            english.write(f"{other}\n")


if __name__ == "__main__":
    sys.exit(main())
