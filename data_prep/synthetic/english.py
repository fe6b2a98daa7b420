"""English inflection for the embedded corpus: verb forms, plurals, a/an."""

import re

from .verbs import ENGLISH_IRREGULAR

IRREGULAR = {base: (past, participle) for base, past, participle in map(str.split, ENGLISH_IRREGULAR.split("\n")[1:-1])}
BE = {"present": {1: "am", 3: "is", "plural": "are"}, "past": {1: "was", 3: "was", "plural": "were"}}
_SIBILANT = re.compile(r"(s|x|z|ch|sh)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")
# one vowel between consonants in one syllable doubles the last letter: stop, stopped
_DOUBLES = re.compile(r"^[^aeiou]*[aeiou][^aeiouwxy]$")
_DOUBLES_TOO = {"begin", "forget"}
_VOWEL_SOUND = re.compile(r"^(?!(uni|use|europe|one\b|eu))([aeiou]|hour|honest)", re.IGNORECASE)


def plural(noun):
    """Regular plural: dog -> dogs, box -> boxes, city -> cities."""
    if _SIBILANT.search(noun):
        return noun + "es"
    return noun[:-1] + "ies" if _CONSONANT_Y.search(noun) else noun + "s"


def third_person(base):
    """goes, watches, carries, has, does."""
    if base == "have":
        return "has"
    return base + "es" if base in ("go", "do") else plural(base)


def past(base):
    """Simple past of any verb but be: went, carried, stopped."""
    return IRREGULAR[base][0] if base in IRREGULAR else _regular_past(base)


def participle(base):
    """Past participle: gone, carried, stopped."""
    return IRREGULAR[base][1] if base in IRREGULAR else _regular_past(base)


def gerund(base):
    """The -ing form: reading, taking, sitting, lying."""
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith("ee"):
        return base[:-1] + "ing"
    return _doubled(base) + "ing"


def _regular_past(base):
    if base.endswith("e"):
        return base + "d"
    if _CONSONANT_Y.search(base):
        return base[:-1] + "ied"
    return _doubled(base) + "ed"


def _doubled(base):
    return base + base[-1] if _DOUBLES.match(base) or base in _DOUBLES_TOO else base


def be(tense, person, is_plural):
    """am, is, are, was, were. The person "you" counts as plural here."""
    return BE[tense]["plural" if is_plural or person == 2 else person]


def article(following):
    """The indefinite article before the word(s) `following`."""
    return "an" if _VOWEL_SOUND.match(following) else "a"


def possessive(noun, is_plural=False):
    """The possessive form: the teacher's, the teachers', the children's."""
    return noun + ("'" if is_plural and noun.endswith("s") else "'s")
