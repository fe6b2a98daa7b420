"""Draws noun phrases and clauses of the embedded corpus: which words, which determiners, which tense."""

from . import lexicon, verbs, words
from .clauses import MODALS, Clause
from .draw import Draw
from .phrases import PRONOUN_OF, Attribute, Name, Phrase, Pronoun, RelativePronoun

HUMAN = ("person", "family")
_ORDINARY_SUBJECTS = {"ich": 22, "er": 22, "sie": 20, "wir": 16, "sie+": 10, "Sie": 3, "du": 4}
_OBJECTS = ("ich", "er", "sie", "wir", "Sie")  # no "sie" for them: as an accusative it looks like "sie" for her
_VARIATION = 0.45  # how often a word with a synonym gets it
_NUMBERS = words.pairs(lexicon.NUMBERS)
_RENAMED_TOWNS = [tuple(line.split()) for line in lexicon.RENAMED_TOWNS.strip().split("\n")]


class Grammar(Draw):
    """Noun phrases and clauses from one seed."""

    def phrase(self, kinds, near=None, simple=False, names=True):
        """A noun phrase of one of the kinds. near: the subject, for a possessive; simple: without a relative clause."""
        if "town" in kinds:
            return self.town()
        if names and "person" in kinds and self.chance(0.28):
            return self.person_name()
        noun = self.noun(kinds)
        phrase = Phrase(noun, "def", plural=bool(noun.plural) and self.chance(0.27))
        self._determine(phrase, near)
        if self.chance(0.2):
            self._describe(phrase)
        if not simple and phrase.determiner in ("def", "indef") and not phrase.owner:
            self._extend(phrase)
        return phrase

    def _extend(self, phrase):
        choice = self.weighted({"relative": 12, "attribute": 14, "none": 74})
        if choice == "relative":
            phrase.relative = self.relative(phrase)
        elif choice == "attribute":
            kind = phrase.noun.kind
            frames = [item for item in words.DEEDS if kind in item.complements[0].kinds]
            if frames:
                actor = self.person_name() if self.chance(0.4) else Phrase(self.noun(("person",)), "def")
                timed = self.chance(0.35)
                time = self.time("past") if timed else ()
                phrase.attribute = Attribute(self.varied(self.zipf(frames, shift=5)), None if timed else actor, time)

    def noun(self, kinds):
        """A noun, often a compound."""
        known = {kind: 1 + len(words.NOUNS[kind]) ** 0.5 for kind in kinds}
        noun = self.varied(self.zipf(words.NOUNS[self.weighted(known)], shift=7))
        if noun.kind == "container":
            contents = words.contents_of(noun)
            return words.filled(*self.zipf(contents), noun) if self.chance(0.8) else noun
        modifiers = words.modifiers_of(noun)
        if modifiers and self.chance(0.42):
            return words.compound(*self.zipf(modifiers), noun)
        return noun

    def _determine(self, phrase, near):
        mass, family = not phrase.noun.plural, phrase.noun.kind == "family"
        if mass:
            phrase.determiner = "def" if self.chance(0.45) or phrase.noun.kind in ("sun", "moon", "wheel") else "none"
            return
        if near is not None and near.possessives and self.chance(0.7 if family else 0.18):
            phrase.determiner, phrase.possessive = near.possessives, True
        elif family and self.chance(0.6):
            phrase.determiner, phrase.possessive = self.uniform((("mein", "my"), ("unser", "our"))), True
        elif phrase.plural:
            choice = self.weighted({"def": 40, "none": 30, "number": 18, "many": 12})
            phrase.determiner = self.zipf(_NUMBERS) if choice == "number" else choice
        else:
            phrase.determiner = self.weighted({"def": 44, "indef": 32, "this": 6, "every": 2, "owned": 20})
            if phrase.determiner == "owned":
                phrase.determiner = "def"
                self._own(phrase)

    def _own(self, phrase):
        if phrase.noun.kind in HUMAN:
            return
        if self.chance(0.5):
            name = self.person_name(first_only=True)
            phrase.owner = None if name.text[-1] in "sxzß" else name
        else:
            phrase.owner = Phrase(self.noun(("person",)), "def")

    def _describe(self, phrase):
        fitting = words.adjectives_for(phrase.noun.kind)
        if fitting:
            phrase.adjectives = [self.varied(self.zipf(fitting, shift=5))]

    def person_name(self, first_only=False):
        """A first name, or Mr. or Ms. and a surname of which many are made up of two parts."""
        gender = self.uniform("mf")
        if first_only or self.chance(0.5):
            name = self.zipf((lexicon.MEN if gender == "m" else lexicon.WOMEN).split())
            return Name(name, name, gender)
        surname = self.invented_name() if self.chance(0.5) else self.zipf(lexicon.SURNAMES.split(), shift=6)
        title, translation = ("Herr", "Mr.") if gender == "m" else ("Frau", "Ms.")
        return Name(f"{title} {surname}", f"{translation} {surname}", gender)

    def town(self):
        """A town with an English name, one without, or a made-up village."""
        choice = self.weighted({"same": 38, "renamed": 32, "invented": 30})
        if choice == "renamed":
            return Name(*self.zipf(_RENAMED_TOWNS))
        name = self.zipf(lexicon.TOWNS.split()) if choice == "same" else self.invented_name()
        return Name(name, name)

    def invented_name(self):
        """Birkenbach, Hohenfeld, ...: translated by copying."""
        return self.uniform(lexicon.NAME_STARTS.split()) + self.uniform(lexicon.NAME_ENDS.split())

    def subject(self, kinds, simple=False):
        """A phrase, or a personal pronoun where the verb takes people."""
        if "person" in kinds and self.chance(0.38):
            return Pronoun(self.weighted(_ORDINARY_SUBJECTS))
        return self.phrase(kinds, simple=simple)

    def referring(self, phrase):
        """A pronoun for a phrase of a sentence before; None where English could not know which."""
        if isinstance(phrase, Pronoun):
            return phrase
        if phrase.plural:
            return Pronoun("sie+")
        if isinstance(phrase, Phrase) and not words.is_human(phrase.noun):
            return Pronoun(PRONOUN_OF[phrase.gender])
        return Pronoun({"m": "er", "f": "sie"}[phrase.gender]) if phrase.possessives else None

    def frame(self, accept):
        """A verb frame for which accept(frame) holds, by Zipf's law on the table's order."""
        return self.varied(self.zipf([frame for frame in words.FRAMES if accept(frame)], shift=16))

    def varied(self, item):
        """A noun, adjective or frame, at times with another English word for it, as people's translations vary."""
        if not self.chance(_VARIATION):
            return item
        return words.verb_synonym(item) if isinstance(item, words.Frame) else words.synonym(item)

    def clause(self, subject=None, tense=None, simple=False, frame=None):
        """A clause in a random verb; with a subject given, one that fits people; tense: present, past or future."""
        frame = frame or self.frame(lambda item: subject is None or "person" in item.subjects)
        subject = subject or self.subject(frame.subjects, simple)
        clause = Clause(frame, subject, tense=tense or self.weighted({"present": 28, "past": 62, "future": 10}))
        for item in frame.complements:
            if item.role == "@":
                self._place(clause, item.kinds)
            else:
                clause.objects[item.role] = self._object(item, subject, simple)
        self._modify(clause, simple)
        return clause

    def _object(self, complement, subject, simple):
        near = None if complement.role == "W" else subject
        if "person" in complement.kinds and self.chance(0.25):
            return Pronoun(self.uniform([key for key in _OBJECTS if not _same(Pronoun(key), subject)]))
        return self.phrase(complement.kinds, near=near, simple=simple)

    def _place(self, clause, kinds=("place",)):
        if "water" not in kinds and self.chance(0.25):
            clause.place = ("in", "in", self.town())
            return
        phrase = self.phrase(kinds, simple=True)
        phrase.determiner = "def" if phrase.determiner in ("none", "every") else phrase.determiner
        clause.place = (*phrase.noun.location, phrase)

    def _modify(self, clause, simple):
        people = self._is_human(clause.subject)
        stative = clause.frame.english in verbs.STATIVE
        if people and not stative and clause.tense != "future" and self.chance(0.27):
            clause.modal = self.zipf(MODALS[clause.tense], shift=3)
        elif people and not stative and clause.tense == "present" and self.chance(0.14):
            clause.gladly = self.chance(0.5)
            clause.tense = "present" if clause.gladly else "progressive"
        plain = not (clause.gladly or clause.tense == "progressive")
        clause.negated = plain and self.chance(0.18)
        if clause.negated:
            self._negate(clause)
        elif plain and clause.tense != "future" and not clause.modal and self.chance(0.1):
            clause.frequency = self.zipf(words.pairs(lexicon.FREQUENCIES))
        if plain and not clause.frequency and self.chance(0.3 if simple else 0.6):
            clause.time = self.time(clause.tense)
        if people and not clause.negated and plain and not stative:
            self._accompany(clause, simple)

    def _negate(self, clause):
        phrase = clause.objects.get("A")
        if isinstance(phrase, Phrase) and phrase.determiner in ("indef", "none"):
            phrase.determiner = "no"

    def _accompany(self, clause, simple):
        if "A" not in clause.objects and "P" not in clause.objects and self.chance(0.2):
            clause.companion = self.phrase(HUMAN, near=clause.subject, simple=True)
        elif self.chance(0.07):
            clause.manner = self.zipf(words.pairs(lexicon.MANNERS))
        if not simple and not clause.place and not clause.objects.keys() & {"P", "N"} and self.chance(0.16):
            self._place(clause)

    @staticmethod
    def _is_human(phrase):
        return not isinstance(phrase, Phrase) or phrase.noun.kind in HUMAN

    def time(self, tense):
        """(German, English) for a time in a tense; a number is filled in."""
        tense = "present" if tense == "progressive" else tense
        rows = [tuple(line.split("|")) for line in lexicon.TIMES[tense].strip().split("\n")]
        row = self.zipf(rows, shift=4)
        number, year = self.zipf(_NUMBERS), str(self.between(1890, 2020))
        return tuple(text.replace("#", number[side]).replace("@", year) for side, text in enumerate(row))

    def relative(self, phrase):
        """A relative clause in which the phrase is the subject or the object."""
        kind = phrase.noun.kind
        pronoun = RelativePronoun(phrase, words.is_human(phrase.noun))
        tense = self.weighted({"present": 40, "past": 60})
        if kind in HUMAN and self.chance(0.6):
            return self.clause(pronoun, tense, simple=True)
        roles = "AD" if kind in HUMAN else "A"
        usable = [f for f in words.FRAMES if any(item.role in roles and kind in item.kinds for item in f.complements)]
        usable = [f for f in usable if "person" in f.subjects]
        if not usable:
            return None
        frame = self.varied(self.zipf(usable, shift=5))
        role = next(item.role for item in frame.complements if item.role in roles)
        clause = self.clause(None, tense, simple=True, frame=frame)
        clause.objects[role], clause.front, clause.negated = pronoun, role, False
        return clause


def _same(pronoun, subject):
    """True for I and me or us, he and him, ...: no pronoun object may mean its subject."""
    return pronoun.person == subject.person < 3 or pronoun.english(True) == subject.english(True)
