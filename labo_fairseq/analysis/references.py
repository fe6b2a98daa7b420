"""The references that translations are scored against: one text or several, mended where they are in pieces."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError
from ..records.messages import note, warn
from ..records.run_folder import Corpus
from . import bleu, systems, tokenization


@dataclass(frozen=True)
class References:
    """One or several reference texts of the same length."""

    files: tuple[str, ...]  #: as they were given; one file may hold several references
    texts: tuple[list[str], ...]  #: lines of each reference
    detokenized_as: str | None = None  #: language as which systems in Moses tokens are detokenized; None: they are not

    @property
    def first(self) -> list[str]:
        """Lines of the first reference, for what takes only one."""
        return self.texts[0]

    @property
    def more(self) -> tuple[list[str], ...]:
        """Lines of the others."""
        return self.texts[1:]

    @property
    def name(self) -> str:
        """The first file, for messages."""
        return self.files[0]

    def metric(self, name: str, lowercase: bool = False, tokenize: str | None = None) -> bleu.Metric:
        """A metric of bleu.METRICS against all of them."""
        return bleu.Metric(name, self.first, lowercase, tokenize, self.more)


def of_lines(lines: Sequence[str], file: str) -> References:
    """One reference that is read already and is known to be whole text, as that of a prepared corpus."""
    return References((file,), (list(lines),))


def of_corpus(corpus: Corpus, kind: str = "raw", part: str = "test") -> tuple[References, str | None]:
    """(the References of a prepared corpus, BLEU's tokenizer for them).

    kind: "raw", whose tokenizer is that of the target language, or "tok", which has none; part: test or valid
    """
    references = of_lines(corpus.lines(kind, corpus.target, part), corpus.file(kind, corpus.target, part))
    return references, tokenizer_for(references, None, corpus.target) if kind == "raw" else None


def read_references(
    files: Sequence[str], columns: int | None = None, tokenized: bool = False, language: str | None = None
) -> References:
    """References from files: one text each, or one file with a tab between the references of a sentence.

    columns: of the one file, as sacreBLEU's --num-refs; None to tell by the tabs, with a note. tokenized: whether
    tokenized text is wanted, so that only subwords are joined. language: for detokenizing, None for English. What was
    mended is said on standard error. Raises UserError on texts of different length, and on what is no text.
    """
    if columns is not None and columns < 1:
        raise UserError(f"--num-refs: {columns}: must be 1 or more")
    if columns is not None and columns > 1 and len(files) > 1:
        raise UserError("--num-refs: more than 1 is for a single --reference file: give one file, or leave it out")
    texts = [systems.read_lines(file, "the reference text") for file in files]
    names = list(files)
    if len(files) == 1 and texts[0]:
        texts = _columns(texts[0], files[0], columns)
        names = [files[0]] * len(texts)
    for text, name in zip(texts[1:], names[1:], strict=True):
        bleu.check_counts(text, texts[0], name, names[0])
    pairs = [mended(text, name, tokenized, language or "en") for text, name in zip(texts, names, strict=True)]
    detokenized = any(was for _, was in pairs)
    return References(tuple(files), tuple(text for text, _ in pairs), (language or "en") if detokenized else None)


def of_test_set(name: str, pair: str) -> list[str]:
    """Files of the references of one of sacreBLEU's test sets, such as wmt14 and en-de, fetched where they are missing.

    Raises UserError where there is no such set or pair, or it cannot be fetched.
    """
    from sacrebleu import utils

    sets = utils.get_available_testsets()
    if name not in sets:
        near = difflib.get_close_matches(name, sets, 3, 0.4)
        raise UserError(f"--test-set: {name}: no set of sacreBLEU's: try {' or '.join(near or sorted(sets)[-3:])}")
    pairs = utils.get_langpairs_for_testset(name)
    if pair not in pairs:
        raise UserError(f"--language-pair: {pair}: {name} has {', '.join(sorted(pairs))}")
    try:
        return utils.get_reference_files(name, pair)
    except (Exception, SystemExit) as error:  # whatever the network raises; sacreBLEU exits over a certificate
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"--test-set: {name}: cannot be fetched to {utils.SACREBLEU_DIR} ({reason}): try again with a "
            "connection, or give --reference"
        ) from None


def tokenizer_for(references: References, tokenize: str | None, language: str | None) -> str:
    """The tokenizer that BLEU takes for these references; see tokenization.chosen."""
    return tokenization.chosen(tokenize, language, references.first, references.name)


def _columns(lines, file, columns):
    """The references of one file; several where a tab stands between them."""
    counts = {line.count("\t") for line in lines}
    if columns is None:
        columns = next(iter(counts)) + 1 if len(counts) == 1 else 1
        if columns > 1:
            note(f"{file}: every line holds {columns} texts between tabs: {columns} references (--num-refs 1: one)")
    if columns == 1:
        return [lines]
    fields = [line.split("\t", columns - 1) for line in lines]
    wrong = next((number for number, row in enumerate(fields, 1) if len(row) != columns), None)
    if wrong:
        raise UserError(
            f"{file}:{wrong}: {len(fields[wrong - 1])} texts between tabs, but --num-refs is {columns}: give as many "
            "in every line"
        )
    return [list(column) for column in zip(*fields, strict=True)]


def mended(lines: Sequence[str], file: str, tokenized: bool = False, language: str = "en") -> tuple[list[str], bool]:
    """(lines of a reference with subwords joined, whether they were detokenized), with a warning about either.

    tokenized: whether tokens are wanted, so that nothing is detokenized.
    """
    kind = bleu.subwords_of(lines)
    if kind:
        marks = "sentencepiece (▁)" if kind == "▁" else "subword-nmt (@@)"
        warn(f"{file}: the reference is in subwords of {marks}: joined before scoring; better give the plain text")
        lines = bleu.remove_subwords(lines)
    if tokenized or not bleu.looks_tokenized(lines):
        return lines, False
    warn(
        f"{file}: the reference looks tokenized: detokenized as {language} (see --language) before scoring; better "
        "give the plain text (tokenized BLEU: labo score --tokenized)"
    )
    return systems.detokenized(lines, language), True
