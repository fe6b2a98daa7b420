"""fairseq-preprocess with its three inner loops in faster words: the same command line, the same files.

    python -m labo_fairseq.data_prep.preprocess --source-lang de --target-lang en --trainpref …

fairseq asks the text file for its position after every line, counts the words one by one, and fills a tensor element by
element. Only that is replaced; dictionaries, files and messages are fairseq's.
"""

import collections
import sys

import torch
from fairseq.binarizer import VocabularyDatasetBinarizer
from fairseq.data import Dictionary
from fairseq.file_chunker_utils import Chunker, ChunkLineIterator
from fairseq.tokenizer import tokenize_line
from fairseq_cli.preprocess import cli_main


def _lines(self):
    """ChunkLineIterator.__iter__ for text whose lines end at `\\n` alone, as in bpe/."""
    stream = self._fd.buffer
    at = stream.seek(self._start_offset)
    while at < self._end_offset:
        line = stream.readline()
        at += len(line)
        yield line.decode("utf-8")


def _words(tokenize):
    return str.split if tokenize is tokenize_line else tokenize  # without an argument it splits at the same white space


def _count(filename, tokenize, eos_word, start_offset, end_offset):
    """Dictionary._add_file_to_dictionary_single_worker: a Counter of the words, and of the ends of lines."""
    counter, words = collections.Counter(), _words(tokenize)
    with Chunker(filename, start_offset, end_offset) as lines:
        for line in lines:
            counter.update(words(line))
            counter[eos_word] += 1
    return counter


def _binarize_line(self, line, summary):
    """VocabularyDatasetBinarizer.binarize_line with the options that fairseq-preprocess uses."""
    words, unknown = _words(self.tokenize)(line), self.dict.unk_index
    numbers = [self.dict.indices.get(word, unknown) for word in words]
    if summary.replaced is None:
        summary.replaced = collections.Counter()
    if unknown in numbers:
        pairs = zip(words, numbers, strict=True)
        summary.replaced.update(word for word, number in pairs if number == unknown and word != self.dict.unk_word)
    numbers.append(self.dict.eos_index)
    summary.num_seq += 1
    summary.num_tok += len(numbers)
    return torch.tensor(numbers, dtype=torch.int)


def main():
    """Run fairseq-preprocess on the arguments of the command line."""
    ChunkLineIterator.__iter__ = _lines
    Dictionary._add_file_to_dictionary_single_worker = staticmethod(_count)
    VocabularyDatasetBinarizer.binarize_line = _binarize_line
    cli_main()


if __name__ == "__main__":
    sys.exit(main())
