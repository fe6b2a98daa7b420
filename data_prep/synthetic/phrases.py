"""Noun phrases of the embedded corpus, in both languages at once.

Everything that can be a subject or object has: german(case) and english(as_subject) -> lists of words ("," is a word),
person (1-3), plural, gender (of the German word, p in the plural) and possessives: the German stem and the English
word for "its own", or None.
"""

from dataclasses import dataclass, field

from . import english, german
from .words import is_human

# nom acc dat, English subject and object, person, plural, German and English possessive
_PRONOUNS = {
    "ich": ("ich mich mir I me", 1, False, "mein my"),
    "du": ("du dich dir you you", 2, False, "dein your"),
    "er": ("er ihn ihm he him", 3, False, "sein his"),
    "sie": ("sie sie ihr she her", 3, False, "ihr her"),
    "es": ("es es ihm it it", 3, False, "sein its"),
    "wir": ("wir uns uns we us", 1, True, "unser our"),
    "sie+": ("sie sie ihnen they them", 3, True, "ihr their"),
    "Sie": ("Sie Sie Ihnen you you", 2, True, "Ihr your"),
    "er/it": ("er ihn ihm it it", 3, False, "sein its"),
    "sie/it": ("sie sie ihr it it", 3, False, "ihr its"),
    "wer": ("wer wen wem who who", 3, False, None),
    "was": ("was was was what what", 3, False, None),
}
PRONOUN_OF = {"m": "er/it", "f": "sie/it", "n": "es", "p": "sie+"}


class Pronoun:
    """A personal or question pronoun; "sie+" is they, "er/it" and "sie/it" stand for things."""

    gender = None
    is_pronoun, indefinite = True, False

    def __init__(self, key):
        forms, self.person, self.plural, own = _PRONOUNS[key]
        nom, acc, dat, self._subject, self._object = forms.split()
        self._cases = {"nom": nom, "acc": acc, "dat": dat}
        self.possessives = tuple(own.split()) if own else None

    def german(self, case):
        """One word."""
        return [self._cases[case]]

    def english(self, as_subject):
        """One word."""
        return [self._subject if as_subject else self._object]


class RelativePronoun:
    """der, den, dem, ... and who, whom, that, for a Phrase that goes before."""

    is_pronoun, indefinite = True, False
    person = 3
    possessives = None

    def __init__(self, phrase, is_person):
        self.gender, self.plural, self._is_person = phrase.gender, phrase.plural, is_person

    def german(self, case):
        """One word."""
        return [german.RELATIVE[self.gender][case]]

    def english(self, as_subject):
        """One word: who, whom or that."""
        return [("who" if as_subject else "whom") if self._is_person else "that"]


@dataclass
class Name:
    """A name that stays as it is, or the two forms of one: Anna, Herr Becker, München."""

    text: str
    translation: str
    gender: str = "n"
    person, plural, is_pronoun, indefinite = 3, False, False, False

    @property
    def possessives(self):
        """sein his, ihr her"""
        return {"m": ("sein", "his"), "f": ("ihr", "her")}.get(self.gender)

    def german(self, case):
        """The name, with Herrn in the cases that ask for it."""
        first, *rest = self.text.split()
        return ["Herrn" if first == "Herr" and case != "nom" else first, *rest]

    def english(self, as_subject):
        """The name in English."""
        return self.translation.split()


@dataclass
class Phrase:
    """A noun with its determiner, adjectives, owner and relative clause.

    determiner: def, indef, none, this, every, no, many, or a (German, English) pair: a number, or with possessive=True
    the stem and the word of a possessive. owner: a Name before the noun or a definite Phrase behind it (Annas Buch, das
    Buch des Lehrers). relative: a Clause (clauses.py) about it. attribute: an Attribute.
    """

    noun: object
    determiner: object
    plural: bool = False
    adjectives: list = field(default_factory=list)
    possessive: bool = False
    owner: object = None
    relative: object = None
    attribute: object = None
    person, is_pronoun = 3, False

    @property
    def gender(self):
        """The gender that German agreement sees."""
        return "p" if self.plural else self.noun.gender

    @property
    def indefinite(self):
        """True where nicht stands before the object."""
        number = isinstance(self.determiner, tuple) and not self.possessive
        return number or self.determiner in ("indef", "none", "no", "many")

    @property
    def possessives(self):
        """sein his, ihr her, ihr their; None where English could not know."""
        if self.plural:
            return ("ihr", "their")
        if not is_human(self.noun):
            return ("ihr" if self.noun.gender == "f" else "sein", "its")
        return {"m": ("sein", "his"), "f": ("ihr", "her")}.get(self.noun.gender)  # none for das Kind: its, his, her?

    def german(self, case):
        """All words, with commas round the relative clause."""
        determiner, endings = self._german_determiner(case)
        words = self.attribute.german(endings, self.gender, case) if self.attribute else []
        words += [german.adjective(item.stem, endings, self.gender, case) for item in self.adjectives]
        words = [*determiner, *words, german.noun(self.noun, case, self.plural)]
        if isinstance(self.owner, Phrase):
            words += self.owner.german("gen")
        if self.relative:
            words += [",", *self.relative.german_subordinate(), ","]
        return words

    def _german_determiner(self, case):
        """(words, adjective endings that follow)"""
        gender = self.gender
        if isinstance(self.owner, Name):
            return [self.owner.text + "s"], german.STRONG
        if self.possessive:
            return [german.ein_word(self.determiner[0], gender, case)], german.WEAK if gender == "p" else german.MIXED
        if isinstance(self.determiner, tuple):
            return [self.determiner[0]], german.STRONG
        if self.determiner == "def":
            return [german.DEFINITE[gender][case]], german.WEAK
        if self.determiner in ("this", "every"):
            stem = {"this": "dies", "every": "jed"}[self.determiner]
            return [german.der_word(stem, gender, case)], german.WEAK
        if self.determiner == "no":
            return [german.ein_word("kein", gender, case)], german.WEAK if gender == "p" else german.MIXED
        if self.determiner == "many":
            return [german.adjective("viel", german.STRONG, gender, case)], german.STRONG
        if self.determiner == "none" or self.plural:
            return [], german.STRONG
        return [german.ein_word("ein", gender, case)], german.MIXED

    def english(self, as_subject):
        """All words; "no" is "any" or "a", because its verb is negated."""
        words = [item.english for item in self.adjectives]
        words.append(self.noun.english_plural if self.plural else self.noun.english)
        words = " ".join(words).split()
        words = [*self._english_determiner(words), *words]
        if self.attribute:
            words += self.attribute.english()
        if self.relative:
            words += self.relative.english_relative()
        return words

    def _english_determiner(self, following):
        if isinstance(self.owner, Name):
            return english.possessive(self.owner.translation).split()
        if self.owner:
            *words, noun = self.owner.english(as_subject=False)
            return [*words, english.possessive(noun, self.owner.plural)]
        if isinstance(self.determiner, tuple):
            return [self.determiner[1]]
        if self.determiner == "this":
            return ["these" if self.plural else "this"]
        fixed = {"def": "the", "every": "every", "many": "many"}
        if self.determiner in fixed:
            return [fixed[self.determiner]]
        if self.determiner == "no" and (self.plural or not self.noun.plural):
            return ["any"]
        if self.determiner == "none" or self.plural:
            return []
        return [english.article(following[0])]


@dataclass
class Attribute:
    """A participle with its actor or its time: der vom Lehrer gelesene Brief, the letter read by the teacher."""

    frame: object
    actor: object
    time: tuple

    def german(self, endings, gender, case):
        """The words before the noun."""
        first = german.with_preposition("von", self.actor.german("dat")) if self.actor else self.time[0].split()
        return [*first, german.adjective(self.frame.verb.participle, endings, gender, case)]

    def english(self):
        """The words behind the noun."""
        last = ["by", *self.actor.english(False)] if self.actor else self.time[1].split()
        return [english.participle(self.frame.english), *self.frame.particle.split(), *last]
