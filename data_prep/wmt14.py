"""WMT'14 English-German, in both directions, by the recipe of fairseq's prepare-wmt14en2de.sh.

Europarl v7, Common Crawl and News Commentary: v12, as the script takes by default, or v9 of WMT'14 with --icml17, as
the script calls it and as the counts of Lu et al. 2023 show they did. Punctuation is normalized in training text only.
Every 100th pair is valid (`--valid-set newstest2013` takes that set instead, which the script names and never uses);
BPE of 40,000 merges is learnt before train and valid are cleaned by their subwords; test is newstest2014, 3,003 pairs.
"""

import itertools
from dataclasses import replace

from . import markup
from .corpus import Corpus as Base
from .recipe import Recipe
from .text import read_lines

LANGUAGES = ("de", "en")
PAIRS = ("de-en", "en-de")
OPTIONS = ("raw_dir", "icml17", "valid_set")
SYNTHETIC = False
VALID_SETS = ("split", "newstest2013")
RECIPE = Recipe(
    normalize="train", printable=True, split_dashes=True, max_length=250, max_ratio=1.5, clean_after="bpe",
    valid_every=100, valid_first=True, subword_size=40_000, dictionary="separate",
)  # fmt: skip
_ICML17 = {"train": 3_900_502, "valid": 39_414, "test": 3_003}


def adapt(recipe, options):
    """The recipe with --valid-set newstest2013: all of the training data is for training."""
    return replace(recipe, valid_every=None) if options.valid_set == "newstest2013" else recipe


class Corpus(Base):
    """One direction."""

    NAME = "wmt14"
    README = """WMT'14 (Bojar et al. 2014): Europarl v7, Common Crawl, News Commentary; newstest2014 for testing.
For research. raw/ is the text as released, tok/ is Moses-tokenized and cased. train is cleaned, test is whole.
"""

    def __init__(self, pairs, options, out):
        news = "v9" if options.icml17 else "v12"
        self._train = {
            "training/europarl-v7.de-en": "training-parallel-europarl-v7.tgz",
            "commoncrawl.de-en": "training-parallel-commoncrawl.tgz",
            f"training/news-commentary-{news}.de-en": f"training-parallel-nc-{news}.tgz",
        }
        super().__init__(pairs, options, out)

    def needed(self):
        """The three training corpora and the evaluation sets, in both languages."""
        needed = {f"{name}.{code}": archive for name, archive in self._train.items() for code in LANGUAGES}
        needed |= {self._test(code): "test-full.tgz" for code in LANGUAGES}
        if self.options.valid_set == "newstest2013":
            needed |= {f"dev/newstest2013.{code}": "dev.tgz" for code in LANGUAGES}
        return needed

    def _test(self, language):
        side = "src" if language == self.pairs[0][0] else "ref"
        return f"test-full/newstest2014-deen-{side}.{language}.sgm"

    def parameters(self):
        """Which News Commentary, and what is valid."""
        return {"icml17": bool(self.options.icml17), "valid_set": self.options.valid_set or "split"}

    def published(self, pair):
        """The paper's counts are those of --icml17."""
        return _ICML17 if self.options.icml17 and not self.options.valid_set else {"test": _ICML17["test"]}

    def lines(self, pair, part):
        """The training corpora one after the other, newstest2013 or newstest2014."""
        if part == "test":
            return self.aligned(pair, self._test, markup.segments)
        names = ["dev/newstest2013"] if part == "valid" else list(self._train)
        return itertools.chain.from_iterable(
            self.aligned(pair, lambda code, name=name: f"{name}.{code}", _without_returns) for name in names
        )


def _without_returns(path):
    # as normalize-punctuation.perl, whose first substitution this is
    return read_lines(path, returns=b"")
