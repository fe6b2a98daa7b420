"""What every corpus has: a name, splits, inputs, and the lines of its parts."""

from .inputs import Inputs
from .text import read_pairs


class Corpus:
    """A corpus between some pairs of languages.

    Subclasses give RECIPE, README and `lines`; those that are read from files give `needed` too.
    """

    NAME = ""
    README = ""
    splits = ("train", "valid", "test")

    def __init__(self, pairs, options, out):
        self.pairs, self.options, self.out = pairs, options, out
        self.inputs = Inputs(self.NAME, self.needed(), options.raw_dir, out)

    def needed(self):
        """{path of a text: name of its file in sources.SOURCES}."""
        return {}

    def parameters(self):
        """What determines the text, for the manifest, besides the recipe."""
        return {}

    def published(self, pair):
        """{split: number of pairs in appendix D of Lu et al. 2023}, by the recipe as it stands; empty if unknown."""
        return {}

    def lines(self, pair, part):
        """Iterate over the (source, target) lines of a part: train, valid, test, or the pool `all`."""
        raise NotImplementedError

    def aligned(self, pair, name_of, read):
        """Iterate over the pairs of lines of the texts name_of(language), read by a function of their path."""
        return read_pairs(*(self.inputs[name_of(language)] for language in pair), read=read)
