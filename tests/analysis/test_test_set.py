import pytest
from _analysis import entry, prepared_corpus, write

from labo_fairseq.analysis import test_set
from labo_fairseq.analysis.references import of_lines
from labo_fairseq.analysis.systems import read_system
from labo_fairseq.errors import UserError


def system(folder, *lines):
    return {"s": read_system("s", write(folder / "gen.txt", "".join(lines)))}


def test_a_prepared_corpus(tmp_path):
    corpus = prepared_corpus(tmp_path / "data", 5)
    from labo_fairseq.records.run_folder import corpus_at

    found = test_set.prepared(corpus_at(corpus))
    assert len(found.references.first) == len(found.sources) == 5 and found.lowercase and found.tokens is not None
    assert found.description == "de → en, 5 test sentences."
    (corpus / "raw/test.de").unlink()  # monolingual
    assert test_set.prepared(corpus_at(corpus)).sources is None
    write(corpus / "raw/test.de", "one line\n")
    with pytest.raises(UserError, match=r"raw/test.de: 1 sentences, but .*raw/test.en has 5"):
        test_set.prepared(corpus_at(corpus))


def test_the_lines_of_a_log_in_subwords(tmp_path):
    """Not detokenized while generating: T- are tokens, which fairseq's BLEU takes, and here become plain text."""
    lines = entry(0, "a ro@@ sa dog .", source="ein ro@@ sa hund .", target="the ro@@ sa dog . it &apos;s so .")
    found = test_set.of_files(system(tmp_path, lines))
    assert found.tokens.first == ["the rosa dog . it &apos;s so ."]
    assert found.references.first == ["the rosa dog. it's so."] and found.references.detokenized_as == "en"
    assert found.sources == ["ein rosa hund ."] and found.corpus is None and found.tokenize == "13a"


def test_the_lines_of_a_detokenized_log(tmp_path):
    lines = entry(0, "a dog .", "a dog.", "ein hund.", "the dog.")
    found = test_set.of_files(system(tmp_path, lines))
    assert found.references.first == ["the dog."] and found.references.detokenized_as is None and found.tokens is None


def test_files_of_the_user_come_first(tmp_path):
    found = test_set.of_files(
        system(tmp_path, entry(0, "a", target="t", source="s")), of_lines(["mine"], "ref"), "zh", ["quelle"], True
    )
    assert (found.references.first, found.sources, found.tokenize, found.lowercase) == (
        ["mine"],
        ["quelle"],
        "zh",
        True,
    )


def test_nothing_says_what_the_references_are(tmp_path):
    text = {"s": read_system("s", write(tmp_path / "text.txt", "a dog\n"))}
    with pytest.raises(UserError, match=r"--reference: none given, .* --data DIR, or --reference FILE"):
        test_set.of_files(text)
