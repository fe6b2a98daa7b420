"""Translates with a model that `labo export` made; prints what fairseq-generate prints, sentences in order.

  labo translate fast --data data/bin --remove-bpe --tokenizer moses > generate-test.txt
  labo translate fast --remove-bpe < subwords.en

The source is subwords, one sentence per line, from standard input or --input; or, with --data, a split of fairseq's
binaries, whose targets give the T- lines. Output: S- source, T- target where there is one, H- hypothesis, D- the same
detokenized, P- scores per token with the end of the sentence. Scores are base-2 logarithms under the exported model,
so with its temperature; that of H- and D- is their sum divided by (tokens + 1) ** lenpen.

The search is fairseq's in beam, candidates, stopping rule and length normalization; docs/fast_engine.md says where it
differs: at near-ties, in hypotheses that the length limit cuts, and in empty sentences, which stay empty.
"""

import itertools
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .export import FORMAT, RECORD, VERSION, import_ctranslate2

EOS, PAD, BOS, UNK = "</s>", "<pad>", "<s>", "<unk>"
_WINDOW = 10_000  # sentences that are sorted by length and held in memory at a time
_AT_ONCE = 32  # of a batch, for each thread; the scores of more, tokens × types, leave the CPU's cache
_BPE_MARK = "@@ "


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
class Search:
    """Settings of the beam search, named as fairseq's flags."""

    beam: int = 5
    nbest: int = 1
    lenpen: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200


def add_arguments(parser):
    """Flags of `labo translate`; those that fairseq-generate has too mean the same."""
    parser.add_argument("model", metavar="MODEL_DIR", help="folder that `labo export` made")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--input", metavar="FILE", default="-", help="source lines as subwords; - is standard input")
    source.add_argument("--data", metavar="DIR", help="fairseq's binaries, in place of --input")
    parser.add_argument("--gen-subset", metavar="SPLIT", default="test", help="with --data: the split")
    parser.add_argument("--beam", type=int, default=5, help="beam size")
    parser.add_argument("--nbest", type=int, default=1, help="hypotheses to print of each sentence")
    parser.add_argument("--lenpen", type=float, default=1.0, help="above 1 favours longer sentences, below 1 shorter")
    parser.add_argument("--max-len-a", type=float, default=0.0, help="at most A * (source subwords + 1) + B subwords")
    parser.add_argument("--max-len-b", type=int, default=200, help="the B of it")
    parser.add_argument("--max-tokens", type=int, default=12000, help="source subwords of a batch, padding included")
    parser.add_argument("--batch-size", type=int, help="sentences of a batch; default: as many as fit --max-tokens")
    parser.add_argument(
        "--remove-bpe",
        "--post-process",
        nargs="?",
        const=_BPE_MARK,
        choices=[_BPE_MARK, "subword_nmt", "sentencepiece"],
        help=f"join subwords in S-, T-, H- and D- lines; without a value those marked {_BPE_MARK.strip()}",
    )
    parser.add_argument("--tokenizer", choices=["moses"], help="detokenize S-, T- and D- lines")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")


def run(args):
    """Translate and print; returns 0. Raises UserError on bad input."""
    search = _search(args)
    model = Model(args.model, args.threads)
    show = _Display(args, model.record["target_lang"])
    sentences = _Binaries(args, model.record) if args.data else _from_text(args.input)
    total = len(sentences) if args.data else None
    clock = _Clock(total)
    iterator = iter(sentences)
    while window := list(itertools.islice(iterator, _WINDOW)):
        found = {}
        for batch in batches(window, args.max_tokens, args.batch_size):
            with clock:
                translations = model.translate(batch, search)
            found.update({s.id: t for s, t in zip(batch, translations, strict=True)})
            clock.count(translations)
        for sentence in window:
            sys.stdout.write(show.lines(sentence, found[sentence.id]))
    clock.report()
    return 0


class Model:
    """An exported model on the CPU, in float32.

    folder: made by `labo export`. threads: 0 for as many as there are cores. Raises UserError where it cannot be used.
    """

    def __init__(self, folder, threads=0):
        ctranslate2 = import_ctranslate2()
        self.record = _read_record(folder)
        threads = threads or os.cpu_count() or 1
        try:
            # a few sentences to each thread: several threads on one small matrix would wait for each other
            self._translator = ctranslate2.Translator(
                str(folder), compute_type="float32", inter_threads=threads, intra_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{folder}: CTranslate2 cannot load it ({error}): export it again") from error

    def translate(self, batch, search):
        """For each Sentence of a batch a list of Translation, `search.nbest` of them, the best first."""
        sources = [sentence.source for sentence in batch]
        width = max(map(len, sources)) + 1  # CTranslate2 appends the end of sentence
        longest = self.record["max_source_positions"]
        if width > longest:
            sentence = max(batch, key=lambda s: len(s.source))
            raise UserError(
                f"sentence {sentence.id}: {width} subwords with its end: the model has {longest} positions: shorten it"
            )
        # fairseq's limit: of the batch's width, and one position is left for the end
        limit = min(int(search.max_len_a * width + search.max_len_b), self.record["max_target_positions"] - 1)
        results = self._translator.translate_batch(
            sources,
            beam_size=search.beam,
            num_hypotheses=search.beam,
            length_penalty=search.lenpen,
            max_decoding_length=max(limit, 1),
            suppress_sequences=[[PAD]],
            max_input_length=0,
            max_batch_size=_AT_ONCE,
        )
        chosen = [self._worth_scoring(result.hypotheses, limit, search.nbest) for result in results]
        return self._scored(sources, chosen, search)

    @staticmethod
    def _worth_scoring(hypotheses, limit, nbest):
        # CTranslate2 ranks a hypothesis that the limit cut without the end that fairseq forces on it: those are ranked
        # again, by their exact scores
        cut = any(len(tokens) >= limit for tokens in hypotheses)
        return hypotheses if cut else hypotheses[:nbest]

    def _scored(self, sources, chosen, search):
        """Exact scores by one teacher-forced pass: those of the search leave out types that it masks (end, padding)."""
        pairs = [(source, tokens) for source, group in zip(sources, chosen, strict=True) for tokens in group]
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


def batches(sentences, max_tokens, batch_size=None):
    """Lists of sentences of similar length: width × sentences ≤ max_tokens, counted with the end of each sentence."""
    batch, width = [], 0
    for sentence in sorted(sentences, key=lambda s: len(s.source)):
        width = len(sentence.source) + 1  # sorted, so the newest is the longest
        if batch and (width * (len(batch) + 1) > max_tokens or len(batch) == batch_size):
            yield batch
            batch = []
        batch.append(sentence)
    if batch:
        yield batch


def _search(args):
    for name, least in (("beam", 1), ("nbest", 1), ("max_tokens", 1), ("batch_size", 1), ("max_len_b", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')}: {value}: must be at least {least}")
    if args.nbest > args.beam:
        raise UserError(f"--nbest: {args.nbest}: must not be above --beam {args.beam}")
    if args.threads < 0:
        raise UserError(f"--threads: {args.threads}: must be at least 0")
    if not (math.isfinite(args.lenpen) and math.isfinite(args.max_len_a) and args.max_len_a >= 0):
        raise UserError("--lenpen, --max-len-a: must be finite numbers, the latter not below 0")
    return Search(args.beam, args.nbest, args.lenpen, args.max_len_a, args.max_len_b)


def _read_record(folder):
    path = Path(folder) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a folder that `labo export` made") from None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}): export the model again") from None
    if not isinstance(record, dict) or (record.get("format"), record.get("version")) != (FORMAT, VERSION):
        raise UserError(f"{path}: not a record that this version reads: export the model again")
    return record


def _from_text(path):
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


class _Binaries:
    """Sentences of a split of fairseq's binaries."""

    def __init__(self, args, record):
        from fairseq.data import data_utils

        source, target = record["source_lang"], record["target_lang"]
        self.dictionary = _dictionary(args.data, source, record["source_dictionary"])
        self.target_dictionary = _dictionary(args.data, target, record["target_dictionary"])
        self.post_process = args.remove_bpe
        for pair in (f"{source}-{target}", f"{target}-{source}"):
            prefix = str(Path(args.data) / f"{args.gen_subset}.{pair}.")
            self.sources = data_utils.load_indexed_dataset(prefix + source, self.dictionary)
            if self.sources is not None:
                self.targets = data_utils.load_indexed_dataset(prefix + target, self.target_dictionary)
                return
        raise UserError(f"{args.data}: no split {args.gen_subset!r} of {source}-{target}: see --gen-subset")

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


class _Display:
    """The lines of fairseq-generate."""

    def __init__(self, args, language):
        self._mark = {"subword_nmt": _BPE_MARK}.get(args.remove_bpe, args.remove_bpe)
        self._detokenizer = None
        if args.tokenizer == "moses":
            from sacremoses import MosesDetokenizer

            self._detokenizer = MosesDetokenizer(language)

    def lines(self, sentence, translations):
        i = sentence.id
        lines = [f"S-{i}\t{self._detokenized(self._joined(sentence.source))}"]
        if sentence.target is not None:
            lines.append(f"T-{i}\t{self._detokenized(sentence.target)}")
        for translation in translations:
            score, text = translation.score / math.log(2), self._joined(translation.tokens)
            lines += [f"H-{i}\t{score}\t{text}", f"D-{i}\t{score}\t{self._detokenized(text)}"]
            lines.append(f"P-{i}\t" + " ".join(f"{p / math.log(2):.4f}" for p in translation.log_probs))
        return "\n".join(lines) + "\n"

    def _joined(self, tokens):
        """Text of subwords, as fairseq's Dictionary.string makes it."""
        text = " ".join(token for token in tokens if token not in (BOS, EOS))
        if self._mark == "sentencepiece":
            return text.replace(" ", "").replace("▁", " ").strip()
        return (text + " ").replace(self._mark, "").rstrip() if self._mark else text

    def _detokenized(self, text):
        return self._detokenizer.detokenize(text.split()) if self._detokenizer else text


class _Clock:
    """Time spent in the engine, shown as a progress bar and, as fairseq does, in one line at the end."""

    def __init__(self, total):
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" sentences", disable=None)
        self._seconds = 0.0
        self._tokens = 0
        self._sentences = 0

    def __enter__(self):
        self._start = time.perf_counter()

    def __exit__(self, *_):
        self._seconds += time.perf_counter() - self._start

    def count(self, translations):
        self._bar.update(len(translations))
        self._sentences += len(translations)
        self._tokens += sum(len(group[0].log_probs) for group in translations)

    def report(self):
        self._bar.close()
        seconds = max(self._seconds, 1e-9)
        print(
            f"Translated {self._sentences:,} sentences ({self._tokens:,} tokens) in {seconds:.1f}s "
            f"({self._sentences / seconds:.2f} sentences/s, {self._tokens / seconds:.2f} tokens/s)",
            file=sys.stderr,
        )
