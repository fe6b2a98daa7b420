"""A word-by-word dictionary translator from the generator's own lexicon: the floor that a real model must beat.

It is a fair one: it knows every inflected form of every word, contracted articles and a/an, copies names and what else
the lexicon has not got (compounds), and takes the translation that stands first there, that is the most frequent one.
It knows no inflection of English and no word order.
"""

import re

from labo_fairseq.data_prep.synthetic import german, lexicon, verbs, words

GENDERS = "mfnp"
FUNCTION_WORDS = """
nicht not|dass that|ob whether|weil because|wenn when|als when|obwohl although|bevor before|während while|und and
aber but|denn because|zu to|um to|mit with|in in|auf on|an at|aus from|von from|nach to|vor before|unter under
durch through|für for|über about|sehr very|gerade now|gern gladly|bitte please|es it|gibt gives|im in_the|am on_the
zum to_the|zur to_the|vom from_the|ins into_the|ans to_the|wann when|warum why|wo where|wie how|wer who|was what
wen whom|wem whom|Herr Mr.|Herrn Mr.|Frau Ms.|Euro euros|Uhr o'clock|Jahr year|Jahre years|Jahren years|Tagen days
Wochen weeks|Monaten months|ist is|sind are|bin am|bist are|war was|waren were|hat has|haben have|habe have
hast have|wird will|werden will|werde will|wirst will|wurde was|wurden were|kann can|können can|kannst can
konnte could|konnten could|muss must|müssen must|musst must|musste had_to|mussten had_to|will want_to|wollen want_to
wollte wanted_to|wollten wanted_to|soll should|sollen should|darf may|dürfen may|möchte would_like_to
möchten would_like_to|ihn him|ihm him|ihr her|ihnen them|mich me|mir me|uns us|Ihnen you|ich I|du you|er he|sie she
wir we|Sie you|auf up|ein a
"""


def translator():
    """A function German sentence -> English sentence."""
    table = _table()

    def word(token):
        if token in table:
            return table[token]
        lowered = token[0].lower() + token[1:]
        if lowered in table:
            return table[lowered]
        return token

    def translate(sentence):
        tokens = re.findall(r"[\wäöüß]+|[.,?]", sentence)
        text = " ".join(word(token) for token in tokens)
        text = re.sub(r" ([.,?])", r"\1", re.sub(r"\ba (?=[aeiou])", "an ", text))
        return text[0].upper() + text[1:]

    return translate


def _table():
    """German form -> English; what is entered first stays."""
    table = {}

    def enter(form, translation):
        table.setdefault(form, translation.replace("_", " "))

    for entry in re.split(r"[|\n]", FUNCTION_WORDS.strip()):
        enter(*entry.split())
    for stem, translation in words.pairs("d the|dies this|jed every|kein no|ein a|viel many"):
        for ending in ("er", "ie", "as", "es", "en", "em", "e", ""):
            enter(stem + ending, translation)
    for own, translation in words.pairs("mein my|dein your|sein his|ihr her|unser our|Ihr your"):
        for ending in ("", "e", "en", "em", "er", "es"):
            enter(own + ending, translation)
    for kind in words.NOUNS.values():
        for noun in kind:
            for case in german.CASES:
                enter(german.noun(noun, case, False), noun.english)
            for case in german.CASES if noun.plural else ():
                enter(german.noun(noun, case, True), noun.english)
    for adjective in words.ADJECTIVES:
        for ending in ("", "e", "en", "er", "es", "em"):
            enter((adjective.stem if ending else adjective.german) + ending, adjective.english)
    for line in lexicon.COMPARATIVES.strip().split("\n"):
        enter(line.split()[1], line.split()[2])
    for frame in words.FRAMES:
        _enter_verb(enter, frame.verb, frame.english)
        if frame.particle and frame.verb.prefix:
            enter(frame.verb.prefix, frame.particle)
    for group in (verbs.WITH_ZU, verbs.WITH_DASS, "fragen ask"):
        for infinitive, translation in words.pairs(group):
            _enter_verb(enter, german.verb(infinitive), translation)
    for times in lexicon.TIMES.values():
        for line in times.strip().split("\n"):
            source, target = line.split("|")
            if " " not in source:
                enter(source, target)
            elif len(source.split()) == len(target.split()) == 2:
                for pair in zip(source.split(), target.split(), strict=True):
                    enter(*pair)
    for group in (lexicon.FREQUENCIES, lexicon.MANNERS, lexicon.COMMENTS, lexicon.NUMBERS):
        for source, target in words.pairs(group):
            enter(source, target.rstrip(","))
    for line in lexicon.RENAMED_TOWNS.strip().split("\n"):
        enter(*line.split())
    return table


def _enter_verb(enter, verb, translation):
    for form in (verb.infinitive, verb.participle, verb.zu_infinitive[-1]):
        enter(form, translation)
    for person, plural in ((1, False), (2, False), (3, False), (1, True)):
        for prefix in ("", verb.prefix):
            enter(prefix + verb.present(person, plural), translation)
