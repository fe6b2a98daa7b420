"""Multi30k, task 1 (Elliott et al. 2016, 2017; Barrault et al. 2018): 29,000 image captions, their translations.

{train,val,test_2016_flickr}.{en,de,fr,cs}, gzip or plain, from the public repository multi30k/dataset, data/task1/raw.
The recipe is that of the repository's own *.lc.norm.tok files: lower-case, normalize punctuation, Moses tokenizer of
before November 2018; it gives the same bytes as those files in all four languages. On them joint BPE of 10,000
operations, as in the baselines of Wu et al. (ACL 2021).
"""

from .corpus import Corpus as Base
from .recipe import Recipe
from .text import read_lines

LANGUAGES = ("cs", "de", "en", "fr")
PAIRS = None
OPTIONS = ("raw_dir",)
MULTILINGUAL = True
SYNTHETIC = False
RECIPE = Recipe(lowercase="before", normalize="all", split_final_dot=False)
_FILES = {"train": "train", "all": "train", "valid": "val", "test": "test_2016_flickr"}


class Corpus(Base):
    """Any pairs of the four languages."""

    NAME = "multi30k"
    README = """Multi30k, task 1: image captions, their translations (Elliott et al. 2016, 2017; Barrault et al. 2018).
For research and education. test is test_2016_flickr. raw/ is the text as released; tok/ is lower-cased,
punctuation-normalized and Moses-tokenized, the same as the corpus's own *.lc.norm.tok files.
"""

    def needed(self):
        """The three splits in every language."""
        codes = dict.fromkeys(code for pair in self.pairs for code in pair)
        names = [f"{name}.{code}.gz" for name in dict.fromkeys(_FILES.values()) for code in codes]
        return {name: name for name in names}

    def lines(self, pair, part):
        """The lines of a split."""
        return self.aligned(pair, lambda code: f"{_FILES[part]}.{code}.gz", read_lines)
