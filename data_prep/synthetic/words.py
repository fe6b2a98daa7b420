"""The word tables of lexicon.py and verbs.py as objects: nouns and compounds, adjectives, verb frames, adverbials."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache

from . import english, german, lexicon, verbs


@dataclass(frozen=True)
class Noun:
    """A noun of one sense (kind); plural is "" for mass nouns; location: (German, English) preposition for "there"."""

    german: str
    gender: str
    plural: str
    weak: bool
    english: str
    english_plural: str
    kind: str
    location: tuple = ()


@dataclass(frozen=True)
class Adjective:
    """german is the predicate form, stem the one that takes endings."""

    german: str
    stem: str
    english: str
    kinds: tuple


@dataclass(frozen=True)
class Complement:
    """What a verb asks for; role is a letter of verbs.FRAMES, preposition (German, case, English) only for role P."""

    role: str
    kinds: tuple
    preposition: tuple = ()


@dataclass(frozen=True)
class Frame:
    """A German verb, its English verb and particle, and the kinds of its subject and complements."""

    verb: german.Verb
    english: str
    particle: str
    subjects: tuple
    complements: tuple

    def complement(self, role):
        """The complement of a role, or None."""
        return next((item for item in self.complements if item.role == role), None)


def _lines(table):
    return [line for line in table.strip().split("\n") if line]


def _kinds(names):
    return tuple(dict.fromkeys(kind for name in names for kind in lexicon.GROUPS.get(name, name).split()))


def _read_nouns():
    nouns, kind = defaultdict(list), None
    for line in _lines(lexicon.NOUNS):
        if line.startswith("["):
            kind = line.strip("[]")
            continue
        word, gender, plural, *rest = line.split()
        located = kind in ("building", "place", "water")
        location = tuple(rest[-2:]) if located else ()
        singular, _, plural_english = " ".join(rest[:-2] if located else rest).partition("/")
        mass = plural == "-"
        nouns[kind].append(Noun(
            word, gender, "" if mass else plural.rstrip("!"), plural.endswith("!"), singular,
            "" if mass else plural_english or english.plural(singular), kind, location,
        ))  # fmt: skip
    return dict(nouns)


def _read_adjectives():
    for line in _lines(lexicon.ADJECTIVES):
        word, translation, *kinds = line.split()
        predicate, _, stem = word.partition("/")
        yield Adjective(predicate, stem or predicate.removesuffix("e"), translation, _kinds(kinds))


def _read_frames():
    for line in _lines(verbs.FRAMES):
        key, translation, subjects, *complements = line.split("; ")
        verb, _, particle = translation.partition(" ")
        yield Frame(german.verb(key), verb, particle, _kinds(subjects.split()), tuple(map(_complement, complements)))


def _complement(text):
    if text.startswith("@"):
        return Complement("@", (text[1:],))
    role, *rest = text.split(":")
    if role == "P":
        *preposition, kinds = rest
        return Complement(role, _kinds(kinds.split()), tuple(preposition))
    return Complement(role, ("town",) if role == "N" else _kinds(rest[0].split()))


NOUNS = _read_nouns()
ADJECTIVES = tuple(_read_adjectives())
FRAMES = tuple(_read_frames())
# what people do to something, with no other complement: these have a passive
DEEDS = tuple(
    frame for frame in FRAMES
    if [item.role for item in frame.complements] == ["A"]
    and "person" in frame.subjects and frame.english not in verbs.STATIVE
)  # fmt: skip


@cache
def pairs(table):
    """A table "German English|German English" as tuples; _ stands for a space in English."""
    return tuple(tuple(word.replace("_", " ") for word in entry.split(" ")) for entry in table.split("|"))


def _synonyms(table):
    return {first: second for line in _lines(table) for first, second in pairs(line)}


_NAMES_VARY, _VERBS_VARY = _synonyms(lexicon.SYNONYMS), _synonyms(verbs.SYNONYMS)


def synonym(word):
    """The noun or adjective with its other English translation, or as it is."""
    if word.english not in _NAMES_VARY:
        return word
    other = _NAMES_VARY[word.english]
    if isinstance(word, Noun):
        return replace(word, english=other, english_plural=word.english_plural and english.plural(other))
    return replace(word, english=other)


def verb_synonym(frame):
    """The frame with its other English verb, or as it is."""
    verb, _, particle = _VERBS_VARY.get(f"{frame.english} {frame.particle}".strip(), "").partition(" ")
    return replace(frame, english=verb, particle=particle) if verb else frame


def compound(modifier, translation, head):
    """A compound noun: Garten + Stuhl -> Gartenstuhl, garden chair."""
    return replace(
        head,
        german=modifier + head.german.lower(),
        plural=head.plural and modifier + head.plural.lower(),
        english=f"{translation} {head.english}",
        english_plural=head.english_plural and f"{translation} {head.english_plural}",
    )


def filled(contents, translation, container):
    """A compound that English turns round: Apfel + Korb -> Apfelkorb, basket of apples."""
    return replace(
        compound(contents, "", container),
        english=f"{container.english} of {translation}",
        english_plural=f"{container.english_plural} of {translation}",
    )


@cache
def modifiers_of(noun):
    """The (German, English) first parts that may stand before a noun, most frequent first."""
    found = []
    if " of " in noun.english:
        return found  # straw pair of glasses: English would need its own rule
    for line in _lines(lexicon.MODIFIERS):
        word, translation, *heads = line.split()
        if (noun.kind in heads or noun.german in heads) and not noun.german.startswith(word):
            found.append((word, translation))
    return found


@cache
def contents_of(noun):
    """The (German, English) contents that a container noun may have."""
    rows = (line.split() for line in _lines(lexicon.CONTENTS))
    return [(word, translation) for word, translation, *heads in rows if noun.german in heads]


@cache
def adjectives_for(kind):
    """The adjectives that go with a kind of noun, most frequent first."""
    return [adjective for adjective in ADJECTIVES if kind in adjective.kinds]


def is_human(noun):
    """True for people, who are who and not that, he or she and not it."""
    return noun.kind in ("person", "family", "worker", "manager", "government")
