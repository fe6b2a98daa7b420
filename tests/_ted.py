"""Excerpts in the formats of the released corpora, made up here: TED's tagged text and XML, WMT's text and SGML."""

import random

TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
_NOUNS = [("Hund", "dog"), ("Hut", "hat"), ("Ball", "ball"), ("Baum", "tree"), ("Berg", "mountain"), ("Weg", "way")]
_VERBS = [("sieht", "sees"), ("malt", "paints"), ("hat", "has"), ("kauft", "buys"), ("findet", "finds")]


def sentences(count, seed):
    """`count` made-up pairs (German, English)."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        (one, eins), (verb, does), (other, zwei) = rng.choice(_NOUNS), rng.choice(_VERBS), rng.choice(_NOUNS)
        pairs.append((f"Ein {one} {verb} den {other}.", f"A {eins} {does} the {zwei}."))
    return pairs


# pairs as they occur in TED's training text: what the tokenizer, the cleaner and the line reader trip over
ODD = [
    (" Das ist der T-Shirt-Laden, z.B. in St. Pölten usw. ", " That's the T-shirt shop, e.g. in St. Pölten etc. "),
    ("Er sagte: „Halt!“ (Gelächter)", 'He said: "Stop!" (Laughter)'),
    ("", "Thank you."),  # one side is empty
    ("Danke.", "  \u00a0 "),
    ("", ""),
    ("Ja", "Yes, of course, that is what I have always said about it."),  # ratio
    ("Zwei\u00a0Wörter\u2028und mehr.", "Two words\tand more."),
    ("Ein senkrechter | Strich.", "A vertical | bar."),
    ("A & B < C > D [E] `F` 'G'", "A & B < C > D [E] `F` 'G'"),
    ("lang " * 176, "long " * 176),
    ("gerade " * 175, "straight " * 175),
    ("W" * 1001 + " ist lang", "W" * 1001 + " is long"),
    ("Eins Zwei Drei", "One Two"),  # ratio 1.5 exactly: stays
    ("ÄÖÜ ΣΑΣ İstanbul", "ÄÖÜ ΣΑΣ İstanbul"),
    ("Am En\rde\r", "At the\rend\r"),
    ("1.000,5 Euro am 3. Mai, ca. 5 %", "1,000.5 euros on May 3rd, approx. 5%"),
    ("…und dann… ... .... Schluss.", "…and then… ... .... end."),
    ("".join(map(chr, range(0x4E00, 0x4F2C))),) * 2,  # one word, 300 subwords
    ("L’homme d'or", "L’homme d'or"),  # as in the test sets, whose subwords must not be unknown
    ("Nichts.", "Nothing."),
]


def tagged(folder, source="de", target="en", count=300, seed=1):
    """Write train.tags.SOURCE-TARGET.{SOURCE,TARGET}."""
    pairs = sentences(count, seed)
    for place, odd in enumerate(ODD):
        pairs.insert(7 * place + 3, odd)
    for side, language in enumerate((source, target)):
        lines = []
        for number, pair in enumerate(pairs):
            if number % 50 == 0:
                lines += [
                    f'<doc docid="{number}" genre="lectures">',
                    f"<url>http://www.ted.com/talks/{number}</url>",
                    "<keywords>talks, animals, hats</keywords>",
                    "<speaker>A. Speaker</speaker>",
                    f"<talkid>{number}</talkid>",
                    f"<title>{pair[side]}</title>",
                    f"<description>TED Talk: {pair[side]}</description>",
                    '<reviewer href="x">A. Reviewer</reviewer>',
                    '<translator href="x">A. Translator</translator>',
                ]
            lines.append(pair[side])
            if number % 50 == 49:
                lines.append("</doc>")
        write(folder / f"train.tags.{source}-{target}.{language}", "".join(f"{line}\n" for line in lines))


def old_tagged(path):
    """Rewrite a tagged file as the release of 2014 has it: without <doc>, <speaker>, <reviewer>, <translator>."""
    new = ("<doc", "</doc>", "<speaker>", "<reviewer", "<translator")
    lines = path.read_bytes().decode().split("\n")  # read_text would take \r for the end of a line
    write(path, "\n".join(line for line in lines if not line.startswith(new)))


def xml(path, lines, spaces="  "):
    """Write segments as the evaluation sets have them."""
    segments = "".join(f'<seg id="{number}">{spaces}{line}{spaces}</seg>\n' for number, line in enumerate(lines, 1))
    write(
        path,
        '<?xml version="1.0" encoding="UTF-8"?>\n<mteval>\n<srcset setid="iwslt" srclang="german">\n'
        '<doc docid="1" genre="lectures">\n<url>http://www.ted.com/talks/1</url>\n'
        f"<keywords>talks</keywords>\n<title>Titel</title>\n{segments}</doc>\n</srcset>\n</mteval>\n",
    )


def write(path, text):
    """Write UTF-8 with `\\n` and nothing else at the ends of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def iwslt14(folder, source="de", target="en", tests=TESTS):
    """A folder like the archive of IWSLT'14; each test set has 4 segments, with a ’ and an empty one."""
    pair = f"{source}-{target}"
    tagged(folder / pair, source, target)
    for side, language in enumerate((source, target)):
        old_tagged(folder / pair / f"train.tags.{pair}.{language}")
        for number, name in enumerate(tests):
            lines = [two[side] for two in sentences(2, number)] + ["L’homme d'or", "" if side else "Nichts."]
            xml(folder / pair / f"IWSLT14.{name}.{pair}.{language}.xml", lines, " " * (number % 3))
    return folder


def iwslt17(folder):
    """A folder like the archives of IWSLT'17, German and French."""
    for seed, source in enumerate(("de", "fr")):
        pair, back = f"{source}-en", f"en-{source}"
        tagged(folder / pair, source, "en", seed=seed)
        for year, name in enumerate(("dev2010", "tst2010", "tst2011", "tst2012", "tst2013", "tst2014", "tst2015")):
            for side, language in enumerate((source, "en")):
                lines = [two[side] for two in sentences(year + 1, year)]
                xml(folder / pair / f"IWSLT17.TED.{name}.{pair}.{language}.xml", lines)
        for side, (direction, language) in enumerate(((pair, source), (back, "en"))):
            path = folder / direction / f"IWSLT17.TED.tst2017.{direction}.{language}.xml"
            xml(path, [two[side] for two in sentences(5, 17)])
    return folder


def wmt14(folder, news="v12", tests=6):
    """A folder like the unpacked archives of WMT'14, with one odd pair and so many others as test set."""
    for seed, name in enumerate(("training/europarl-v7", "commoncrawl", f"training/news-commentary-{news}")):
        pairs = [*sentences(150, seed), *(ODD if seed == 1 else [])]
        for side, language in enumerate(("de", "en")):
            write(folder / f"{name}.de-en.{language}", "".join(f"{pair[side]}\n" for pair in pairs))
    test = [*sentences(tests, 99), ("„Ja“ – so ’was", "“Yes” – well-known ’tis")]
    for side, language in enumerate(("de", "en")):
        for kind in ("src", "ref"):
            lines = "".join(f'<seg id="{number}">{two[side]}</seg>\n' for number, two in enumerate(test, 1))
            write(
                folder / f"test-full/newstest2014-deen-{kind}.{language}.sgm",
                f'<{kind}set setid="newstest2014">\n<doc docid="1">\n<p>\n{lines}</p>\n</doc>\n</{kind}set>\n',
            )
        write(folder / f"dev/newstest2013.{language}", "".join(f"{two[side]}\n" for two in sentences(9, 13)))
    return folder
