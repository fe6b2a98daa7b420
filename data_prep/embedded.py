"""The embedded corpus: SYNTHETIC German-English sentences drawn from a grammar (sentences.py), nothing to download.

It is for tests, examples and quick experiments, not for claims about real translation. It has what makes translation
hard at small scale: verb-second and verb-final clauses, separable verbs, the perfect with haben and sein, case, gender
and agreement, compounds, words whose translation depends on the context, names, and a Zipf-distributed lexicon with a
long tail. Some English varies freely (big or large, doesn't or does not), so that no system can be right every time and
a model has something to be uncertain about. The same seed gives the same bytes on every machine; source and target
sentences are all different, within a split and between splits. Text stays cased: sentence-initial capitals and German
nouns are part of the task.
"""

from .sentences import Sentences
from .steps import moses

LANGUAGES = ("de", "en")
SYNTHETIC = True
BPE_OPERATIONS = 3000
OPTIONS = ("seed",)
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


class Corpus:
    """The corpus in one direction; languages is (source, target), options has seed."""

    README = _README
    LOWERCASED = False

    def __init__(self, languages, options):
        self._seed = SEED if options.seed is None else options.seed
        self._turned = languages[0] == "en"
        self._splits = None

    def parameters(self):
        """The seed, which determines the text."""
        return {"seed": self._seed, "sizes": SIZES}

    def pairs(self, split):
        """Iterate over the (source, target) sentences of a split."""
        if self._splits is None:
            self._splits = generate(self._seed)
        return (pair[::-1] if self._turned else pair for pair in self._splits[split])

    @staticmethod
    def tokenizer(language):
        """A function line -> Moses-tokenized line; not lower-cased."""
        return moses(language)
