"""German inflection for the embedded corpus: verbs, articles, adjectives, nouns.

Cases are the strings nom, acc, dat and gen; genders m, f and n, and p for every plural.
"""

import re
from dataclasses import dataclass

from .verbs import FORMS

CASES = ("nom", "acc", "dat", "gen")


def _table(*rows):
    """Rows of endings in the order of CASES, for m, f, n and p."""
    return {gender: dict(zip(CASES, row.split(), strict=True)) for gender, row in zip("mfnp", rows, strict=True)}


DEFINITE = _table("der den dem des", "die die der der", "das das dem des", "die die den der")
RELATIVE = _table("der den dem dessen", "die die der deren", "das das dem dessen", "die die denen deren")
# endings of dieser, jeder; of ein, kein, mein ("-": none); and of adjectives without, after der and after ein
DER_WORD = _table("er en em es", "e e er er", "es es em es", "e e en er")
EIN_WORD = _table("- en em es", "e e er er", "- - em es", "e e en er")
STRONG = _table("er en em en", "e e er er", "es es em en", "e e en er")
WEAK = _table("e en en en", "e e en en", "e e en en", "en en en en")
MIXED = _table("er en en en", "e e en en", "es es en en", "en en en en")

CONTRACTED = {
    ("in", "dem"): "im", ("in", "das"): "ins", ("an", "dem"): "am", ("an", "das"): "ans", ("zu", "dem"): "zum",
    ("zu", "der"): "zur", ("von", "dem"): "vom", ("bei", "dem"): "beim",
}  # fmt: skip


def der_word(stem, gender, case):
    """dies-, jed- with its ending."""
    return stem + DER_WORD[gender][case]


def ein_word(stem, gender, case):
    """ein, kein, mein, ... with its ending; euer and unser keep their e."""
    return stem + EIN_WORD[gender][case].replace("-", "")


def adjective(stem, endings, gender, case):
    """An attributive adjective; endings is STRONG, WEAK or MIXED."""
    return stem + endings[gender][case]


def noun(word, case, is_plural):
    """A noun (words.Noun) in a case and number: Tag, Tages, Tagen; weak ones Junge, Jungen."""
    if is_plural:
        return word.plural + ("n" if case == "dat" and word.plural[-1] not in "ns" else "")
    if word.weak and case != "nom":
        return word.plural
    if case == "gen" and word.gender != "f":
        return word.german + ("es" if _takes_es(word.german) else "s")
    return word.german


def _takes_es(word):
    if word[-1] in "sßxz":
        return True
    return word != "Chef" and len(re.findall(r"aa|ee|ei|eu|au|äu|ie|[aeiouyäöü]", word.lower())) == 1


def with_preposition(preposition, words):
    """Preposition and noun phrase (a list of words), contracted where German does: in dem -> im."""
    contracted = CONTRACTED.get((preposition, words[0]))
    return [contracted, *words[1:]] if contracted else [preposition, *words]


@dataclass(frozen=True)
class Verb:
    """A verb: prefix ("" if not separable), infinitive without it, er form, participle with the prefix, auxiliary."""

    prefix: str
    base: str
    third: str
    participle: str
    auxiliary: str  # haben or sein

    @property
    def infinitive(self):
        """aufstehen"""
        return self.prefix + self.base

    @property
    def zu_infinitive(self):
        """["zu", "gehen"], or ["aufzustehen"] where the prefix is separable"""
        return [f"{self.prefix}zu{self.base}"] if self.prefix else ["zu", self.base]

    def present(self, person, is_plural):
        """The finite form without its prefix: stehe, stehst, steht, stehen."""
        if self.base in PRESENT:
            return PRESENT[self.base][3 if is_plural else person - 1]
        if is_plural:
            return self.base
        return (self._first(), self._second(), self.third)[person - 1]

    def _first(self):
        stem = _stem(self.base)
        return stem[:-2] + "le" if self.base.endswith("eln") else stem + "e"

    def _second(self):
        regular = self.third == _third(self.base)
        stem = self.third if not regular and not self.third.endswith("t") else self.third.removesuffix("t")
        if not regular and _stem(self.base).endswith("t"):
            stem = self.third  # er hält, du hältst
        return stem + ("t" if stem[-1] in "sßxz" else "st")


# ich, du, er, plural; past tense only where the spoken language uses it
PRESENT = {
    "sein": ("bin", "bist", "ist", "sind"),
    "haben": ("habe", "hast", "hat", "haben"),
    "werden": ("werde", "wirst", "wird", "werden"),
    "mögen": ("mag", "magst", "mag", "mögen"),
    "wissen": ("weiß", "weißt", "weiß", "wissen"),
    "können": ("kann", "kannst", "kann", "können"),
    "müssen": ("muss", "musst", "muss", "müssen"),
    "wollen": ("will", "willst", "will", "wollen"),
    "sollen": ("soll", "sollst", "soll", "sollen"),
    "dürfen": ("darf", "darfst", "darf", "dürfen"),
    "möchten": ("möchte", "möchtest", "möchte", "möchten"),
}
PAST = {
    "sein": ("war", "warst", "war", "waren"),
    "haben": ("hatte", "hattest", "hatte", "hatten"),
    "werden": ("wurde", "wurdest", "wurde", "wurden"),
    "können": ("konnte", "konntest", "konnte", "konnten"),
    "müssen": ("musste", "musstest", "musste", "mussten"),
    "wollen": ("wollte", "wolltest", "wollte", "wollten"),
}


def finite(name, tense, person, is_plural):
    """A form of sein, haben, werden or a modal verb; tense is "present" or "past"."""
    return (PRESENT if tense == "present" else PAST)[name][3 if is_plural else person - 1]


def _stem(base):
    return base[:-2] if base.endswith("en") else base[:-1]


def _needs_e(stem):
    # arbeit-et, find-et, öffn-et, regn-et, but lern-t, wohn-t
    return re.search(r"([dt]|([bdfgkpt]|ch)[mn])$", stem) is not None


def _third(base):
    stem = _stem(base)
    return stem + ("et" if _needs_e(stem) else "t")


def _regular_participle(base):
    inseparable = base.startswith(("be", "ge", "er", "ver", "zer", "ent", "emp", "über", "unter"))
    return ("" if inseparable or base.endswith("ieren") else "ge") + _third(base)


def _read_forms():
    forms = {}
    for line in FORMS.strip().split("\n"):
        key, third, participle, *aux = line.split()
        prefix, _, base = key.removesuffix(".s").rpartition("|")
        forms[key] = Verb(
            prefix,
            base,
            _third(base) if third == "-" else third,
            prefix + (_regular_participle(base) if participle == "-" else participle),
            "sein" if aux else "haben",
        )
    return forms


_LISTED = _read_forms()


def verb(key):
    """The Verb for an infinitive with "|" behind its separable prefix; ".s" marks a second sense with sein."""
    if key in _LISTED:
        return _LISTED[key]
    prefix, _, base = key.removesuffix(".s").rpartition("|")
    simple = _LISTED.get(base) or Verb("", base, _third(base), _regular_participle(base), "haben")
    return Verb(prefix, base, simple.third, prefix + simple.participle, simple.auxiliary)
