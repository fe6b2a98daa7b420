"""The sentence patterns of the embedded corpus: pairs (German, English) from one seed, without end.

Main clauses, questions, subordinate, dass, ob and relative clauses, infinitives with zu and um zu, requests, to be,
comparison, passive, there is, prices, and two clauses joined; the weights below say how often.
"""

import re

from . import german, lexicon, verbs, words
from .clauses import Clause
from .grammar import HUMAN
from .phrases import Phrase, Pronoun
from .statements import Statements

_SUBJUNCTIONS = words.pairs(verbs.SUBJUNCTIONS)
_ASKED = [("wann", "when"), ("warum", "why"), ("wo", "where"), ("wie oft", "how often")]


class Sentences(Statements):
    """Iterate to get pairs of sentences."""

    def __iter__(self):
        patterns = {
            self.plain: 33, self.yes_or_no: 3, self.question_word: 3, self.who_or_what: 1, self.subordinate: 14,
            self.that: 8, self.whether: 6, self.infinitive: 13, self.purpose: 7, self.request: 1, self.description: 1,
            self.comparison: 1, self.passive: 6, self.there_is: 6, self.price: 1, self.joined: 2,
        }  # fmt: skip
        while True:
            german_words, english_words, end = self.weighted(patterns)()
            translation = sentence(english_words, end)
            yield sentence(german_words, end), contracted(translation) if self.chance(0.45) else translation

    def plain(self):
        """One main clause; time, a comment or the object may stand first."""
        clause = self.clause()
        if not clause.comment and clause.tense != "progressive" and self.chance(0.16):
            clause.comment = self.zipf(words.pairs(lexicon.COMMENTS))
        if clause.comment and self.chance(0.4):
            clause.front = "comment"
        elif clause.time and not clause.comment and self.chance(0.45):
            clause.front = "time"
        elif self._may_front_object(clause) and self.chance(0.15):
            clause.front = "A"
        clause.moved = bool(clause.time) and clause.front == "subject" and not clause.comment and self.chance(0.4)
        return clause.german_main(), clause.english_main(), "."

    def _may_front_object(self, clause):
        phrase = clause.objects.get("A")
        return isinstance(phrase, Phrase) and phrase.gender == "m" and phrase.determiner not in ("none", "no")

    def yes_or_no(self):
        """A question with the verb first."""
        clause = self.clause(simple=True)
        clause.question = ("", "")
        return clause.german_main(), clause.english_main(), "?"

    def question_word(self):
        """When, why, where, how often."""
        clause = self.clause(simple=True)
        asked = self.zipf(_ASKED)
        clause.question, clause.time, clause.frequency = asked, (), ()
        if asked[0] == "wo":
            if clause.objects.keys() & {"P", "N"}:
                clause.question = _ASKED[0]
            clause.place = ()
        return clause.german_main(), clause.english_main(), "?"

    def who_or_what(self):
        """A question for the subject or the object."""
        if self.chance(0.4):
            clause = self.clause(Pronoun("wer"), simple=True)
            return clause.german_main(), clause.english_main(), "?"
        frame = self.frame(lambda item: "person" in item.subjects and (item.complement("A") or item.complement("D")))
        role = "A" if frame.complement("A") else "D"
        clause = self.clause(simple=True, frame=frame)
        human = set(frame.complement(role).kinds) & set(HUMAN)
        clause.objects[role] = Pronoun("wer" if human else "was")
        clause.front = role
        return clause.german_main(), clause.english_main(), "?"

    def _partner(self, first, tense):
        """A clause after another one, often with a pronoun for its subject."""
        subject = self.referring(first.subject) if self.chance(0.55) else None
        if subject is None or self._is_human(first.subject):
            return self.clause(subject, tense, simple=True)
        kind = first.subject.noun.kind
        return self.described(subject, kind) if words.adjectives_for(kind) else self.clause(None, tense, simple=True)

    def subordinate(self):
        """Main and subordinate clause, in either order."""
        tense = self.uniform(("present", "past"))
        german_word, english_word = self.zipf(_SUBJUNCTIONS)
        german_word = "als" if (german_word, tense) == ("wenn", "past") else german_word
        first = self.clause(tense=tense, simple=True)
        if self.chance(0.6):
            second = self._partner(first, tense)
            if german_word in ("bevor", "während") and isinstance(second, Clause):
                _affirm(second)
            return (
                [*first.german_main(), ",", german_word, *second.german_subordinate()],
                [*first.english_main(), english_word, *second.english_subordinate()],
                ".",
            )
        subject = self.referring(first.subject) if self._is_human(first.subject) else None
        second = self.clause(subject, tense, simple=True)
        if german_word in ("bevor", "während"):
            _affirm(first)
        return (
            [german_word, *first.german_subordinate(), ",", *second.german_after()],
            [english_word, *first.english_subordinate(), ",", *second.english_main()],
            ".",
        )

    def _with_verb(self, table, tense=None, negated=False):
        entry = self.zipf(words.pairs(table), shift=3)
        frame = words.Frame(german.verb(entry[0]), entry[1], "", ("person", "family"), ())
        clause = self.clause(tense=tense or self.uniform(("present", "past")), simple=True, frame=frame)
        clause.modal, clause.gladly, clause.time, clause.frequency, clause.manner = "", False, (), (), ()
        clause.companion, clause.place, clause.negated = None, (), negated
        clause.tense = "present" if clause.tense == "progressive" else clause.tense
        return clause

    def that(self):
        """A dass clause."""
        first = self._with_verb(verbs.WITH_DASS)
        second = self.described() if self.chance(0.12) else self.clause(simple=True)
        return (
            [*first.german_main(), ",", "dass", *second.german_subordinate()],
            [*first.english_main(), "that", *second.english_subordinate()],
            ".",
        )

    def whether(self):
        """An ob clause: someone asks, or does not know."""
        knows = self.chance(0.5)
        first = self._with_verb("wissen know" if knows else "fragen ask", negated=knows)
        second = self.clause(simple=True)
        return (
            [*first.german_main(), ",", "ob", *second.german_subordinate()],
            [*first.english_main(), "whether", *second.english_subordinate()],
            ".",
        )

    def _deed(self, subject):
        """A clause for an infinitive: someone does something, without modal or negation."""
        frame = self.frame(lambda item: "person" in item.subjects and item.english not in verbs.STATIVE)
        clause = self.clause(subject, "present", simple=True, frame=frame)
        clause.tense, clause.modal, clause.gladly, clause.frequency = "present", "", False, ()
        clause.time, clause.manner = (), ()
        _affirm(clause)
        return clause

    def infinitive(self):
        """Someone tries, hopes, forgets to do something."""
        first = self._with_verb(verbs.WITH_ZU)
        deed = self._deed(first.subject)
        return (
            [*first.german_main(), ",", *deed.german_zu()],
            [*first.english_main(), *deed.english_to()],
            ".",
        )

    def purpose(self):
        """um zu"""
        first = self.clause(self.subject(HUMAN, simple=True), simple=True)
        deed = self._deed(first.subject)
        return (
            [*first.german_main(), ",", "um", *deed.german_zu()],
            [*first.english_main(), *deed.english_to()],
            ".",
        )

    def request(self):
        """Bitte with the polite imperative."""
        deed = self._deed(Pronoun("Sie"))
        return ["bitte", *deed.german_after()], ["please", *deed.english_to()[1:]], "."

    def joined(self):
        """Two main clauses."""
        tense = self.uniform(("present", "past"))
        first = self.clause(tense=tense, simple=True)
        second = self._partner(first, tense)
        word = self.weighted({("und", "and"): 4, (", aber", ", but"): 4, (", denn", "because"): 2})
        return (
            [*first.german_main(), *word[0].split(), *second.german_main()],
            [*first.english_main(), *word[1].split(), *second.english_main()],
            ".",
        )


def _affirm(clause):
    """Take the negation out: before something did not happen would mean nothing."""
    clause.negated = False
    phrase = clause.objects.get("A")
    if isinstance(phrase, Phrase) and phrase.determiner == "no":
        phrase.determiner = "indef" if phrase.noun.plural else "none"


def contracted(text):
    """English as it is spoken: doesn't, can't, won't."""
    text = text.replace("will not", "won't").replace("Will not", "Won't").replace("annot", "an't")
    return re.sub(r"\b(do|does|did|is|are|was|were|should|could|would) not\b", r"\1n't", text)


def sentence(words, end):
    """Words to text: capital first, commas joined to the word before, none doubled or at the end."""
    kept = []
    for word in words:
        if word == "," and (not kept or kept[-1] == ","):
            continue
        kept.append(word)
    if kept[-1] == ",":
        kept.pop()
    text = " ".join(kept).replace(" ,", ",") + end
    return text[0].upper() + text[1:]
