"""How BLEU splits a text into words: one of sacreBLEU's tokenizers, by the language of the text where it is known.

13a, the default, splits at spaces and punctuation. A sentence of a language that is written without spaces is one word
to it, so that BLEU is near 0 for a good translation, and even for the reference itself.
"""

import re
from collections.abc import Sequence

from ..errors import UserError
from ..records.messages import note, warn
from . import bleu

DEFAULT = "13a"
# language: (sacreBLEU's choice or ours, what is used where its package is missing). sacreBLEU has no tokenizer of these
# last languages but the models of flores101 and flores200, which it downloads
BY_LANGUAGE = {
    "zh": ("zh", None),
    "ja": ("ja-mecab", "char"),
    "ko": ("ko-mecab", DEFAULT),
    **dict.fromkeys(("th", "lo", "km", "my", "bo", "dz", "shn"), ("char", None)),
}
# other names of the same languages: ISO 639-3, as in NLLB's zho_Hans, and the Chinese languages
SAME = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "wuu", "nan", "lzh"), "zh"),
    "jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo", "khm": "km", "mya": "my", "bur": "my", "bod": "bo", "tib": "bo",
    "dzo": "dz",
}  # fmt: skip

_CHINESE = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JAPANESE = r"\u3041-\u30ff\u31f0-\u31ff"
_SOUTHEAST = r"\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff"  # Thai, Lao, Tibetan, Burmese, Khmer
# (letters, longest plausible mean length of a word, what to do): a text whose words are longer has hardly any spaces
_SCRIPTS = (
    (re.compile(f"[{_JAPANESE}]"), 3, "--tokenize ja-mecab (or char)"),
    (re.compile(f"[{_CHINESE}]"), 3, "--tokenize zh"),
    (re.compile(f"[{_SOUTHEAST}]"), 8, "--tokenize char (or flores200)"),
)
_LONGEST_WORDS = 20  # of any other script: words of Greenlandic and Inuktitut have about 12 letters in the mean


def tokenizer_of(language: str) -> tuple[str, str | None]:
    """(tokenizer, what to use where its package is missing, or None) of a language such as zh, zh_CN or zho_Hans."""
    code = re.split(r"[-_.@]", language.lower())[0]
    return BY_LANGUAGE.get(SAME.get(code, code), (DEFAULT, None))


def chosen(tokenize: str | None, language: str | None, lines: Sequence[str], name: str) -> str:
    """The tokenizer for BLEU: `tokenize` where it is given, else that of the language, else 13a.

    lines: of a reference; name: its file. Says on standard error what the language decided, and warns where 13a meets a
    text with hardly any spaces. Raises UserError where a tokenizer that was asked for cannot be used.
    """
    if tokenize is not None:
        bleu.check_tokenizer(tokenize)
    elif language is not None:
        tokenize = _by_language(language)
    tokenize = tokenize or DEFAULT
    remedy = _lacks_spaces(lines)
    if tokenize in (DEFAULT, "intl", "none") and remedy:
        warn(
            f"{name}: hardly any spaces, so that --tokenize {tokenize} takes whole sentences for words and BLEU says "
            f"little: use {remedy}"
        )
    return tokenize


def warn_of_words(metrics: Sequence[str], lines: Sequence[str], name: str) -> None:
    """Warn where metrics other than BLEU that count words (TER, chrF++) meet a text with hardly any spaces."""
    affected = [bleu.METRICS[metric][0] for metric in metrics if metric in ("ter", "chrf++", *bleu.TOKENIZED)]
    if affected and _lacks_spaces(lines):
        listed = " and ".join(affected)
        warn(f"{name}: hardly any spaces, so that {listed} takes whole sentences for words: use BLEU or chrF2")


def _by_language(language):
    tokenize, fallback = tokenizer_of(language)
    if tokenize == DEFAULT:
        return tokenize
    try:
        bleu.check_tokenizer(tokenize)
    except UserError as error:
        if fallback is None:
            raise
        note(f"BLEU of {language}: --tokenize {fallback}, because of {_reason(error)}")
        return fallback
    note(f"BLEU of {language}: --tokenize {tokenize}")
    return tokenize


def _reason(error):
    return str(error).removeprefix("--tokenize ").removesuffix(bleu.ANOTHER)


def _lacks_spaces(lines):
    """What to do about a text with hardly any spaces; None where it has enough."""
    text = "\n".join(lines)
    words = text.split()
    letters = sum(map(len, words))
    if not words:
        return None
    counts = [len(script.findall(text)) for script, *_ in _SCRIPTS]
    if 2 * sum(counts) > letters:
        # Japanese mixes both of the first two, and has kana in nearly every sentence
        kind = 0 if counts[0] > 0.1 * letters else max((1, 2), key=counts.__getitem__)
        _, longest, remedy = _SCRIPTS[kind]
        return remedy if letters > longest * len(words) else None
    return "--tokenize char (or flores200)" if letters > _LONGEST_WORDS * len(words) else None
