"""Translating with a model that `labo export` made; prints what fairseq-generate prints."""

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..progress import progress
from .engine import FORMAT, RECORD, VERSION, import_ctranslate2

EOS, PAD, BOS, UNK = "</s>", "<pad>", "<s>", "<unk>"
WINDOW = 10_000  # sentences that are sorted by length and held in memory at a time
_AT_ONCE = 32  # of a batch, for each thread; the scores of more, tokens × types, leave the CPU's cache
_ROWS_AT_ONCE = 256  # samples of a batch, for each thread
BPE_MARK = "@@ "


@dataclass(frozen=True)
class Sentence:
    """Subwords of one sentence, without the end of sentence. target is text, as the T- line shows it."""

    id: int
    source: list
    target: str | None = None


@dataclass(frozen=True)
class Translation:
    """One hypothesis: subwords, log-probabilities in nats of these and of the end of the sentence, H- score in nats."""

    tokens: list
    log_probs: list
    score: float


@dataclass(frozen=True)
class Draw:
    """One sample: subwords without the end of the sentence, and their log-probability with it, in nats, not divided."""

    tokens: list
    log_prob: float


@dataclass(frozen=True)
class Search:
    """Settings of the search, named as fairseq's flags.

    sampling: draw `nbest` samples, in place of a beam
    sampling_topk, sampling_topp: drawn from these types alone, as fairseq does; at most one of them is above 0
    """

    beam: int = 5
    nbest: int = 1
    lenpen: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200
    sampling: bool = False
    sampling_topk: int = -1
    sampling_topp: float = -1.0


class Model:
    """An exported model.

    folder: made by `labo export`. threads: 0 for as many as there are cores. seed: of the samples; with one thread the
    same seed gives the same ones, with more they go to whichever thread is free. device: "cpu", "cuda" or "auto".
    compute_type: of CTranslate2; "default" is that of the stored weights. Raises UserError where it cannot be used.
    """

    def __init__(
        self, folder: str | Path, threads: int = 0, seed: int = 1, device: str = "cpu", compute_type: str = "default"
    ):
        ctranslate2 = import_ctranslate2()
        self.record = _read_record(folder)
        #: the tuned length penalty, 1 where there is none (and in folders of earlier versions)
        self.lenpen = self.record.get("lenpen", 1.0)
        threads = threads or os.cpu_count() or 1
        if compute_type == "default" and self.record.get("quantization", "float32") == "float32":
            compute_type = "float32"
        _check_device(ctranslate2, device, compute_type)
        ctranslate2.set_random_seed(seed)  # read by each new thread
        try:
            # a few sentences to each thread: several threads on one small matrix would wait for each other
            self._translator = ctranslate2.Translator(
                str(folder), device=device, compute_type=compute_type, inter_threads=threads, intra_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{folder}: CTranslate2 cannot load it ({error}): export it again") from error

    def fits(self, sentence: Sentence) -> bool:
        """Whether a Sentence and its end have no more subwords than the model has positions."""
        return len(sentence.source) < self.record["max_source_positions"]

    def translate(self, batch: list[Sentence], search: Search) -> list[list[Translation]]:
        """For each Sentence of a batch, which all fit, a list of `search.nbest` Translations, the best first."""
        if search.sampling:
            return self.scored(batch, [[draw.tokens for draw in draws] for draws in self.draw(batch, search)], search)
        limit = self._limit(batch, search)
        results = self._translator.translate_batch(
            [sentence.source for sentence in batch],
            beam_size=search.beam,
            num_hypotheses=search.beam,
            length_penalty=search.lenpen,
            max_decoding_length=limit,
            suppress_sequences=[[PAD]],
            max_input_length=0,
            max_batch_size=_AT_ONCE,
        )
        chosen = [self._worth_scoring(result.hypotheses, limit, search.nbest) for result in results]
        return self.scored(batch, chosen, search)

    def draw(self, batch: list[Sentence], search: Search) -> list[list[Draw]]:
        """For each Sentence of a batch, which all fit, `search.nbest` samples.

        Log-probabilities are the model's, whatever types are left out, without that of the end where the limit cut
        a sample. CTranslate2 masks the end at the first step, and padding, before its softmax: all samples of a source
        are too probable by a common factor.
        """
        results = self._translator.translate_batch(
            [sentence.source for sentence in batch],
            beam_size=1,
            num_hypotheses=search.nbest,
            sampling_topk=max(search.sampling_topk, 0),
            sampling_topp=search.sampling_topp if search.sampling_topp > 0 else 1.0,
            length_penalty=0.0,
            return_scores=True,
            max_decoding_length=self._limit(batch, search),
            suppress_sequences=[[PAD]],
            max_input_length=0,
            max_batch_size=max(_ROWS_AT_ONCE // search.nbest, 1),
        )
        return [[Draw(*pair) for pair in zip(r.hypotheses, r.scores, strict=True)] for r in results]

    def _limit(self, batch, search):
        """fairseq's limit: of the batch's width, and one position is left for the end."""
        width = max(len(sentence.source) for sentence in batch) + 1  # CTranslate2 appends the end of sentence
        limit = min(int(search.max_len_a * width + search.max_len_b), self.record["max_target_positions"] - 1)
        return max(limit, 1)

    @staticmethod
    def _worth_scoring(hypotheses, limit, nbest):
        # CTranslate2 ranks a hypothesis that the limit cut without the end that fairseq forces on it: those are ranked
        # again, by their exact scores
        cut = any(len(tokens) >= limit for tokens in hypotheses)
        return hypotheses if cut else hypotheses[:nbest]

    def scored(self, batch: list[Sentence], chosen: list[list[list]], search: Search) -> list[list[Translation]]:
        """The Translations of these subwords, `search.nbest` for each Sentence of a batch, the best first.

        Exact scores by one teacher-forced pass: those of the search leave out types that it masks (end, padding).
        """
        pairs = [(one.source, tokens) for one, group in zip(batch, chosen, strict=True) for tokens in group]
        sources, targets = map(list, zip(*pairs, strict=True))
        results = iter(self._translator.score_batch(sources, targets, max_batch_size=_AT_ONCE, max_input_length=0))
        scored = []
        for group in chosen:
            translations = []
            for tokens in group:
                log_probs = next(results).log_probs
                translations.append(Translation(tokens, log_probs, sum(log_probs) / len(log_probs) ** search.lenpen))
            translations.sort(key=lambda translation: -translation.score)
            scored.append(translations[: search.nbest])
        return scored


def _check_device(ctranslate2, device, compute_type):
    """Raises UserError where the device is not there or cannot compute in that type."""
    if device == "cuda" and not ctranslate2.get_cuda_device_count():
        raise UserError("--device cuda: CTranslate2 sees no CUDA device: leave it out, or see labo doctor --verbose")
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    able = ctranslate2.get_supported_compute_types(device)
    if compute_type != "default" and compute_type not in able:
        raise UserError(f"--compute-type: {compute_type}: this {device} has {', '.join(sorted(able))}, or default")


def batches(sentences: list[Sentence], max_tokens: int, batch_size: int | None = None) -> Iterator[list[Sentence]]:
    """Lists of sentences of similar length: width × sentences ≤ max_tokens, counted with the end of each sentence."""
    batch: list[Sentence] = []
    for sentence in sorted(sentences, key=lambda s: len(s.source)):
        width = len(sentence.source) + 1  # sorted, so the newest is the longest
        if batch and (width * (len(batch) + 1) > max_tokens or len(batch) == batch_size):
            yield batch
            batch = []
        batch.append(sentence)
    if batch:
        yield batch


def in_order(
    model: Model, sentences: Iterable[Sentence], max_tokens: int, batch_size: int | None, translate: Any
) -> Iterator[tuple[Sentence, Any]]:
    """(Sentence, its result) in the order of the sentences; the result is None where the model cannot take it.

    translate: function from a batch, of sentences of similar length, to a list of results
    """
    iterator = iter(sentences)
    while window := list(itertools.islice(iterator, WINDOW)):
        results: dict = {}
        for batch in batches([sentence for sentence in window if model.fits(sentence)], max_tokens, batch_size):
            results.update(zip((sentence.id for sentence in batch), translate(batch), strict=True))
        yield from ((sentence, results.get(sentence.id)) for sentence in window)


def _read_record(folder):
    path = Path(folder) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a folder that `labo export` made") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}): export the model again") from None
    if not isinstance(record, dict) or (record.get("format"), record.get("version")) != (FORMAT, VERSION):
        raise UserError(f"{path}: not a record that this version reads: export the model again")
    lenpen = record.get("lenpen", 1.0)
    if not isinstance(lenpen, int | float) or not math.isfinite(lenpen):
        raise UserError(f"{path}: damaged (lenpen {lenpen!r:.50}): export the model again")
    return record


def from_text(path: str) -> Iterator[Sentence]:
    """Sentences of a text file, read as they are needed."""
    name = "standard input" if path == "-" else path
    try:
        stream = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}: give a file that can be read") from None
    with stream:
        for i, line in enumerate(stream):
            try:
                yield Sentence(i, line.decode("utf-8").split())
            except UnicodeDecodeError:
                raise UserError(f"{name}:{i + 1}: not UTF-8: convert it to UTF-8") from None


class Binaries:
    """Sentences of a split of fairseq's binaries.

    data: their folder; record: of the exported model; post_process: how targets are joined, as --remove-bpe.
    Raises UserError where the split is missing, or the dictionaries are not the model's.
    """

    def __init__(self, data: str | Path, subset: str, record: dict, post_process: str | None = None):
        from fairseq.data import data_utils

        source, target = record["source_lang"], record["target_lang"]
        self.dictionary = _dictionary(data, source, record["source_dictionary"])
        self.target_dictionary = _dictionary(data, target, record["target_dictionary"])
        self.post_process = post_process
        for pair in (f"{source}-{target}", f"{target}-{source}"):
            prefix = str(Path(data) / f"{subset}.{pair}.")
            self.sources = data_utils.load_indexed_dataset(prefix + source, self.dictionary)
            if self.sources is not None:
                self.targets = data_utils.load_indexed_dataset(prefix + target, self.target_dictionary)
                return
        raise UserError(f"{data}: no split {subset!r} of {source}-{target}: see --gen-subset")

    def __len__(self):
        return len(self.sources)

    def __iter__(self):
        for i in range(len(self)):
            ids = self.sources[i].tolist()
            words = [self.dictionary.symbols[j] for j in (ids[:-1] if ids[-1:] == [self.dictionary.eos()] else ids)]
            target = None
            if self.targets is not None:
                # as in fairseq-generate; unknown words are escaped, so that none can match a reference
                target = self.target_dictionary.string(self.targets[i], self.post_process, escape_unk=True)
            yield Sentence(i, words, target)


def _dictionary(data, language, expected):
    from fairseq.data import Dictionary

    from ..calibration.file import dictionary_record

    path = Path(data) / f"dict.{language}.txt"
    if not path.is_file():
        raise UserError(f"{path}: no such file: give the folder that fairseq-preprocess wrote")
    dictionary = Dictionary.load(str(path))
    if dictionary_record(dictionary) != expected:
        raise UserError(f"{path}: not the dictionary of the exported model: give the data that it was trained on")
    return dictionary


class Display:
    """The lines of fairseq-generate.

    post_process: how subwords are joined, as --remove-bpe; tokenizer: "moses" to detokenize, or None; language: target.
    """

    def __init__(self, post_process: str | None, tokenizer: str | None, language: str):
        self._mark = BPE_MARK if post_process == "subword_nmt" else post_process
        self._detokenizer = None
        if tokenizer == "moses":
            from sacremoses import MosesDetokenizer

            self._detokenizer = MosesDetokenizer(language)

    def lines(self, sentence: Sentence, translations: list) -> str:
        """The text of a Sentence and its Translations, the best first."""
        i = sentence.id
        lines = [f"S-{i}\t{self._detokenized(self._joined(sentence.source))}"]
        if sentence.target is not None:
            lines.append(f"T-{i}\t{self._detokenized(sentence.target)}")
        for translation in translations:
            score, text = translation.score / math.log(2), self._joined(translation.tokens)
            lines += [f"H-{i}\t{score}\t{text}", f"D-{i}\t{score}\t{self._detokenized(text)}"]
            lines.append(f"P-{i}\t" + " ".join(f"{p / math.log(2):.4f}" for p in translation.log_probs))
        return "\n".join(lines) + "\n"

    def text(self, tokens: list) -> str:
        """Subwords as the text of a D- line."""
        return self._detokenized(self._joined(tokens))

    def _joined(self, tokens):
        """Text of subwords, as fairseq's Dictionary.string makes it."""
        text = " ".join(token for token in tokens if token not in (BOS, EOS))
        if self._mark == "sentencepiece":
            return text.replace(" ", "").replace("▁", " ").strip()
        return (text + " ").replace(self._mark, "").rstrip() if self._mark else text

    def _detokenized(self, text):
        return self._detokenizer.detokenize(text.split()) if self._detokenizer else text


class Clock:
    """Time spent in the engine, shown as a progress bar and, as fairseq does, in one line at the end."""

    def __init__(self, total: int | None):
        self._bar = progress(None, "translate", "sentence", total)
        self._seconds = 0.0
        self._tokens = 0
        self._sentences = 0

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds += time.perf_counter() - self._start

    def count(self, translations: list) -> None:
        """Add the translations of a batch."""
        self._bar.update(len(translations))
        self._sentences += len(translations)
        self._tokens += sum(len(group[0].log_probs) for group in translations)

    def report(self) -> None:
        """End the bar, and print the totals."""
        self._bar.close()
        seconds = max(self._seconds, 1e-9)
        print(
            f"Translated {self._sentences:,} sentences ({self._tokens:,} tokens) in {seconds:.1f}s "
            f"({self._sentences / seconds:.2f} sentences/s, {self._tokens / seconds:.2f} tokens/s)",
            file=sys.stderr,
        )
