"""A run folder on a corpus of several pairs of languages: its direction is the second line of `data`."""

import json

import pytest

from labo_fairseq.errors import UserError
from labo_fairseq.records.run_folder import read_corpus


@pytest.fixture
def run(tmp_path):
    """Function: the run folder whose file `data` has these lines after the first."""
    corpus = tmp_path / "corpus"
    (corpus / "raw").mkdir(parents=True)
    (corpus / "manifest.json").write_text(json.dumps({"source": "de,fr", "target": "en", "lowercased": True}))
    (corpus / "raw/test.fr-en.en").write_text("A dog.\n")

    def write(*lines):
        (tmp_path / "data").write_text("\n".join(["corpus", *lines]) + "\n")
        return tmp_path

    return write


def test_the_texts_of_its_direction(run):
    corpus = read_corpus(run("fr-en"))
    assert (corpus.source, corpus.target, corpus.lowercase) == ("fr", "en", True)
    assert corpus.lines("raw", "en") == ["A dog."]
    assert corpus.file("bpe", "fr", "valid").endswith("corpus/bpe/valid.fr-en.fr")
    assert corpus.dictionary.endswith("corpus/bin/dict.fr.txt")


@pytest.mark.parametrize("lines", [[], ["en-de"], ["cs-en"]])
def test_a_direction_that_is_missing_or_foreign(run, lines):
    with pytest.raises(UserError, match=r"manifest\.json: is of de-en, fr-en: name one of them in the second line"):
        read_corpus(run(*lines))
