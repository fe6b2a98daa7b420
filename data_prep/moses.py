"""The Moses scripts that corpora use, as functions of a line, by sacremoses, mended to equal the Perl originals.

sacremoses lacks a rule that tokenizer.perl got in November 2018 (commit 9fc964da7), and its tables of letters and
digits lack most of Unicode: it takes each Chinese character for a token of its own. Both are mended here. On all
124,056 lines of Multi30k (train, valid and test in four languages) the results are then those of the Perl scripts, byte
for byte; `python -m labo_fairseq.data_prep.benchmark --moses DIR` counts.

Line functions are described by small frozen classes, because a description can be sent to another process and a
compiled regular expression or a loaded model cannot: `build()` makes the function where it is needed.
"""

import re
from dataclasses import dataclass

import regex
from sacremoses import MosesPunctNormalizer, MosesTokenizer

_NON_PRINTING = regex.compile(r"\p{C}")
_LOWER, _ALPHA = regex.compile(r"\p{Lower}*"), regex.compile(r"\p{Alpha}")


@dataclass(frozen=True)
class Moses:
    """tokenizer.perl with escapes (&apos; and so on), and what a recipe runs before and after it."""

    language: str
    lowercase: str | None = None  # before or after
    normalize: bool = False
    printable: bool = False
    split_dashes: bool = False
    split_final_dot: bool = True

    def build(self):
        """A function line -> tokens joined by single spaces.

        normalize-punctuation.perl sees the line's `\\n`, which moves a full stop behind a quotation mark at the line's
        end; perl_parity maps a lone ’ as it does.
        """
        tokenizer = _Tokenizer(self.language, self.split_final_dot)
        normalizer = MosesPunctNormalizer(self.language, perl_parity=True)

        def tokenize(line):
            if self.lowercase == "before":
                line = lower(line)
            if self.normalize:
                line = normalizer.normalize(line + "\n").removesuffix("\n")
            if self.printable:
                line = _NON_PRINTING.sub(" ", line)
            line = tokenizer.tokenize(line, aggressive_dash_splits=self.split_dashes, return_str=True)
            return lower(line) if self.lowercase == "after" else line

        return tokenize


def _by_property(rule):
    """One of sacremoses' rules with Unicode's properties, as in the Perl script, in place of its own tables."""
    pattern, replacement = rule
    text = pattern.pattern
    for table, name in (("IsAlnum", "Alnum"), ("IsAlpha", "Alpha"), ("IsN", "N")):
        text = text.replace(getattr(MosesTokenizer, table), rf"\p{{{name}}}")
    return regex.compile(text), replacement


class _Tokenizer(MosesTokenizer):
    """sacremoses' tokenizer with all of Unicode; split_final_dot: a line's last full stop is always a token."""

    PAD_NOT_ISALNUM = _by_property(MosesTokenizer.PAD_NOT_ISALNUM)
    AGGRESSIVE_HYPHEN_SPLIT = _by_property(MosesTokenizer.AGGRESSIVE_HYPHEN_SPLIT)
    COMMA_SEPARATE_1 = _by_property(MosesTokenizer.COMMA_SEPARATE_1)
    COMMA_SEPARATE_2 = _by_property(MosesTokenizer.COMMA_SEPARATE_2)
    COMMA_SEPARATE_3 = _by_property(MosesTokenizer.COMMA_SEPARATE_3)
    ENGLISH_SPECIFIC_APOSTROPHE = tuple(map(_by_property, MosesTokenizer.ENGLISH_SPECIFIC_APOSTROPHE))
    FR_IT_SPECIFIC_APOSTROPHE = tuple(map(_by_property, MosesTokenizer.FR_IT_SPECIFIC_APOSTROPHE))

    def __init__(self, language, split_final_dot):
        super().__init__(language)
        self._split_final_dot = split_final_dot

    def handles_nonbreaking_prefixes(self, text):
        if self._split_final_dot:
            text = re.sub(r"(\S)\.\s*$", r"\1 .", text)
        return super().handles_nonbreaking_prefixes(text)

    def islower(self, text):
        return _LOWER.fullmatch(text) is not None

    def isanyalpha(self, text):
        return _ALPHA.search(text) is not None


@dataclass(frozen=True)
class Untokenized:
    """The line without white space around it, perhaps lower-cased."""

    lowercase: bool = False

    def build(self):
        """A function line -> line."""
        return (lambda line: lower(line.strip())) if self.lowercase else str.strip


def lower(line):
    """As lowercase.perl: Perl's lc knows no final sigma, Python's lower does."""
    return line.replace("Σ", "σ").lower()
