"""The Moses scripts that corpora use, as functions of a line, by sacremoses, mended to equal the Perl originals.

sacremoses lacks a rule that tokenizer.perl got in November 2018 (commit 9fc964da7); its tables of letters and digits
lack most of Unicode; it has no rules of their own for Finnish, Swedish, Catalan, Irish, Somali and Tetun; and it finds
some abbreviations that the script misses. All of it is mended here. The tokens are then those of the script (commit
34452895f) in each of its 38 languages and in others: on made-up sentences that the tests keep with the script's
answers, on random lines, and on all 124,056 lines of Multi30k (train, valid and test in four languages), byte for byte;
`python -m labo_fairseq.data_prep.benchmark --moses DIR` counts. Two differences are known: a line of nothing but white
space becomes empty, where the script copies it; and letters that are younger than the Unicode of Perl or of the package
`regex`, whichever is older. The punctuation normalizer is compared in the recipes' languages only (cs, de, en, fr).

Line functions are described by small frozen classes, because a description can be sent to another process and a
compiled regular expression or a loaded model cannot: `build()` makes the function where it is needed.
"""

import re
from dataclasses import dataclass

import regex
from sacremoses import MosesPunctNormalizer, MosesTokenizer
from sacremoses.corpus import NonbreakingPrefixes

_NON_PRINTING = regex.compile(r"\p{C}")
_LOWER, _ALPHA, _NUMBER = regex.compile(r"\p{Lower}"), regex.compile(r"\p{Alpha}"), regex.compile("[0-9]")


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
        normalizer = _Normalizer(self.language)

        def tokenize(line):
            if self.lowercase == "before":
                line = lower(line)
            if self.normalize:
                line = normalizer.normalize(line + "\n")
            if self.printable:
                line = _NON_PRINTING.sub(" ", line)
            line = tokenizer.tokenize(line, aggressive_dash_splits=self.split_dashes, return_str=True)
            return lower(line) if self.lowercase == "after" else line

        return tokenize


class _Normalizer:
    """normalize-punctuation.perl by sacremoses' rules, each of which looks only at lines that have what it needs."""

    def __init__(self, language):
        rules = MosesPunctNormalizer(language, perl_parity=True).substitutions
        self._rules = [(_needed(pattern), re.compile(pattern), replacement) for pattern, replacement in rules]

    def normalize(self, text):
        """The text with normal punctuation, without white space around it."""
        for needed, pattern, replacement in self._rules:
            if needed in text:
                text = pattern.sub(replacement, text)
        return text.strip()


def _needed(pattern):
    """A string that is in every match of one of sacremoses' rules that changes it."""
    if pattern == " +":  # one space becomes one space
        return "  "
    without_groups = re.sub(r"(?<!\\)\(.*?(?<!\\)\)", "", pattern)
    return without_groups.replace(r"\r", "\r").replace("\\", "")


@dataclass(frozen=True)
class _Where:
    """A regular expression that is tried only on text with the character that all its matches have."""

    needed: str
    pattern: regex.Pattern

    def sub(self, replacement, text):
        """As Pattern.sub."""
        return self.pattern.sub(replacement, text) if self.needed in text else text


def _by_property(needed, rule):
    """One of sacremoses' rules with Unicode's properties, as in the Perl script, in place of its own tables.

    needed: a character of all its matches
    """
    pattern, replacement = rule
    text = pattern.pattern
    for table, name in (("IsAlnum", "Alnum"), ("IsAlpha", "Alpha"), ("IsN", "N")):
        text = text.replace(getattr(MosesTokenizer, table), rf"\p{{{name}}}")
    return _Where(needed, regex.compile(text)), replacement


# what is part of a word when a lower-case letter follows (USA:n), and in Catalan everywhere (col·labora): the script's
# rule for the middle dot before other letters is read as bytes by Perl, so that it never applies
_INSIDE_WORDS = {"fi": ":", "sv": ":", "tdt": "'", "ca": "·"}
_ENGLISH = tuple(_by_property("'", rule) for rule in MosesTokenizer.ENGLISH_SPECIFIC_APOSTROPHE)
_FRENCH = tuple(_by_property("'", rule) for rule in MosesTokenizer.FR_IT_SPECIFIC_APOSTROPHE)
_APOSTROPHES = {
    "en": _ENGLISH, "fr": _FRENCH, "it": _FRENCH, "ga": _FRENCH, "ca": _FRENCH,
    "so": _FRENCH[:3], "tdt": _FRENCH[:3],  # the fourth splits a word at its apostrophe
}  # fmt: skip


def _padding(language):
    """The rule that makes tokens of the characters that belong to no word."""
    inside = _INSIDE_WORDS.get(language, "")
    pattern = rf"[^\p{{Alnum}}\s.'`,\-{inside}]"
    if inside and language != "ca":
        pattern += rf"|{inside}(?=$|[^\p{{Ll}}])"
    return regex.compile(f"({pattern})"), r" \1 "


# abbreviations that end in a space in the script's lists, so that the script never finds them; sacremoses strips them
_NEVER_FOUND = {
    "as": ("ভি",), "bn": ("ভি",), "es": ("Fil", "gr", "pÃ¡g"), "it": ("Amn", "Arch", "a.c", "all", "es"), "ml": ("പി",),
    "mni": ("ভি",), "nl": ("Nrs",), "sk": ("Pf",), "sv": ("Ö",),
}  # fmt: skip
_YOUNGER = {"tdt": ("Nu #NUMERIC_ONLY#",)}  # than sacremoses' lists
_ALWAYS, _BEFORE_NUMBERS = 1, 2


def _abbreviations(language):
    """{abbreviation without its full stop: _ALWAYS or _BEFORE_NUMBERS}, where the stop is no token."""
    kinds = {}
    for entry in (*NonbreakingPrefixes().words(language), *_YOUNGER.get(language, ())):
        word, mark, _ = entry.partition(" #NUMERIC_ONLY#")
        kinds[word] = _BEFORE_NUMBERS if mark else _ALWAYS
    return {word: kind for word, kind in kinds.items() if word not in _NEVER_FOUND.get(language, ())}


class _Tokenizer(MosesTokenizer):
    """sacremoses' tokenizer with all of Unicode and the script's rules for single languages.

    split_final_dot: a line's last full stop is always a token. sacremoses puts rules of its own on the *instance* for
    Chinese, Japanese and Korean, so ours are set there, after its own.
    """

    # Python's \s has the separators U+001C to U+001F, which the script deletes
    DEDUPLICATE_SPACE = regex.compile(r"\s+"), " "
    AGGRESSIVE_HYPHEN_SPLIT = _by_property("-", MosesTokenizer.AGGRESSIVE_HYPHEN_SPLIT)
    COMMA_SEPARATE_1 = _by_property(",", MosesTokenizer.COMMA_SEPARATE_1)
    COMMA_SEPARATE_2 = _by_property(",", MosesTokenizer.COMMA_SEPARATE_2)
    COMMA_SEPARATE_3 = _by_property(",", MosesTokenizer.COMMA_SEPARATE_3)

    def __init__(self, language, split_final_dot):
        super().__init__(language)
        self.AGGRESSIVE_HYPHEN_SPLIT = type(self).AGGRESSIVE_HYPHEN_SPLIT
        self.PAD_NOT_ISALNUM = _padding(language)
        # sacremoses asks only for en, fr and it whether they have rules for the apostrophe: others pose as fr
        self.ENGLISH_SPECIFIC_APOSTROPHE = self.FR_IT_SPECIFIC_APOSTROPHE = _APOSTROPHES.get(language, ())
        self.lang = "fr" if language in _APOSTROPHES else language
        self._abbreviations = _abbreviations(language)
        self._split_final_dot = split_final_dot

    def handles_nonbreaking_prefixes(self, text):
        """The text with a space before each full stop at a word's end, but for those of abbreviations."""
        words = text.split()
        if "." in text:
            for number, word in enumerate(words):
                if word[-1] == "." and len(word) > 1:
                    after = words[number + 1] if number + 1 < len(words) else None
                    if self._is_token(word[:-1], after):
                        words[number] = f"{word[:-1]} ."
        return " ".join(words)

    def _is_token(self, stem, after):
        """Whether the full stop between `stem` and the word `after` (None at the line's end) is a token."""
        if after is None and self._split_final_dot:
            return True
        if ("." in stem and _ALPHA.search(stem)) or (after and _LOWER.match(after)):
            return False
        kind = self._abbreviations.get(stem)
        return not (kind == _ALWAYS or (kind == _BEFORE_NUMBERS and after and _NUMBER.match(after)))


@dataclass(frozen=True)
class Untokenized:
    """The line with single spaces for any white space, perhaps lower-cased.

    fairseq splits at every kind of white space (U+2028, U+0085, a no-break space), subword-nmt at spaces only: a word
    with another kind inside would fall apart after the subwords are made, and come back as one word.
    """

    lowercase: bool = False

    def build(self):
        """A function line -> line."""
        return (lambda line: lower(_single_spaces(line))) if self.lowercase else _single_spaces


def _single_spaces(line):
    return " ".join(line.split())


def lower(line):
    """As lowercase.perl: Perl's lc knows no final sigma, Python's lower does."""
    return line.replace("Σ", "σ").lower()
