"""Inflected forms against hand-written German and English grammar."""

import pytest
from labo_fairseq.data_prep.synthetic import english, german, words


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten gearbeitet haben"),
        ("lesen", "lese liest liest lesen gelesen haben"),
        ("fahren", "fahre fährst fährt fahren gefahren sein"),
        ("halten", "halte hältst hält halten gehalten haben"),
        ("nehmen", "nehme nimmst nimmt nehmen genommen haben"),
        ("tanzen", "tanze tanzt tanzt tanzen getanzt haben"),
        ("wohnen", "wohne wohnst wohnt wohnen gewohnt haben"),
        ("spielen", "spiele spielst spielt spielen gespielt haben"),
        ("bügeln", "bügle bügelst bügelt bügeln gebügelt haben"),
        ("füttern", "füttere fütterst füttert füttern gefüttert haben"),
        ("fotografieren", "fotografiere fotografierst fotografiert fotografieren fotografiert haben"),
        ("besuchen", "besuche besuchst besucht besuchen besucht haben"),
        ("begegnen", "begegne begegnest begegnet begegnen begegnet sein"),
        ("folgen", "folge folgst folgt folgen gefolgt sein"),
        ("mögen", "mag magst mag mögen gemocht haben"),
        ("wissen", "weiß weißt weiß wissen gewusst haben"),
        ("haben", "habe hast hat haben gehabt haben"),
        ("beschließen", "beschließe beschließt beschließt beschließen beschlossen haben"),
    ],
)
def test_conjugation(key, forms):
    verb = german.verb(key)
    present = [verb.present(person, False) for person in (1, 2, 3)] + [verb.present(1, True)]
    assert [*present, verb.participle, verb.auxiliary] == forms.split()


@pytest.mark.parametrize(
    ("key", "infinitive", "zu", "participle", "auxiliary"),
    [
        ("auf|stehen", "aufstehen", ["aufzustehen"], "aufgestanden", "sein"),
        ("an|kommen", "ankommen", ["anzukommen"], "angekommen", "sein"),
        ("ein|schlafen", "einschlafen", ["einzuschlafen"], "eingeschlafen", "sein"),
        ("an|rufen", "anrufen", ["anzurufen"], "angerufen", "haben"),
        ("fern|sehen", "fernsehen", ["fernzusehen"], "ferngesehen", "haben"),
        ("ein|kaufen", "einkaufen", ["einzukaufen"], "eingekauft", "haben"),
        ("vor|bereiten", "vorbereiten", ["vorzubereiten"], "vorbereitet", "haben"),
        ("aus|ziehen", "ausziehen", ["auszuziehen"], "ausgezogen", "haben"),
        ("aus|ziehen.s", "ausziehen", ["auszuziehen"], "ausgezogen", "sein"),
        ("um|ziehen", "umziehen", ["umzuziehen"], "umgezogen", "sein"),
        ("versuchen", "versuchen", ["zu", "versuchen"], "versucht", "haben"),
        ("überqueren", "überqueren", ["zu", "überqueren"], "überquert", "haben"),
    ],
)
def test_separable_and_inseparable_verbs(key, infinitive, zu, participle, auxiliary):
    verb = german.verb(key)
    assert (verb.infinitive, verb.zu_infinitive) == (infinitive, zu)
    assert (verb.participle, verb.auxiliary) == (participle, auxiliary)


def noun(name, kind):
    return next(item for item in words.NOUNS[kind] if item.german == name)


@pytest.mark.parametrize(
    ("name", "kind", "singular", "plural"),
    [
        ("Mann", "person", "Mann Mann Mann Mannes", "Männer Männer Männern Männer"),
        ("Frau", "person", "Frau Frau Frau Frau", "Frauen Frauen Frauen Frauen"),
        ("Kind", "person", "Kind Kind Kind Kindes", "Kinder Kinder Kindern Kinder"),
        ("Junge", "person", "Junge Jungen Jungen Jungen", "Jungen Jungen Jungen Jungen"),
        ("Polizist", "person", "Polizist Polizisten Polizisten Polizisten", "Polizisten " * 4),
        ("Lehrer", "person", "Lehrer Lehrer Lehrer Lehrers", "Lehrer Lehrer Lehrern Lehrer"),
        ("Chef", "family", "Chef Chef Chef Chefs", "Chefs Chefs Chefs Chefs"),
        ("Auto", "vehicle", "Auto Auto Auto Autos", "Autos Autos Autos Autos"),
        ("Haus", "building", "Haus Haus Haus Hauses", "Häuser Häuser Häusern Häuser"),
    ],
)
def test_declension_of_nouns(name, kind, singular, plural):
    item = noun(name, kind)
    assert [german.noun(item, case, False) for case in german.CASES] == singular.split()
    assert [german.noun(item, case, True) for case in german.CASES] == plural.split()


@pytest.mark.parametrize(
    ("endings", "expected"),
    [
        # der alte Mann, die alte Frau, das alte Haus, die alten Häuser; nominative, accusative, dative, genitive
        (german.WEAK, "alte alten alten alten|alte alte alten alten|alte alte alten alten|alten alten alten alten"),
        # ein alter Mann, eine alte Frau, ein altes Haus, keine alten Häuser
        (german.MIXED, "alter alten alten alten|alte alte alten alten|altes altes alten alten|alten alten alten alten"),
        # alter Wein, alte Butter, altes Brot, alte Häuser
        (german.STRONG, "alter alten altem alten|alte alte alter alter|altes altes altem alten|alte alte alten alter"),
    ],
)
def test_adjective_endings(endings, expected):
    rows = [[german.adjective("alt", endings, gender, case) for case in german.CASES] for gender in "mfnp"]
    assert rows == [row.split() for row in expected.split("|")]


@pytest.mark.parametrize(
    ("preposition", "article", "expected"),
    [("in", "dem", "im"), ("zu", "der", "zur"), ("an", "das", "ans"), ("bei", "dem", "beim"), ("von", "dem", "vom")],
)
def test_contracted_articles(preposition, article, expected):
    assert german.with_preposition(preposition, [article, "Garten"]) == [expected, "Garten"]


def test_prepositions_that_do_not_contract():
    assert german.with_preposition("mit", ["dem", "Hund"]) == ["mit", "dem", "Hund"]
    assert german.with_preposition("in", ["den", "Garten"]) == ["in", "den", "Garten"]


def test_compounds_take_gender_and_plural_of_their_head():
    garden_chair = words.compound("Garten", "garden", noun("Stuhl", "thing"))
    assert (garden_chair.german, garden_chair.gender, garden_chair.plural) == ("Gartenstuhl", "m", "Gartenstühle")
    assert (garden_chair.english, garden_chair.english_plural) == ("garden chair", "garden chairs")
    basket = words.filled("Apfel", "apples", noun("Korb", "container"))
    assert (basket.german, basket.plural) == ("Apfelkorb", "Apfelkörbe")
    assert (basket.english, basket.english_plural) == ("basket of apples", "baskets of apples")


@pytest.mark.parametrize(
    ("base", "third", "past", "participle", "gerund"),
    [
        ("read", "reads", "read", "read", "reading"),
        ("go", "goes", "went", "gone", "going"),
        ("carry", "carries", "carried", "carried", "carrying"),
        ("watch", "watches", "watched", "watched", "watching"),
        ("lie", "lies", "lay", "lain", "lying"),
        ("run", "runs", "ran", "run", "running"),
        ("plan", "plans", "planned", "planned", "planning"),
        ("take", "takes", "took", "taken", "taking"),
        ("visit", "visits", "visited", "visited", "visiting"),
        ("begin", "begins", "began", "begun", "beginning"),
        ("have", "has", "had", "had", "having"),
        ("enter", "enters", "entered", "entered", "entering"),
        ("play", "plays", "played", "played", "playing"),
    ],
)
def test_english_verbs(base, third, past, participle, gerund):
    got = (english.third_person(base), english.past(base), english.participle(base), english.gerund(base))
    assert got == (third, past, participle, gerund)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("apple", "an"), ("house", "a"), ("hour", "an"), ("honest man", "an"), ("university", "a"), ("uncle", "an")],
)
def test_article_goes_by_sound(word, expected):
    assert english.article(word) == expected


def test_plurals_and_possessives():
    assert [english.plural(word) for word in ("dog", "box", "city", "boy")] == ["dogs", "boxes", "cities", "boys"]
    got = [english.possessive("teacher"), english.possessive("teachers", True), english.possessive("children", True)]
    assert got == ["teacher's", "teachers'", "children's"]


def test_every_kind_in_the_tables_has_nouns():
    known = {*words.NOUNS, "town"}
    frames = {kind for frame in words.FRAMES for kind in frame.subjects}
    frames |= {kind for frame in words.FRAMES for item in frame.complements for kind in item.kinds}
    assert frames <= known
    assert {kind for adjective in words.ADJECTIVES for kind in adjective.kinds} <= known
    assert set(words.NOUNS) <= frames  # no noun that can never be drawn


def test_every_place_says_how_to_be_there():
    located = [item for kind in ("place", "building", "water") for item in words.NOUNS[kind]]
    assert {item.location[0] for item in located} == {"in", "an", "auf"}
    assert {item.location[1] for item in located} == {"in", "at", "on", "by"}
