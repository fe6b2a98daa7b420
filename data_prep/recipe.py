"""What a corpus's recipe decides; the command line replaces single fields, and the manifest records all of them."""

from dataclasses import dataclass

from .moses import Moses, Untokenized


@dataclass(frozen=True)
class Recipe:
    """The choices that the steps follow. Fields that are None or False mean: not done."""

    tokenizer: str = "moses"  # or none: the text goes to the subwords as it is
    lowercase: str | None = None  # before or after tokenization
    normalize: str | None = None  # Moses punctuation normalization: of all text, or of train only
    printable: bool = False  # what is normalized also loses its non-printing characters
    split_dashes: bool = False  # Moses -a: a-b -> a @-@ b
    split_final_dot: bool = True  # as tokenizer.perl has it since November 2018
    min_length: int = 1  # tokens of a kept training sentence; only looked at where one of the next two is given
    max_length: int | None = None
    max_ratio: float | None = None  # longer side / shorter side, in tokens
    clean_after: str = "tok"  # the step whose tokens are counted: tok or bpe
    valid_every: int | None = None  # every n-th training pair becomes validation data,
    valid_first: bool = False  # before the cleaning or after it
    subword: str = "bpe"  # or sentencepiece
    subword_size: int = 10_000  # BPE merges, or the size of sentencepiece's vocabulary
    dictionary: str = "joined"  # or separate: one for each side
    codes: str | None = None  # the file of an existing model's subwords, in place of learning them
    dictionaries: str | None = None  # the folder of its dict.XX.txt, in place of counting the training text
    vocabulary_threshold: int | None = None  # BPE: a subword rarer than this in its language is split further

    @property
    def cleans(self):
        """True where training pairs are removed by length or ratio."""
        return self.max_length is not None or self.max_ratio is not None

    @property
    def pools(self):
        """True where training data (and perhaps validation data) is selected from one pool of pairs, named `all`."""
        return self.cleans or self.valid_every is not None

    def tokenize(self, language, part):
        """The line function of a language, for `train` (also the pool it comes from) or another part."""
        if self.tokenizer == "none":
            return Untokenized(self.lowercase is not None)
        normalize = self.normalize == "all" or (self.normalize == "train" and part in ("train", "all"))
        return Moses(
            language,
            lowercase=self.lowercase,
            normalize=normalize,
            printable=normalize and self.printable,
            split_dashes=self.split_dashes,
            split_final_dot=self.split_final_dot,
        )
