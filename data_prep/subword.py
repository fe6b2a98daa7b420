"""Subwords: joint BPE by subword-nmt, or a joint sentencepiece model; learnt here, applied as line functions.

Both are kept from writing what fairseq would read as something else: a word that is one of fairseq's control symbols
(`<pad>`), and with BPE a word that ends in `@@`, fairseq's mark for a word that goes on. Such a word is cut once more,
and comes back whole when the subwords are joined.
"""

import contextlib
import io
import re
import sys
from dataclasses import dataclass

import sentencepiece
from subword_nmt.apply_bpe import BPE, read_vocabulary
from subword_nmt.learn_bpe import learn_bpe

from ..errors import UserError
from ..files import write_aside

FILES = {"bpe": "codes", "sentencepiece": "sentencepiece.model"}
_MARK = "@@"
_CONTROL = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq.data.Dictionary's own
_NEEDS_CARE = re.compile("|".join((_MARK, *_CONTROL)))
_LONGEST = 1 << 30  # bytes of a line; the largest number that sentencepiece takes
_RESERVED = "\u2585"  # sentencepiece leaves out every training line that holds it, and says nothing


def learn(kind, lines, size, path):
    """Learn `size` merges (bpe) or a vocabulary of `size` pieces (sentencepiece) from lines; write the file `path`.

    Raises UserError where the text is too small for it.
    """
    {"bpe": _learn_bpe, "sentencepiece": _learn_pieces}[kind](lines, size, path)


def take(kind, source, path):
    """Copy the subwords of an existing model to `path`. Raises UserError where the file is none of this kind."""
    try:
        if kind == "bpe":
            _check_merges(source)
        else:
            sentencepiece.SentencePieceProcessor(model_file=source)
    except (RuntimeError, OSError) as error:
        raise UserError(f"--codes: {source}: no model of sentencepiece: give the file of the existing model") from error
    with open(source, "rb") as original, write_aside(path, "wb") as stream:
        stream.write(original.read())


def _check_merges(source):
    """subword-nmt would end the program over a line that is no merge."""
    with open(source, encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            if len(line.split()) != 2:
                raise UserError(f"--codes: {source}:{number}: {line.strip()[:40]!r}: is no merge of two subwords")


def _learn_bpe(lines, size, path):
    learnt = io.StringIO()
    # subword-nmt draws its own progress bar, also where standard error is no terminal
    quiet = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    with quiet, contextlib.suppress(ValueError):  # ValueError: no word has two characters, so there is no pair
        learn_bpe(lines, learnt, size)
    if learnt.getvalue().count("\n") < 2:
        raise UserError(f"{path}: no two characters meet twice: too little text to learn BPE from")
    with write_aside(path) as stream:
        stream.write(learnt.getvalue())


def _learn_pieces(lines, size, path):
    """A BPE model with every character, as in fairseq's script for IWSLT'17.

    From an iterator and on one thread, so that the model holds no path and is the same on every machine. All lines
    count: by default sentencepiece leaves out those of over 4,192 bytes, in silence.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line.replace(_RESERVED, " ") for line in lines), model_writer=model, model_type="bpe",
            vocab_size=size, character_coverage=1.0, max_sentence_length=_LONGEST, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise UserError(f"{path}: sentencepiece cannot learn {size} pieces: {reason}") from error
    with write_aside(path, "wb") as stream:
        stream.write(model.getvalue())


@dataclass(frozen=True)
class Segmenter:
    """The learnt subwords as a line function; path is the file, vocabulary one of `subword count` lines or None."""

    kind: str
    path: str
    vocabulary: str | None = None
    threshold: int | None = None

    def build(self):
        """A function line -> subwords joined by spaces."""
        if self.kind == "bpe":
            with open(self.path, encoding="utf-8") as codes:
                bpe = BPE(codes, separator=_MARK, vocab=self._frequent())
            return lambda line: _by_words(bpe, line) if _NEEDS_CARE.search(line) else bpe.process_line(line)
        return self._pieces()

    def _frequent(self):
        if self.vocabulary is None:
            return None
        with open(self.vocabulary, encoding="utf-8") as stream:
            return read_vocabulary(stream, self.threshold)

    def _pieces(self):
        model = sentencepiece.SentencePieceProcessor(model_file=self.path)
        return lambda line: " ".join(
            f"{piece[0]} {piece[1:]}" if piece in _CONTROL else piece for piece in model.encode(line, out_type=str)
        )


def _by_words(bpe, line):
    subwords = []
    for word in line.split():
        *start, last = bpe.segment_tokens([word])
        if last in _CONTROL:
            start, last = [*start, last[0] + _MARK], last[1:]
        elif last.endswith(_MARK):
            start, last = [*start, last[:-1] + _MARK], last[-1]
        subwords += [*start, last]
    return " ".join(subwords)
