"""Clauses of the embedded corpus: one abstract clause, its German and its English word order.

German: finite verb second in main clauses, first in questions, last in subordinate ones; prefix, participle and
infinitive at the end; pronouns first and time before place between them. English: do-support, adverbs before the verb.
"""

from dataclasses import dataclass, field

from . import english, german

# German modal: its English by tense, either auxiliary words or (verb, "to"), which takes do-support
_MODALS = {
    "können": {"present": "can", "past": "could"},
    "sollen": {"present": "should"},
    "dürfen": {"present": "may"},
    "möchten": {"present": "would like to"},
    "müssen": {"present": ("have", "to"), "past": ("have", "to")},
    "wollen": {"present": ("want", "to"), "past": ("want", "to")},
}
MODALS = {tense: tuple(name for name, forms in _MODALS.items() if tense in forms) for tense in ("present", "past")}
_FIXED_PARTICLES = ("for", "to", "of", "into")  # these never move behind a pronoun


@dataclass
class Clause:
    """A verb frame with everything that fills it.

    objects: {role: phrase}; tense: present, past (German perfect; simple past of modals), future or progressive
    ("gerade"). Adverbials are (German, English) pairs, companion is a phrase, place (preposition, its English, phrase).
    front: what stands before the verb in German: "subject", "time", "comment" or a role.
    """

    frame: object
    subject: object
    objects: dict = field(default_factory=dict)
    tense: str = "present"
    modal: str = ""
    negated: bool = False
    time: tuple = ()
    frequency: tuple = ()
    manner: tuple = ()
    comment: tuple = ()
    companion: object = None
    place: tuple = ()
    gladly: bool = False
    front: str = "subject"
    moved: bool = False  # the time stands first in English though not in German
    question: tuple = ()  # (German, English) question adverb, or ("", "") for yes or no

    def german_main(self):
        """Verb-second, with `front` first."""
        finite, tail = self._german_verb()
        if self.question:
            return [*self.question[0].split(), finite, *self._middle(skip=""), *tail]
        return [*self._german_part(self.front), finite, *self._middle(skip=self.front), *tail]

    def german_after(self):
        """The main clause when a subordinate clause takes the first place: verb first."""
        finite, tail = self._german_verb()
        return [finite, *self._middle(skip=""), *tail]

    def german_subordinate(self):
        """Verb last; a relative pronoun that is the object comes first."""
        finite, tail = self._german_verb()
        if tail and tail[-1] == self.frame.verb.prefix:
            tail, finite = tail[:-1], tail[-1] + finite
        first = [] if self.front == "subject" else self._german_part(self.front)
        return [*first, *self._middle(skip=self.front if first else ""), *tail, finite]

    def german_zu(self):
        """The infinitive clause, without its subject."""
        return [*self._middle(skip="subject"), *self.frame.verb.zu_infinitive]

    def _german_verb(self):
        """(finite verb, words at the end)"""
        verb, who = self.frame.verb, (self.subject.person, self.subject.plural)
        if self.modal:
            return german.finite(self.modal, "past" if self.tense == "past" else "present", *who), [verb.infinitive]
        if self.tense == "past":
            return german.finite(verb.auxiliary, "present", *who), [verb.participle]
        if self.tense == "future":
            return german.finite("werden", "present", *who), [verb.infinitive]
        return verb.present(*who), [verb.prefix] if verb.prefix else []

    def _german_part(self, name):
        if name == "subject":
            return self.subject.german("nom")
        if name in ("time", "comment"):
            return getattr(self, name)[0].split()
        return self._german_object(name)

    def _german_object(self, role):
        phrase = self.objects[role]
        if role == "A":
            return phrase.german("acc")
        if role in "DITW":
            return phrase.german("dat")
        if role == "N":
            return ["nach", *phrase.german("dat")]
        preposition, case, _ = self.frame.complement("P").preposition
        return german.with_preposition(preposition, phrase.german(case))

    def _middle(self, skip):
        """Everything between the finite verb and the verb's end, but the part that stands in front."""
        here = {role: phrase for role, phrase in self.objects.items() if role != skip}
        datives = [role for role in here if role in "DITW"]
        pronouns = [role for role in ("A", *datives) if role in here and here[role].is_pronoun]
        indefinite = "A" in here and here["A"].indefinite
        words = [] if skip == "subject" else self.subject.german("nom")
        for role in pronouns:
            words += self._german_object(role)
        words += [] if skip == "comment" or not self.comment else self.comment[0].split()
        words += ["gerade"] if self.tense == "progressive" else []
        words += [] if skip == "time" or not self.time else self.time[0].split()
        for role in datives:
            words += [] if role in pronouns else self._german_object(role)
        nouns = self._german_object("A") if "A" in here and "A" not in pronouns else []
        words += [] if indefinite else nouns
        words += [self.frequency[0]] if self.frequency else []
        words += ["gern"] if self.gladly else []
        words += ["nicht"] if self.negated and not self._negative_object() else []
        words += nouns if indefinite else []
        words += german.with_preposition("mit", self.companion.german("dat")) if self.companion else []
        words += [self.manner[0]] if self.manner else []
        words += self._german_place()
        for role in ("P", "N"):
            words += self._german_object(role) if role in here else []
        return words

    def _negative_object(self):
        return any(getattr(phrase, "determiner", None) == "no" for phrase in self.objects.values())

    def _german_place(self):
        return german.with_preposition(self.place[0], self.place[2].german("dat")) if self.place else []

    def english_main(self):
        """The declarative sentence or the question."""
        if self.question:
            return [*self.question[1].split(), *self._english_clause(asked=True)]
        if self.front in self.objects and self.objects[self.front].english(False)[0] in ("who", "what"):
            return [*self.objects[self.front].english(False), *self._english_clause(asked=True, without=self.front)]
        return self._english_fronted() + self._english_clause()

    def english_subordinate(self):
        """The same word order as in a main clause."""
        return self._english_fronted() + self._english_clause()

    def english_relative(self):
        """The relative pronoun first."""
        if self.front == "subject":
            return self._english_clause()
        return [*self.objects[self.front].english(False), *self._english_clause(without=self.front)]

    def english_to(self):
        """The infinitive with to."""
        return ["to", self.frame.english, *self._english_rest(without="")]

    def _english_fronted(self):
        words = self.comment[1].split() if self.comment else []
        words = [word for part in words for word in part.replace(",", " ,").split()]
        if self.front == "time" or self.moved:
            words += self.time[1].split()
        return words

    def _english_subject(self):
        return self.objects.get("W", self.subject)

    def _english_clause(self, asked=False, without=""):
        """Subject and predicate; asked: the auxiliary before the subject; without: a role that stands elsewhere."""
        subject = self._english_subject()
        auxiliary, verb = self._english_verb(subject, asked and not _asks_itself(subject))
        not_ = ["not"] if self.negated else []
        often = [self.frequency[1]] if self.frequency else []
        words = subject.english(as_subject=True)
        words = [*auxiliary[:1], *words, *auxiliary[1:]] if asked and auxiliary else [*words, *auxiliary]
        if auxiliary == ["can"] and not_ and not asked:
            words, not_ = [*words[:-1], "cannot"], []
        return [*words, *not_, *often, *verb, *self._english_rest(without)]

    def _english_verb(self, subject, asked):
        """(auxiliaries, main verb words)"""
        base, person, plural = self.frame.english, subject.person, subject.plural
        modal = _MODALS[self.modal]["past" if self.tense == "past" else "present"] if self.modal else None
        if isinstance(modal, str):
            first, *rest = modal.split()
            return [first], [*rest, base]
        if self.tense == "future":
            return ["will"], [base]
        if self.tense == "progressive":
            return [english.be("present", person, plural)], [english.gerund(base)]
        rest = []
        if modal or self.gladly:
            base, rest = (modal[0], ["to", base]) if modal else ("like", ["to", base])
        third = person == 3 and not plural
        if self.negated or asked:
            return ["did" if self.tense == "past" else "does" if third else "do"], [base, *rest]
        if self.tense == "past":
            return [], [english.past(base), *rest]
        return [], [english.third_person(base) if third else base, *rest]

    def _english_rest(self, without):
        objects = {role: phrase for role, phrase in self.objects.items() if role != without}
        direct = self.subject if "W" in objects else objects.get("A") or objects.get("D")
        words = objects["I"].english(False) if "I" in objects else []
        particle = self.frame.particle.split()
        if direct and direct.is_pronoun and self.frame.particle and particle[-1] not in _FIXED_PARTICLES:
            words += [*direct.english(False), *particle]
        else:
            words = [*particle, *words, *(direct.english(False) if direct else [])]
        words += ["to", *objects["T"].english(False)] if "T" in objects else []
        if "P" in objects:
            words += [*self.frame.complement("P").preposition[2].split(), *objects["P"].english(False)]
        words += ["to", *objects["N"].english(False)] if "N" in objects else []
        words += ["with", *self.companion.english(False)] if self.companion else []
        words += [self.manner[1]] if self.manner else []
        words += [self.place[1], *self.place[2].english(False)] if self.place else []
        words += self.time[1].split() if self.time and self.front != "time" and not self.moved else []
        return words


def _asks_itself(subject):
    return subject.english(True) == ["who"]
