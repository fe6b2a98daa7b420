"""IWSLT'17 TED talks, {de,fr} to en, multilingual, by the recipe of fairseq's prepare-iwslt17-multilingual.sh.

No tokenization; one sentencepiece model of 16,384 pieces over all training text; training pairs of 1-250 pieces.

valid: the script loops over dev2010, tst2010 … tst2015 but writes each over the one before, so that only tst2015 is
left. That is the default here too; `--valid-set all` joins the seven. test: the script makes none, fairseq's README
scores sacreBLEU's iwslt17; so test is tst2017, the same text, whose English side lies in the archives of the other
direction. fairseq's README builds the dictionary on German and English only, and French pieces become <unk>; here it is
built on all three.
"""

import itertools

from . import markup
from .corpus import Corpus as Base
from .recipe import Recipe

LANGUAGES = ("de", "en", "fr")
PAIRS = ("de-en", "fr-en")
OPTIONS = ("raw_dir", "valid_set")
MULTILINGUAL = True
SYNTHETIC = False
VALID_SETS = ("tst2015", "all")
RECIPE = Recipe(
    tokenizer="none", min_length=1, max_length=250, clean_after="bpe", subword="sentencepiece", subword_size=16_384
)
_DROPPED = ("<url>", "<talkid>", "<keywords>", "<speaker>", "<reviewer", "<translator", "<doc", "</doc>")
_VALID = ("dev2010", "tst2010", "tst2011", "tst2012", "tst2013", "tst2014", "tst2015")
_PUBLISHED = {
    "de-en": {"train": 209_522, "valid": 7_887, "test": 5_670},
    "fr-en": {"train": 236_652, "valid": 8_277, "test": 7_275},
}


class Corpus(Base):
    """One or both pairs."""

    NAME = "iwslt17"
    README = """IWSLT'17 (Cettolo et al. 2017): subtitles of TED talks, CC BY-NC-ND 4.0; see the README of the archives.
raw/ and tok/ are the text without tags, cased, not tokenized. train is cleaned, valid and test are whole.
"""

    def __init__(self, pairs, options, out):
        self._valid = _VALID if options.valid_set == "all" else ("tst2015",)
        super().__init__(pairs, options, out)

    def needed(self):
        """The tagged training text, the validation sets, and tst2017 from the archives of both directions."""
        needed = {}
        for source, target in self.pairs:
            for code in (source, target):
                needed[_train((source, target), code)] = f"{source}-{target}.tgz"
                for name in self._valid:
                    needed[_set(name, (source, target), code)] = f"{source}-{target}.tgz"
            needed[_test(source, target)] = f"test.{source}-{target}.tgz"
            needed[_test(target, source)] = f"test.{target}-{source}.tgz"
        return needed

    def parameters(self):
        """Which sets are valid."""
        return {"valid_sets": list(self._valid)}

    def published(self, pair):
        """The table's counts; what valid and test are there, the paper does not say."""
        return _PUBLISHED["-".join(pair)]

    def lines(self, pair, part):
        """The tagged training text, the validation sets one after the other, or tst2017."""
        if part in ("train", "all"):
            return self.aligned(pair, lambda code: _train(pair, code), lambda path: markup.tagged(path, _DROPPED))
        if part == "test":
            texts = {pair[0]: _test(*pair), pair[1]: _test(*reversed(pair))}
            return self.aligned(pair, texts.__getitem__, markup.segments)
        sets = (
            self.aligned(pair, lambda code, name=name: _set(name, pair, code), markup.segments) for name in self._valid
        )
        return itertools.chain.from_iterable(sets)


def _train(pair, language):
    pair = "-".join(pair)
    return f"{pair}/train.tags.{pair}.{language}"


def _set(name, pair, language):
    pair = "-".join(pair)
    return f"{pair}/IWSLT17.TED.{name}.{pair}.{language}.xml"


def _test(source, target):
    return f"{source}-{target}/IWSLT17.TED.tst2017.{source}-{target}.{source}.xml"
