"""Subwords: joint BPE as subword-nmt's, or a joint sentencepiece model; learnt here, applied as line functions.

Both are kept from writing what fairseq would read as something else: a word that is one of fairseq's control symbols
(`<pad>`), and with BPE a word that ends in `@@`, fairseq's mark for a word that goes on. Such a word is cut once more,
and comes back whole when the subwords are joined.
"""

import io
import itertools
from dataclasses import dataclass

import sentencepiece
from subword_nmt.apply_bpe import BPE, check_vocab_and_split, read_vocabulary

from ..errors import UserError
from ..files import write_aside
from .bpe_learning import merges
from .text import progress

FILES = {"bpe": "codes", "sentencepiece": "sentencepiece.model"}
_MARK, _END = "@@", "</w>"
_CONTROL = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq.data.Dictionary's own
_KEPT = 1 << 17  # words of each half of the cache, some 25 MB
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
    with write_aside(path) as stream:
        stream.write("#version: 0.2\n")
        pair = None
        for pair in progress(merges(lines, size), "learn BPE", "merges", total=size):
            stream.write(f"{pair[0]} {pair[1]}\n")
        if pair is None:
            raise UserError(f"{path}: no two characters meet twice: too little text to learn BPE from")


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
            words = _Words(self.path, self.vocabulary, self.threshold)
            return lambda line: " ".join(map(words.__getitem__, line.split()))
        model = sentencepiece.SentencePieceProcessor(model_file=self.path)
        return lambda line: " ".join(
            f"{piece[0]} {piece[1:]}" if piece in _CONTROL else piece for piece in model.encode(line, out_type=str)
        )


class _Words(dict):
    """{word: its subwords joined by spaces}, made as they are asked for; of the last ones asked for, so that a corpus
    of any size fits: when there are _KEPT, they become the older half, and what is not asked for again is forgotten.
    """

    def __init__(self, path, vocabulary=None, threshold=None):
        super().__init__()
        with open(path, encoding="utf-8") as codes:
            bpe = BPE(codes)
        self._ranks, self._merged_from, self._frequent = bpe.bpe_codes, bpe.bpe_codes_reverse, None
        if vocabulary:
            with open(vocabulary, encoding="utf-8") as stream:
                self._frequent = read_vocabulary(stream, threshold)
        self._none = len(self._ranks)  # the rank of a pair that is not merged
        self._older = {}

    def __missing__(self, word):
        if len(self) == _KEPT:
            self._older = dict(self)
            self.clear()
        found = self[word] = self._older.get(word) or self._segmented(word)
        return found

    def _segmented(self, word):
        subwords = self._subwords(word)
        if self._frequent is not None:
            subwords = check_vocab_and_split(subwords, self._merged_from, self._frequent, _MARK)
        *start, last = subwords
        start = [subword + _MARK for subword in start]
        if last in _CONTROL:
            start, last = [*start, last[0] + _MARK], last[1:]
        elif last.endswith(_MARK):
            start, last = [*start, last[:-1] + _MARK], last[-1]
        return " ".join([*start, last])

    def _subwords(self, word):
        """As subword-nmt's encode: the first merge of the list that fits, wherever it fits, again and again."""
        symbols = [*word[:-1], word[-1] + _END] if len(word) > 1 else [word]
        while len(symbols) > 1:
            ranks = list(map(self._ranks.get, itertools.pairwise(symbols), itertools.repeat(self._none)))
            best = min(ranks)
            if best == self._none:
                break
            at = ranks.index(best)
            pair = symbols[at : at + 2]
            while at < len(symbols) - 1:
                if symbols[at : at + 2] == pair:
                    symbols[at : at + 2] = ["".join(pair)]
                at += 1
        symbols[-1] = symbols[-1].removesuffix(_END) if len(word) > 1 else word
        return symbols
