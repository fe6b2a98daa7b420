"""The embedded corpus: SYNTHETIC German-English sentences drawn from a grammar (synthetic/), nothing to download.

It is for tests, examples and quick experiments, not for claims about real translation. It has what makes translation
hard at small scale: verb-second and verb-final clauses, separable verbs, the perfect with haben and sein, case, gender
and agreement, compounds, words whose translation depends on the context, names, and a Zipf-distributed lexicon with a
long tail. Some English varies freely (big or large, doesn't or does not), so that no system can be right every time and
a model has something to be uncertain about. The same seed gives the same bytes on every machine; source and target
sentences are all different, within a split and between splits. Text stays cased: sentence-initial capitals and German
nouns are part of the task.
"""

from .corpus import Corpus as Base
from .recipe import Recipe
from .synthetic.sentences import Sentences

LANGUAGES = ("de", "en")
PAIRS = None
OPTIONS = ("seed",)
SYNTHETIC = True
RECIPE = Recipe(split_final_dot=False, subword_size=3000)
SIZES = {"train": 6000, "valid": 500, "test": 500}
SEED = 1
WORDS = (5, 18)  # shortest and longest sentence, in words
_README = """SYNTHETIC data: German-English sentences drawn at random from a small grammar by `labo prepare embedded`.
They are grammatical, but say nothing about the world, and scores on them say nothing about real translation: use them
for tests, examples and quick experiments. raw/ is cased text, tok/ is Moses-tokenized and cased.
"""


def generate(seed=SEED):
    """{split: [(German, English), ...]}: all sentences different, on either side."""
    seen = set()
    fresh = (pair for pair in Sentences(seed) if _fits(pair) and _is_new(pair, seen))
    return {split: [next(fresh) for _ in range(size)] for split, size in SIZES.items()}


def _fits(pair):
    return all(WORDS[0] <= len(text.split()) <= WORDS[1] for text in pair)


def _is_new(pair, seen):
    if seen & set(pair):
        return False
    seen.update(pair)
    return True


class Corpus(Base):
    """The corpus in one direction."""

    NAME = "embedded"
    README = _README

    def __init__(self, pairs, options, out):
        super().__init__(pairs, options, out)
        self._seed = SEED if options.seed is None else options.seed
        self._splits = None

    def parameters(self):
        """The seed, which determines the text."""
        return {"seed": self._seed, "sizes": SIZES}

    def lines(self, pair, part):
        """The sentences of a split; the pool is train."""
        if self._splits is None:
            self._splits = generate(self._seed)
        pairs = self._splits["train" if part == "all" else part]
        return (two[::-1] if pair[0] == "en" else two for two in pairs)
