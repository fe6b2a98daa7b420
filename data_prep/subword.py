"""Subwords: joint BPE by subword-nmt, or a joint sentencepiece model; learnt here, applied as line functions."""

import contextlib
import io
import sys
from dataclasses import dataclass

import sentencepiece
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from ..errors import UserError
from ..files import write_aside

FILES = {"bpe": "codes", "sentencepiece": "sentencepiece.model"}


def learn(kind, lines, size, path):
    """Learn `size` merges (bpe) or a vocabulary of `size` pieces (sentencepiece) from lines; write the file `path`.

    Raises UserError where the text is too small for it.
    """
    {"bpe": _learn_bpe, "sentencepiece": _learn_pieces}[kind](lines, size, path)


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

    From an iterator and on one thread, so that the model holds no path and is the same on every machine.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=size,
            character_coverage=1.0, num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise UserError(f"{path}: sentencepiece cannot learn {size} pieces: {reason}") from error
    with write_aside(path, "wb") as stream:
        stream.write(model.getvalue())


@dataclass(frozen=True)
class Segmenter:
    """The learnt subwords as a line function; model is the content of the file."""

    kind: str
    path: str

    def build(self):
        """A function line -> subwords joined by spaces."""
        if self.kind == "bpe":
            with open(self.path, encoding="utf-8") as codes:
                return BPE(codes).process_line
        model = sentencepiece.SentencePieceProcessor(model_file=self.path)
        return lambda line: " ".join(model.encode(line, out_type=str))
