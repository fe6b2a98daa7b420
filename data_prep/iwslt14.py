"""IWSLT'14 TED talks: de-en and en-fr, in both directions, by the recipe of fairseq's prepare-iwslt14.sh.

fairseq's script is for German-English; the same steps are taken for French. test is dev2010, TEDX.dev2012 (which exists
for German only), tst2010, tst2011 and tst2012; every 23rd pair of the cleaned training data is valid.
"""

import itertools

from . import markup
from .corpus import Corpus as Base
from .recipe import Recipe

LANGUAGES = ("de", "en", "fr")
PAIRS = ("de-en", "en-de", "en-fr", "fr-en")
OPTIONS = ("raw_dir",)
SYNTHETIC = False
RECIPE = Recipe(lowercase="after", max_length=175, max_ratio=1.5, valid_every=23, dictionary="separate")
_DROPPED = ("<url>", "<talkid>", "<keywords>")
_TESTS = {
    "de-en": ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"),
    "en-fr": ("TED.dev2010", "TED.tst2010", "TED.tst2011", "TED.tst2012"),
}
_PUBLISHED = {
    "de-en": {"train": 160_239, "valid": 7_283, "test": 6_750},
    "en-fr": {"train": 168_151, "valid": 7_643, "test": 4_493},
}


class Corpus(Base):
    """One direction. Both directions of a pair of languages are made from one archive, as fairseq's script does."""

    NAME = "iwslt14"
    README = """IWSLT'14 (Cettolo et al. 2014): subtitles of TED talks, CC BY-NC-ND 4.0; see the README of the archive.
raw/ is the text without tags, tok/ is Moses-tokenized and lower-cased. train and valid are cleaned, test is whole.
"""

    @property
    def _release(self):
        languages = {code for pair in self.pairs for code in pair}
        return "de-en" if "de" in languages else "en-fr"

    def needed(self):
        """The tagged training text and the test sets."""
        texts = [self._train(code) for code in self._release.split("-")]
        texts += [self._test(name, code) for name in _TESTS[self._release] for code in self._release.split("-")]
        return dict.fromkeys(texts, f"{self._release}.tgz")

    def _train(self, language):
        return f"{self._release}/train.tags.{self._release}.{language}"

    def _test(self, name, language):
        return f"{self._release}/IWSLT14.{name}.{self._release}.{language}.xml"

    def published(self, pair):
        """The table has one row for both directions."""
        return _PUBLISHED[self._release]

    def lines(self, pair, part):
        """The tagged training text, or the test sets one after the other."""
        if part != "test":
            return self.aligned(pair, self._train, lambda path: markup.tagged(path, _DROPPED))
        tests = (
            self.aligned(pair, lambda code, name=name: self._test(name, code), markup.segments)
            for name in _TESTS[self._release]
        )
        return itertools.chain.from_iterable(tests)
