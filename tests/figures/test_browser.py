"""The report in a real browser: headless Chromium, driven by playwright. Skipped where either is missing.

pip install -c constraints.txt playwright; apt install chromium
"""

import json
import random
import re
import shutil

import pytest
from _analysis import WORDS, detokenized, entry, finished_run, labo, prepared_corpus, sentences, write

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")

EVIL = '<script>alert(1)</script> <img/src=x/onerror=alert(1)> &amp; "quoted"'
RELIABILITY = "when\tbin_low\tbin_high\tcount\tconfidence\taccuracy\taccuracy_low\taccuracy_high\n" + "".join(
    f"{when}\t{low}\t{high}\t40\t{mean}\t{right}\t{right}\t{right}\n"
    for when in ("before", "after")
    for low, high, mean, right in (("0.0", "0.5", 0.3, 0.5), ("0.5", "1.0", 0.8, 0.9))
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two runs, one of them calibrated, and a plain text; hostile text in corpus and translations."""
    path = tmp_path_factory.mktemp("browser")
    corpus = prepared_corpus(path / "data", 60, odd=EVIL)
    base = finished_run(path / "base", corpus, 0.4, criterion="label_smoothing", odd="shorter")
    run = finished_run(path / "labo", corpus, 0.2, seed=2, odd=EVIL)
    write(run / "reliability.tsv", RELIABILITY)
    text = write(path / "text.txt", "".join(detokenized(line) + "\n" for line in sentences(60)))
    options = ("--samples", 20, "--trials", 20, "--title", f"About {EVIL}", "--examples", 3)
    result = labo("report", base, run, "--system", f"text={text}", *options, "--out", path / "out")
    assert result.returncode == 0, result.stderr
    return path / "out" / "report.html"


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Function: visit(file, width=, scheme=, script=) -> the page; any message in the console fails the test."""
    messages, contexts = [], []

    def go(file, width=1280, scheme="light", script=True):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: messages.append(request.url) if "report.html" not in request.url else None)
        page.goto(file.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert not messages


def data_of(file):
    text = file.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="sentences">(.*?)</script>', text, re.DOTALL)[1])


def shown_ids(page):
    """The ids of all sentences found, the rest being called up by scrolling."""
    while page.locator(".more").is_visible():
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(20)
    return [int(re.match(r"id (\d+)", text)[1]) for text in page.locator(".cards .card h3").all_text_contents()]


def test_search(report, visit):
    page, everything = visit(report), data_of(report)["sentences"]
    assert shown_ids(page) == list(range(60))
    page.fill("[name=search]", "MEADOW")
    wanted = [s["id"] for s in everything if "meadow" in json.dumps(s)]
    assert 0 < len(wanted) < 60 and shown_ids(page) == wanted
    assert page.inner_text(".count") == f"{len(wanted)} of 60 sentences"
    page.fill("[name=search]", "<script>alert(1)")
    assert shown_ids(page) == [0]
    page.fill("[name=search]", "nobody wrote this")
    assert shown_ids(page) == [] and page.inner_text(".count") == "0 of 60 sentences"


def test_filters(report, visit):
    page, data = visit(report), data_of(report)
    page.fill("[name=least]", "6")
    page.fill("[name=most]", "8")
    assert shown_ids(page) == [s["id"] for s in data["sentences"] if 6 <= s["words"] <= 8]
    page.fill("[name=least]", "")
    page.fill("[name=most]", "")
    page.select_option("[name=split]", label="least")
    least = data["splits"].index("least")
    assert shown_ids(page) == [s["id"] for s in data["sentences"] if s["split"] == least]
    page.select_option("[name=split]", label="all")
    for label, winner in (("base", 0), ("text", 2), ("none: equal", None)):
        page.select_option("[name=winner]", label=label)
        wanted = []
        for s in data["sentences"]:
            scores = [out[0] for out in s["out"]]
            best = [i for i, score in enumerate(scores) if score == max(scores)]
            wanted += [s["id"]] if (best == [winner] if winner is not None else len(best) > 1) else []
        assert shown_ids(page) == wanted, label


KEYS = {
    "difference": lambda s: s["out"][1][0] - s["out"][0][0],
    "score": lambda s: s["out"][1][0],
    "confidence": lambda s: s["out"][1][1],
    "disagreement": lambda s: s["disagreement"],
    "length": lambda s: s["words"],
}


@pytest.mark.parametrize("key", KEYS)
def test_order(report, visit, key):
    """By default of the second system, against the first; equal ones stay in the order of the text."""
    page, everything = visit(report), data_of(report)["sentences"]
    page.select_option("[name=sort]", key)
    for direction, sign in (("down", -1), ("up", 1)):
        page.select_option("[name=direction]", direction)
        assert shown_ids(page) == [s["id"] for s in sorted(everything, key=lambda s: (sign * KEYS[key](s), s["id"]))]


def test_the_difference_is_of_the_chosen_systems_and_others_can_be_hidden(report, visit):
    page, everything = visit(report), data_of(report)["sentences"]
    page.select_option("[name=system]", label="text")
    page.select_option("[name=against]", label="labo")
    page.select_option("[name=sort]", "difference")
    assert shown_ids(page) == [
        s["id"] for s in sorted(everything, key=lambda s: (s["out"][1][0] - s["out"][2][0], s["id"]))
    ]
    assert page.locator(".cards .card").first.locator(".systems dt").count() == 3
    page.uncheck("[name=show0]")
    assert page.locator(".cards .card").first.locator("dt b").all_inner_texts() == ["labo", "text"]
    page.select_option("[name=system]", label="text")
    page.select_option("[name=sort]", "confidence")  # a plain text has none
    assert len(shown_ids(page)) == 60


def test_tokens_are_shaded_and_say_their_probability(report, visit):
    page, data = visit(report), data_of(report)
    out = data["sentences"][5]["out"]
    card = page.locator(".cards .card").nth(5)
    for number, system in enumerate(data["systems"][:2]):
        spans = card.locator(".systems dl").nth(number).locator(".t")
        assert spans.count() == len(out[number][3])
        for place in (0, 1, len(out[number][3]) - 1):
            raw = out[number][3][place]
            p = system["calibrated"][raw] if system["calibrated"] else raw
            assert f"p{min(9, p // 100)}" in spans.nth(place).get_attribute("class").split()
            spans.nth(place).hover()
            text = out[number][2][place].strip() if place < len(out[number][2]) else "end"
            calibrated = f", calibrated {p / 1000:.3f}" if system["calibrated"] else ""
            assert page.inner_text("#tip") == f"{text}: p {raw / 1000:.3f}{calibrated}"
    assert data["systems"][0]["calibrated"] is None and data["systems"][1]["calibrated"][300] == 500
    assert not card.locator(".systems dl").nth(2).locator("[class*=p]").count()  # the plain text has no probabilities
    # a lower probability has the stronger shade
    shade = "e => parseFloat(getComputedStyle(e).backgroundColor.split(',')[3])"
    assert page.locator(".legend .p0").first.evaluate(shade) > page.locator(".legend .p5").first.evaluate(shade)


def test_differing_words_are_underlined(report, visit):
    page, data = visit(report), data_of(report)
    pieces, marks = data["sentences"][5]["out"][0][2], data["sentences"][5]["out"][0][4]
    marked = page.locator(".cards .card").nth(5).locator(".systems dl").first.locator(".d")
    assert marked.all_text_contents() == [p.strip() for p, m in zip(pieces, marks, strict=True) if m == "1"] != []
    assert "underline" in marked.first.evaluate("e => getComputedStyle(e).textDecorationLine")


def test_values_of_a_curve_show_on_hover(report, visit):
    page = visit(report)
    points = page.locator("figure[aria-label^='training curves'] .tip")
    texts = points.locator("title").all_text_contents()
    assert "base; update 1200: 2.5" in texts and len(texts) == points.count()
    points.nth(texts.index("base; update 1200: 2.5")).locator("circle").hover(force=True)
    assert page.locator("#tip").is_visible() and "update 1200: 2.5" in page.inner_text("#tip")
    page.mouse.move(2, 2)
    assert page.locator("#tip").is_hidden()


def test_tables_are_sorted_by_a_click_and_by_the_keyboard(report, visit):
    page = visit(report)
    table = page.locator("table").first
    updates = "tbody td:nth-child(1)"
    assert table.locator(updates).all_inner_texts() == ["base", "labo", "text"]
    bleu = table.locator("thead th").get_by_text("BLEU", exact=True)
    column = 5

    def values():
        return [float(text) for text in table.locator(f"tbody td:nth-child({column})").all_inner_texts()]

    bleu.click()
    assert values() == sorted(values()) and bleu.get_attribute("aria-sort") == "ascending"
    bleu.press("Enter")
    assert values() == sorted(values(), reverse=True) and bleu.get_attribute("aria-sort") == "descending"
    steps = table.locator("thead th").get_by_text("updates", exact=True)
    for _ in range(2):  # what has no number stays below, either way
        steps.click()
        assert table.locator("tbody td:nth-child(3)").all_inner_texts()[-1] == "–"
    assert bleu.get_attribute("aria-sort") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(report, visit, scheme):
    page = visit(report, scheme=scheme)
    luminance = (
        "e => { const c = getComputedStyle(e)[%r].match(/\\d+/g).map(Number); return (c[0] + c[1] + c[2]) / 765 }"
    )
    paper = page.locator("body").evaluate(luminance % "backgroundColor")
    for place, kind in (("body", "color"), ("figure svg text", "fill"), (".card dd", "color"), ("input", "color")):
        ink = page.locator(place).first.evaluate(luminance % kind)
        assert abs(paper - ink) > 0.6, place
    assert (paper > 0.9) == (scheme == "light")


@pytest.mark.parametrize("width", [390, 320, 768])
def test_nothing_is_cut_off_on_narrow_screens(report, visit, width):
    """No element reaches beyond the right edge; on phones tables need no scrolling of their own."""
    page = visit(report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if width < 700:
        over = page.evaluate(
            "[...document.querySelectorAll('.scroll, form, .card')].filter(e => e.scrollWidth > e.clientWidth + 1)"
            ".map(e => e.textContent.slice(0, 60))"
        )
        assert over == []
        cell = page.locator("table.wide tbody td.n").first
        label = cell.evaluate("e => getComputedStyle(e, '::before').content")
        assert label == json.dumps(cell.get_attribute("data-label"))


def test_without_javascript_everything_but_the_browser_is_there(report, visit):
    page = visit(report, script=False)
    assert page.locator("form").is_hidden() and "sentences.tsv" in page.inner_text("noscript")
    assert page.locator("figure svg").count() >= 5 and page.locator("table").first.is_visible()
    examples = page.locator("section", has=page.locator("h2:text-is('Examples')")).locator(".card")
    assert examples.count() >= 6
    assert re.fullmatch(r".+: p 0\.\d{3}", examples.first.locator(".t").first.get_attribute("title"))


def test_hostile_text_is_text(report, visit):
    page = visit(report)
    assert page.title() == f"About {EVIL}" and page.locator("img").count() == 0
    page.fill("[name=search]", "alert(1)")
    assert EVIL.partition(" &")[0] in page.locator(".cards .card").first.inner_text()


def test_it_prints(report, visit):
    page = visit(report)
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("form").is_hidden() and page.locator("nav").is_hidden()
    assert page.locator("h2:text-is('Scores')").is_visible()


@pytest.mark.slow
def test_ten_systems_of_three_thousand_sentences(tmp_path, visit):
    """30,000 translations: only the first cards are made, whatever is asked for."""
    rng, lines = random.Random(1), sentences(3000)
    arguments = []
    for number in range(10):
        log = []
        for i, words in enumerate(lines):
            mine = [rng.choice(WORDS) if rng.random() < 0.3 else word for word in words]
            scores = [-rng.random() for _ in range(len(mine) + 1)]
            log.append(entry(i, " ".join(mine), detokenized(mine), "quelle", detokenized(words), positional=scores))
        file = write(tmp_path / f"{number}.txt", "".join(log))
        arguments += ["--system", f"system {number}={file}"]
    done = labo("report", *arguments, "--significance", "none", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = visit(tmp_path / "out" / "report.html")
    page.locator(".cards .card").first.wait_for()
    for key, value in (("sort", "disagreement"), ("direction", "up"), ("winner", "3")):
        page.select_option(f"[name={key}]", value)
        assert 0 < page.locator(".cards .card").count() <= 40
    page.select_option("[name=winner]", "")
    page.fill("[name=search]", "tree")
    assert page.inner_text(".count").endswith(" of 3000 sentences")
    assert page.locator(".cards .card").count() <= 40
    assert (tmp_path / "out" / "report.html").stat().st_size < 30e6
