"""Multi30k, task 1 (Elliott et al. 2016, 2017; Barrault et al. 2018): 29,000 image captions, their translations.

Raw text from --raw-dir: {train,val,test_2016_flickr}.{en,de,fr,cs}, gzip or plain, as in the public repository
multi30k/dataset, data/task1/raw. The recipe is that of the repository's own *.lc.norm.tok files: lower-case, normalize
punctuation, Moses tokenizer (see steps.moses); it gives the same bytes as those files in all four languages. On them
joint BPE of 10,000 operations, as in the baselines of Wu et al. (ACL 2021).
"""

from pathlib import Path

from ..errors import UserError
from ..files import sha256
from .steps import SPLITS, moses
from .text import read_pairs

LANGUAGES = ("cs", "de", "en", "fr")
SYNTHETIC = False
BPE_OPERATIONS = 10_000
OPTIONS = ("raw_dir",)
_README = """Multi30k, task 1: image captions and their translations (Elliott et al. 2016, 2017; Barrault et al. 2018).
For research and education. test is test_2016_flickr. raw/ is the text as released; tok/ is lower-cased,
punctuation-normalized and Moses-tokenized, the same as the corpus's own *.lc.norm.tok files.
"""
_FILES = dict(zip(SPLITS, ("train", "val", "test_2016_flickr"), strict=True))


class Corpus:
    """The corpus in one direction; languages is (source, target), options has raw_dir."""

    README = _README
    LOWERCASED = True

    def __init__(self, languages, options):
        if options.raw_dir is None:
            raise UserError(
                "--raw-dir: missing: give the folder with train, val and test_2016_flickr "
                f".{languages[0]} and .{languages[1]} (.gz or plain; multi30k/dataset has them in data/task1/raw)"
            )
        folder = Path(options.raw_dir)
        self._paths = {split: [_find(folder, f"{_FILES[split]}.{code}") for code in languages] for split in SPLITS}

    def parameters(self):
        """The hashes of the raw files, by name without .gz, whatever folder they lie in."""
        paths = [path for pair in self._paths.values() for path in pair]
        return {"raw_files": {path.name: sha256(path) for path in paths}}

    def pairs(self, split):
        """Iterate over the (source, target) lines of a split."""
        return read_pairs(*self._paths[split])

    @staticmethod
    def tokenizer(language):
        """A function line -> lower-cased, normalized, tokenized line."""
        return moses(language, lowercase=True, normalize=True)


def _find(folder, name):
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            return path
    raise UserError(f"{folder / name}: missing, and {name}.gz as well: --raw-dir needs every split in both languages")
