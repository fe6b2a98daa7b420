"""The Moses scripts that corpora use, as functions of a line, by sacremoses; equal to the Perl originals.

On all 124,056 lines of Multi30k (train, valid and test in four languages) the results are those of the Perl scripts,
byte for byte; `python -m labo_fairseq.data_prep.benchmark --moses DIR` counts. sacremoses alone differs on 133 of them:
it lacks a rule that tokenizer.perl got in November 2018 (commit 9fc964da7) and that is added here.

Line functions are described by small frozen classes, because a description can be sent to another process and a
compiled regular expression or a loaded model cannot: `build()` makes the function where it is needed.
"""

import re
from dataclasses import dataclass

import regex
from sacremoses import MosesPunctNormalizer, MosesTokenizer

_NON_PRINTING = regex.compile(r"\p{C}")


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
        tokenizer = _Tokenizer(self.language) if self.split_final_dot else MosesTokenizer(self.language)
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


class _Tokenizer(MosesTokenizer):
    """sacremoses' tokenizer with the rule that a line's last full stop is always a token of its own."""

    def handles_nonbreaking_prefixes(self, text):
        return super().handles_nonbreaking_prefixes(re.sub(r"(\S)\.\s*$", r"\1 .", text))


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
