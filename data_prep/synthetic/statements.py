"""Sentences of the embedded corpus without a verb frame: to be, comparison, passive, there is, prices."""

from dataclasses import dataclass

from . import english, german, lexicon, words
from .grammar import HUMAN, Grammar

_THINGS = ("thing", "clothing", "vehicle", "device", "instrument", "building")
_COMPARATIVES = [line.split() for line in lexicon.COMPARATIVES.strip().split("\n")]


@dataclass
class Description:
    """A clause without a verb frame: to be and an adjective, a passive, a price. Finite verbs are given, not built.

    german: (finite, words before the end, words at the end); english: (verb words, words behind). time as in Clause.
    """

    subject: object
    german: tuple
    english: tuple
    time: tuple = ()
    time_first: bool = False

    def german_main(self):
        """Verb-second, subject or time first."""
        if self.time_first:
            return [*self.time[0].split(), *self.german_after(timed=False)]
        return [*self.subject.german("nom"), self.german[0], *self._timed(), *self.german[1], *self.german[2]]

    def german_after(self, timed=True):
        """Verb first, as behind a subordinate clause."""
        time = self._timed() if timed else []
        return [self.german[0], *self.subject.german("nom"), *time, *self.german[1], *self.german[2]]

    def german_subordinate(self):
        """Verb last."""
        return [*self.subject.german("nom"), *self._timed(), *self.german[1], *self.german[2], self.german[0]]

    def _timed(self):
        return self.time[0].split() if self.time else []

    def english_main(self):
        """Subject, verb, the rest; time at the end or in front."""
        words = [*self.subject.english(True), *self.english[0], *self.english[1]]
        time = self.time[1].split() if self.time else []
        return [*time, *words] if self.time_first else [*words, *time]

    english_subordinate = english_main
    english_relative = english_main


class Statements(Grammar):
    """The patterns; each gives (German words, English words, final punctuation)."""

    def described(self, subject=None, kind=None):
        """To be and an adjective, now or then, perhaps with not, very or too."""
        kind = kind or self.uniform(("person", *_THINGS, "animal", "task", "idea", "text", "place", "event"))
        subject = subject or self.phrase((kind,), simple=True)
        item = self.varied(self.zipf(words.adjectives_for(kind), shift=4))
        tense = self.weighted({"present": 70, "past": 30})
        degree = self.uniform((("sehr", "very"), ("zu", "too"), ("nicht", "not"), ("", ""), ("", ""), ("", "")))
        finite = german.finite("sein", tense, subject.person, subject.plural)
        verb = english.be(tense, subject.person, subject.plural)
        return Description(
            subject,
            (finite, [*degree[0].split(), item.german], []),
            ([verb], [*degree[1].split(), *item.english.split()]),
        )

    def description(self):
        """A sentence of to be and an adjective, or the age of a person."""
        if self.chance(0.15):
            person = self.phrase(HUMAN, simple=True)
            number, be = self.zipf(words.pairs(lexicon.NUMBERS)), english.be("present", 3, person.plural)
            finite = german.finite("sein", "present", 3, person.plural)
            aged = Description(person, (finite, [number[0], "Jahre", "alt"], []), ([be], [number[1], "years", "old"]))
            return aged.german_main(), aged.english_main(), "."
        first = self.described()
        if self.chance(0.5):
            subject = self.referring(first.subject)
            if subject is not None:
                second = self.described(subject, getattr(getattr(first.subject, "noun", None), "kind", "person"))
                return (
                    [*first.german_main(), ",", "aber", *second.german_main()],
                    [*first.english_main(), ",", "but", *second.english_main()],
                    ".",
                )
        return first.german_main(), first.english_main(), "."

    def comparison(self):
        """Something is more than something else."""
        word = self.zipf(_COMPARATIVES)
        kind = self.uniform(word[3:]) if word[3] != "human" else self.uniform(HUMAN)
        kind = "person" if kind == "human" else kind
        one, other = self.phrase((kind,), simple=True), self.phrase((kind,), simple=True)
        finite, be = german.finite("sein", "present", 3, one.plural), english.be("present", 3, one.plural)
        better = word[2].replace("_", " ").split()
        clause = Description(
            one, (finite, [word[1], "als", *other.german("nom")], []), ([be], [*better, "than", *other.english(False)])
        )
        return clause.german_main(), clause.english_main(), "."

    def passive(self):
        """Something was done, at times by someone."""
        frame = self.varied(self.zipf(words.DEEDS, shift=16))
        thing = self.phrase(frame.complement("A").kinds, simple=True)
        actor = self.phrase(HUMAN, simple=True) if self.chance(0.35) else None
        time = self.time("past") if self.chance(0.5) else ()
        clause = Description(
            thing,
            (
                german.finite("werden", "past", 3, thing.plural),
                german.with_preposition("von", actor.german("dat")) if actor else [],
                [frame.verb.participle],
            ),
            (
                [english.be("past", 3, thing.plural), english.participle(frame.english), *frame.particle.split()],
                ["by", *actor.english(False)] if actor else [],
            ),
            time,
            time_first=bool(time) and self.chance(0.4),
        )
        return clause.german_main(), clause.english_main(), "."

    def there_is(self):
        """es gibt, with the place first."""
        place = self.phrase(("place", "building"), simple=True)
        thing = self.phrase(("plant", "animal", "thing", "building", "person"), simple=True, names=False)
        if place.determiner in ("none", "every"):
            place.determiner = "def"
        if not thing.possessive and not isinstance(thing.determiner, tuple):
            thing.owner, thing.determiner = None, "many" if thing.plural else "indef"
        where = german.with_preposition(place.noun.location[0], place.german("dat"))
        be = english.be("present", 3, thing.plural)
        return (
            [*where, "gibt", "es", *thing.german("acc")],
            ["there", be, *thing.english(False), place.noun.location[1], *place.english(False)],
            ".",
        )

    def price(self):
        """Something costs so many euros."""
        thing, amount = self.phrase(("thing", "clothing", "vehicle", "device"), simple=True), str(self.between(2, 950))
        verb = ("kosten", "cost") if thing.plural else ("kostet", "costs")
        clause = Description(thing, (verb[0], [amount, "Euro"], []), ([verb[1]], [amount, "euros"]))
        return clause.german_main(), clause.english_main(), "."
