"""What translations are compared on: a prepared corpus, files of the user's own, or the S- and T- lines of a log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..records.run_folder import Corpus
from . import bleu
from .references import References, mended, of_corpus, of_lines, tokenizer_for
from .systems import System


@dataclass(frozen=True)
class TestSet:
    """The test sentences in the forms that the sections of a report need; None for what there is not."""

    __test__ = False  # no test of pytest

    references: References  #: whole text
    tokenize: str | None  #: of BLEU, for them; None for 13a
    tokens: References | None = None  #: in tokens, for fairseq's BLEU
    sources: Sequence[str] | None = None  #: whole text
    corpus: Corpus | None = None  #: where it was prepared, so that subwords and training text are known
    lowercase: bool = False

    @property
    def description(self) -> str:
        """`en → de, 1000 test sentences.`"""
        pair = f"{self.corpus.source} → {self.corpus.target}, " if self.corpus else ""
        return f"{pair}{len(self.references.first)} test sentences."


def prepared(corpus: Corpus) -> TestSet:
    """The TestSet of a folder that `labo prepare` wrote. Raises UserError where a file cannot be read."""
    references, tokenize = of_corpus(corpus)
    tokens, _ = of_corpus(corpus, "tok")
    file, sources = corpus.file("raw", corpus.source), None
    if Path(file).exists():
        sources = corpus.lines("raw", corpus.source)
        bleu.check_counts(sources, references.first, file, references.name)
    return TestSet(references, tokenize, tokens, sources, corpus, corpus.lowercase)


def of_files(
    systems: Mapping[str, System],
    references: References | None = None,
    tokenize: str | None = None,
    sources: Sequence[str] | None = None,
    lowercase: bool = False,
    language: str | None = None,
) -> TestSet:
    """The TestSet of references and sources of the user's, or of what the first log with T- and S- lines says.

    tokenize: of BLEU, for `references`. language: of the target, for detokenizing T- lines and for BLEU's tokenizer;
    None for English and 13a. Raises UserError where nothing says what the references are.
    """
    tokens = None
    if references is None:
        log = _first(systems, "target")
        if log is None:
            raise UserError("--reference: none given, and no log has T- lines: give --data DIR, or --reference FILE")
        lines = [sentence.target for sentence in log.sentences]
        if not log.was_detokenized():
            tokens = of_lines(bleu.remove_subwords(lines), f"the T- lines of {log.file}")
        texts, detokenized = mended(lines, f"the T- lines of {log.file}", language=language or "en")
        name = (f"the T- lines of {log.file}",)
        references = References(name, (texts,), (language or "en") if detokenized else None)
        tokenize = tokenizer_for(references, tokenize, language)
    log = _first(systems, "source")
    if sources is None and log is not None:
        sources = bleu.remove_subwords([sentence.source for sentence in log.sentences])
    return TestSet(references, tokenize, tokens, sources, None, lowercase)


def _first(systems, line):
    """The first system whose log has all its S- or T- lines."""
    logs = [system for system in systems.values() if system.sentences is not None]
    return next((log for log in logs if None not in [getattr(sentence, line) for sentence in log.sentences]), None)
