"""A user's own parallel text: --train, --valid and --test name files without their language, say data/train for
data/train.de and data/train.en, plain or .gz. Several --test become test, test1, test2 … as fairseq counts them.

Moses tokenization and joint BPE; cased; nothing is removed but training pairs with an empty side, unless --max-length
or --max-ratio ask for it.
"""

from pathlib import Path

from ..errors import UserError
from .corpus import Corpus as Base
from .inputs import facts_of
from .recipe import Recipe
from .text import read_pairs

LANGUAGES = None  # any
PAIRS = None
OPTIONS = ("train", "valid", "test")
MULTILINGUAL = True
SYNTHETIC = False
RECIPE = Recipe()


class Corpus(Base):
    """Files between any pair of languages; with several pairs they are PREFIX.PAIR.LANGUAGE."""

    NAME = "files"
    README = "Parallel text prepared by `labo prepare files`; manifest.json names the files and their hashes.\n"

    def __init__(self, pairs, options, out):
        for name in ("train", "valid", "test"):
            if not getattr(options, name):
                raise UserError(f"--{name}: missing: name the files without their language, as in --{name} data/{name}")
        super().__init__(pairs, options, out)
        tests = {f"test{number or ''}": prefix for number, prefix in enumerate(options.test)}
        self._prefixes = {"train": options.train, "valid": options.valid, **tests}
        self.splits = tuple(self._prefixes)
        self._paths = {(pair, split): self._find(pair, split) for split in self.splits for pair in pairs}

    def _find(self, pair, split):
        prefix = self._prefixes[split]
        middle = f".{'-'.join(pair)}" if len(self.pairs) > 1 else ""
        return [_existing(f"{prefix}{middle}.{code}", _hint(prefix, pair)) for code in pair]

    def parameters(self):
        """The hashes and line counts of the files, by split."""
        return {
            "raw_files": {
                f"{split}.{'-'.join(pair)}.{code}": facts_of(path)
                for (pair, split), paths in self._paths.items()
                for code, path in zip(pair, paths, strict=True)
            }
        }

    def lines(self, pair, part):
        """The lines of a split; the pool is train."""
        return read_pairs(*self._paths[pair, "train" if part == "all" else part])


def _hint(prefix, pair):
    """What to do where what should be the prefix of two files is one of them; empty where it is not."""
    name = Path(prefix)
    of_one = name.suffix.removeprefix(".") in pair
    return f": name both files without their language: {name.with_suffix('')}" if of_one else ""


def _existing(name, hint):
    path = next((Path(at) for at in (name, f"{name}.gz") if Path(at).is_file()), None)
    if path is None:
        raise UserError(f"{name}: missing, and {name}.gz as well{hint}")
    return path
