"""Sentence patterns against hand-written translations."""

import pytest
from labo_fairseq.data_prep.synthetic import lexicon, verbs, words
from labo_fairseq.data_prep.synthetic.clauses import Clause
from labo_fairseq.data_prep.synthetic.phrases import Attribute, Name, Phrase, Pronoun, RelativePronoun
from labo_fairseq.data_prep.synthetic.sentences import contracted, sentence


def frame(infinitive, translation):
    found = [item for item in words.FRAMES if (item.verb.infinitive, item.english) == (infinitive, translation)]
    return found[0]


def phrase(kind, name, determiner="def", **more):
    noun = next(item for item in words.NOUNS[kind] if item.german == name)
    return Phrase(noun, determiner, **more)


def adjective(name):
    return next(item for item in words.ADJECTIVES if item.german == name)


def both(clause):
    end = "?" if clause.question else "."
    return sentence(clause.german_main(), end), sentence(clause.english_main(), end)


READ, BUY, CALL, GIVE = frame("lesen", "read"), frame("kaufen", "buy"), frame("anrufen", "call"), frame("geben", "give")
MAN, BOOK = phrase("person", "Mann"), phrase("text", "Buch", "indef")
OLD_BOY = phrase("person", "Junge", adjectives=[adjective("alt")])
ANNAS_OLD_BOOK = phrase("text", "Buch", owner=Name("Anna", "Anna", "f"), adjectives=[adjective("alt")])
BOUGHT_LETTER = phrase("text", "Brief", attribute=Attribute(BUY, phrase("person", "Lehrer"), ()))
ITS_FISH = phrase("food", "Fisch", ("ihr", "its"), possessive=True)

CASES = {
    "accusative": (
        Clause(frame("sehen", "see"), MAN, {"A": phrase("animal", "Hund", adjectives=[adjective("klein")])}),
        "Der Mann sieht den kleinen Hund.",
        "The man sees the small dog.",
    ),
    "accusative object in front": (
        Clause(frame("sehen", "see"), phrase("person", "Frau"), {"A": phrase("animal", "Hund")}, front="A"),
        "Den Hund sieht die Frau.",
        "The woman sees the dog.",
    ),
    "two objects": (
        Clause(GIVE, MAN, {"I": phrase("person", "Kind", plural=True), "A": phrase("food", "Apfel", "indef")}),
        "Der Mann gibt den Kindern einen Apfel.",
        "The man gives the children an apple.",
    ),
    "dative object": (
        Clause(frame("helfen", "help"), Pronoun("ich"), {"D": OLD_BOY}),
        "Ich helfe dem alten Jungen.",
        "I help the old boy.",
    ),
    "dative that is the English subject": (
        Clause(frame("gefallen", "like"), BOOK, {"W": phrase("person", "Lehrer")}, negated=True),
        "Ein Buch gefällt dem Lehrer nicht.",
        "The teacher does not like a book.",
    ),
    "separable verb in a main clause": (
        Clause(CALL, Name("Anna", "Anna", "f"), {"A": Pronoun("er")}, time=("heute", "today"), front="time"),
        "Heute ruft Anna ihn an.",
        "Today Anna calls him.",
    ),
    "English particle behind a pronoun": (
        Clause(frame("abholen", "pick"), Pronoun("wir"), {"A": Pronoun("sie")}, tense="past"),
        "Wir haben sie abgeholt.",
        "We picked her up.",
    ),
    "perfect with sein": (
        Clause(frame("ankommen", "arrive"), Pronoun("sie"), tense="past", place=("in", "in", Name("Wien", "Vienna"))),
        "Sie ist in Wien angekommen.",
        "She arrived in Vienna.",
    ),
    "inversion behind an adverbial": (
        Clause(READ, MAN, {"A": BOOK}, tense="past", time=("gestern", "yesterday"), front="time"),
        "Gestern hat der Mann ein Buch gelesen.",
        "Yesterday the man read a book.",
    ),
    "modal": (
        Clause(READ, MAN, {"A": BOOK}, modal="müssen"),
        "Der Mann muss ein Buch lesen.",
        "The man has to read a book.",
    ),
    "modal, past and negated": (
        Clause(frame("kommen", "come"), Pronoun("ich"), tense="past", modal="können", negated=True),
        "Ich konnte nicht kommen.",
        "I could not come.",
    ),
    "kein": (
        Clause(BUY, Pronoun("er"), {"A": phrase("thing", "Tasche", "no", plural=True)}, tense="past", negated=True),
        "Er hat keine Taschen gekauft.",
        "He did not buy any bags.",
    ),
    "nicht": (
        Clause(READ, Pronoun("er"), {"A": phrase("text", "Buch", "this")}, negated=True),
        "Er liest dieses Buch nicht.",
        "He does not read this book.",
    ),
    "question with do": (
        Clause(READ, Pronoun("du"), {"A": BOOK}, question=("", "")),
        "Liest du ein Buch?",
        "Do you read a book?",
    ),
    "question for the subject": (
        Clause(READ, Pronoun("wer"), {"A": BOOK}, tense="past"),
        "Wer hat ein Buch gelesen.",
        "Who read a book.",
    ),
    "gern": (
        Clause(READ, MAN, {"A": phrase("text", "Brief", "none", plural=True)}, gladly=True),
        "Der Mann liest gern Briefe.",
        "The man likes to read letters.",
    ),
    "progressive": (
        Clause(READ, MAN, {"A": BOOK}, tense="progressive"),
        "Der Mann liest gerade ein Buch.",
        "The man is reading a book.",
    ),
    "future": (
        Clause(READ, MAN, {"A": BOOK}, tense="future"),
        "Der Mann wird ein Buch lesen.",
        "The man will read a book.",
    ),
    "genitive owner": (
        Clause(READ, MAN, {"A": phrase("text", "Buch", owner=phrase("person", "Kollege"))}),
        "Der Mann liest das Buch des Kollegen.",
        "The man reads the colleague's book.",
    ),
    "owner with a name": (
        Clause(READ, MAN, {"A": ANNAS_OLD_BOOK}),
        "Der Mann liest Annas altes Buch.",
        "The man reads Anna's old book.",
    ),
    "possessive": (
        Clause(READ, Pronoun("sie"), {"A": phrase("text", "Brief", ("ihr", "her"), possessive=True)}),
        "Sie liest ihren Brief.",
        "She reads her letter.",
    ),
    "participle attribute": (
        Clause(READ, Pronoun("ich"), {"A": BOUGHT_LETTER}),
        "Ich lese den vom Lehrer gekauften Brief.",
        "I read the letter bought by the teacher.",
    ),
    "possessive of an animal": (
        Clause(frame("fressen", "eat"), phrase("animal", "Katze"), {"A": ITS_FISH}),
        "Die Katze frisst ihren Fisch.",
        "The cat eats its fish.",
    ),
    "Herr in the dative": (
        Clause(frame("danken", "thank"), Pronoun("wir"), {"D": Name("Herr Koch", "Mr. Koch", "m")}, tense="past"),
        "Wir haben Herrn Koch gedankt.",
        "We thanked Mr. Koch.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_main_clause(name):
    clause, german, english = CASES[name]
    assert both(clause) == (german, english)


def test_subordinate_clause_joins_prefix_and_puts_the_verb_last():
    clause = Clause(CALL, MAN, {"A": Name("Eva", "Eva", "f")})
    assert " ".join(["weil", *clause.german_subordinate()]) == "weil der Mann Eva anruft"
    clause.tense = "past"
    assert " ".join(clause.german_subordinate()) == "der Mann Eva angerufen hat"
    clause.tense, clause.modal = "present", "wollen"
    assert " ".join(clause.german_subordinate()) == "der Mann Eva anrufen will"


def test_main_clause_after_a_subordinate_one_starts_with_the_verb():
    clause = Clause(frame("aufstehen", "get"), Pronoun("er"), tense="past")
    assert " ".join(clause.german_after()) == "ist er aufgestanden"


def test_zu_infinitive():
    clause = Clause(frame("aufmachen", "open"), MAN, {"A": phrase("opening", "Fenster")})
    assert " ".join(clause.german_zu()) == "das Fenster aufzumachen"
    assert " ".join(clause.english_to()) == "to open the window"


def relative_sentence(kind, name, role, pronoun_role):
    who = phrase(kind, name)
    pronoun = RelativePronoun(who, is_person=kind == "person")
    if role == "subject":
        who.relative = Clause(READ, pronoun, {"A": BOOK}, tense="past")
    else:
        used = BUY if role == "A" else frame("helfen", "help")
        who.relative = Clause(used, Pronoun("wir"), {role: pronoun}, tense="past", front=role)
    return both(Clause(frame("sehen", "see"), Pronoun("ich"), {"A": who}))


@pytest.mark.parametrize(
    ("kind", "name", "role", "german", "english"),
    [
        ("person", "Mann", "subject", "Ich sehe den Mann, der ein Buch gelesen hat.", "I see the man who read a book."),
        ("vehicle", "Zug", "A", "Ich sehe den Zug, den wir gekauft haben.", "I see the train that we bought."),
        ("person", "Frau", "D", "Ich sehe die Frau, der wir geholfen haben.", "I see the woman whom we helped."),
        ("vehicle", "Auto", "A", "Ich sehe das Auto, das wir gekauft haben.", "I see the car that we bought."),
    ],
)
def test_relative_clause(kind, name, role, german, english):
    assert relative_sentence(kind, name, role, role) == (german, english)


def test_relative_clause_in_front_is_closed_by_a_comma():
    man = phrase("person", "Mann")
    man.relative = Clause(READ, RelativePronoun(man, True), {"A": BOOK})
    german, english = both(Clause(frame("schlafen", "sleep"), man))
    assert german == "Der Mann, der ein Buch liest, schläft."
    assert english == "The man who reads a book sleeps."


@pytest.mark.parametrize(
    ("infinitive", "kind", "noun", "english"),
    [
        ("treffen", "family", "Onkel", "meet"),
        ("treffen", "target", "Ziel", "hit"),
        ("gießen", "plant", "Blume", "water"),
        ("gießen", "drink", "Tee", "pour"),
        ("ausziehen", "clothing", "Mantel", "take"),
        ("abnehmen", "headwear", "Hut", "take"),
        ("aufgeben", "habit", "Hobby", "give"),
        ("aufgeben", "parcel", "Paket", "mail"),
        ("überfallen", "bank", "Bank", "rob"),
        ("streichen", "bench", "Bank", "paint"),
        ("knacken", "lock", "Schloss", "pick"),
        ("besichtigen", "castle", "Schloss", "visit"),
    ],
)
def test_the_object_decides_on_the_translation(infinitive, kind, noun, english):
    found = {
        item.english
        for item in words.FRAMES
        if item.verb.infinitive == infinitive and item.complement("A") and kind in item.complement("A").kinds
    }
    assert found == {english}
    assert noun in {item.german for item in words.NOUNS[kind]}


def test_ambiguous_nouns_never_meet_a_verb_that_leaves_them_ambiguous():
    senses = {}
    for kind, nouns in words.NOUNS.items():
        for item in nouns:
            senses.setdefault((item.german, item.gender), {}).setdefault(item.english, set()).add(kind)
    ambiguous = {word: found for word, found in senses.items() if len(found) > 1}
    assert len(ambiguous) >= 12
    for found in ambiguous.values():
        for item in words.FRAMES:
            for complement in item.complements:
                fitting = [english for english, kinds in found.items() if kinds & set(complement.kinds)]
                assert len(fitting) <= 1, (item.verb.infinitive, fitting)


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("He does not sleep.", "He doesn't sleep."),
        ("Why could you not come?", "Why could you not come?"),
        ("They cannot come and will not write.", "They can't come and won't write."),
        ("I am not nothing.", "I am not nothing."),
    ],
)
def test_contractions(full, short):
    assert contracted(full) == short


def test_synonyms_keep_the_german_word_and_its_number():
    car = words.synonym(next(item for item in words.NOUNS["vehicle"] if item.german == "Auto"))
    assert (car.german, car.english, car.english_plural) == ("Auto", "automobile", "automobiles")
    pick_up = words.verb_synonym(frame("abholen", "pick"))
    assert (pick_up.verb.infinitive, pick_up.english, pick_up.particle) == ("abholen", "collect", "")
    assert words.verb_synonym(READ) is READ


def test_every_synonym_is_for_a_word_that_exists():
    nouns_and_adjectives = [*words.ADJECTIVES, *(item for kind in words.NOUNS.values() for item in kind)]
    changed = [item for item in nouns_and_adjectives if words.synonym(item) is not item]
    assert {item.english for item in changed} == {line.split()[0] for line in lexicon.SYNONYMS.strip().split("\n")}
    varied = [item for item in words.FRAMES if words.verb_synonym(item) is not item]
    listed = {line.split()[0].replace("_", " ") for line in verbs.SYNONYMS.strip().split("\n")}
    assert {f"{item.english} {item.particle}".strip() for item in varied} == listed
