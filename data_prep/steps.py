"""The steps that corpora share: download, unpack, raw pairs, tokens, selection, subwords, fairseq binaries.

Each step reads the files of an earlier one below the output folder and writes its own; the layout is fixed:
download/ and orig/ hold what was fetched and unpacked, raw/ and tok/ {train,valid,test}.LANGUAGE, bpe/ the same and the
subword model, bin/ what fairseq-preprocess writes. With several pairs of languages the texts are
{train,valid,test}.PAIR.LANGUAGE. Where the recipe selects training data, raw/, tok/ and perhaps bpe/ also hold `all`,
from which it is selected. A step takes a Job and returns facts for the manifest, or None.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .. import archives
from ..errors import UserError
from ..files import write_aside
from . import subword
from .binarize import binarize
from .clean import EMPTY, LengthCleaner, MosesCleaner
from .parallel import Pool
from .recipe import Recipe
from .text import has_odd_separator, is_empty, map_lines, progress, read_lines, say


@dataclass
class Job:
    """One run: where to, between which languages, from which corpus, by which recipe, with how many processes."""

    out: Path
    pairs: list  # of (source, target)
    corpus: object  # splits, inputs, lines(pair, split), README
    recipe: Recipe
    workers: int
    pool: Pool
    downloaded: dict = field(default_factory=dict)  # name: SHA-256, of an earlier run

    @property
    def steps(self):
        """The names of the steps, in order."""
        first = ["fetch"] * bool(self.corpus.inputs.downloads) + ["unpack"] * bool(self.corpus.inputs.archives)
        rest = ["raw", "tok", "codes", "bpe", "bin"]
        if self.recipe.pools:
            rest.insert(rest.index(self.recipe.clean_after) + 1, "select")
        return first + rest

    @property
    def given(self):
        """The parts that the corpus itself gives."""
        if not self.recipe.pools:
            return self.corpus.splits
        return ("all", *(split for split in self.corpus.splits if split not in self.selected))

    @property
    def selected(self):
        """The parts that the step `select` makes of `all`."""
        if not self.recipe.pools:
            return ()
        return ("train", "valid") if self.recipe.valid_every else ("train",)

    @property
    def segmented(self):
        """The parts that the step `bpe` segments."""
        return self.given if "select" in self.steps and self.recipe.clean_after == "bpe" else self.corpus.splits

    @property
    def model(self):
        """The learnt subwords."""
        return self.out / "bpe" / subword.FILES[self.recipe.subword]

    def label(self, part, pair):
        """`train`, or `train.de-en` where there are several pairs."""
        return part if len(self.pairs) == 1 else f"{part}.{'-'.join(pair)}"

    def text(self, folder, part, pair, language):
        """The path of a text."""
        return self.out / folder / f"{self.label(part, pair)}.{language}"

    def texts(self, folder, parts):
        """Every (part, pair, language) of some parts, and the path."""
        return [
            (part, language, self.text(folder, part, pair, language))
            for part in parts
            for pair in self.pairs
            for language in pair
        ]


def fetch(job):
    """Download into download/ what the corpus needs; the hashes go to the manifest, and later runs insist on them."""
    from .download import fetch as fetch_one  # here: requests takes long to import, and --raw-dir needs no download

    inputs = job.corpus.inputs
    digests = {
        name: fetch_one(inputs.source(name), job.out / "download" / name, job.downloaded.get(name))
        for name in inputs.downloads
    }
    return {"downloads": digests}


def unpack(job):
    """Unpack into orig/ the files that are needed."""
    for name, archive in job.corpus.inputs.archives.items():
        archives.unpack(archive, job.corpus.inputs.members(name), job.out / "orig")


def raw(job):
    """Write raw/ and README.txt; only training pairs are removed (an empty side), valid and test stay as they are."""
    removed, kept, odd = {}, {}, {}
    for part in job.given:
        for pair in job.pairs:
            label = job.label(part, pair)
            empty, odd[label] = _write_raw(job, part, pair)
            if part != "all":
                (removed if part == "train" else kept)[label] = empty
    with write_aside(job.out / "README.txt") as stream:
        stream.write(job.corpus.README)
    return {"removed": removed, "kept_though_empty": kept, "lines_with_odd_separators": odd}


def _write_raw(job, part, pair):
    """(counts of pairs with an empty side by reason, number of lines with a separator that is none here)."""
    empty = dict.fromkeys(EMPTY.values(), 0)
    label = job.label(part, pair)
    pieces = job.recipe.subword == "sentencepiece"
    kept = odd = 0
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(write_aside(job.text("raw", part, pair, code))) for code in pair]
        for lines in progress(job.corpus.lines(pair, part), f"raw/{label}", "pairs"):
            reason = EMPTY.get(tuple(map(is_empty, lines)))
            if reason:
                empty[reason] += 1
            if reason and part == "train":
                continue
            kept += 1
            for stream, line in zip(streams, lines, strict=True):
                odd += has_odd_separator(line, pieces)
                stream.write(f"{line}\n")
        if not kept:
            raise UserError(f"{label}: every pair has an empty side: nothing is left")
    if odd:
        kinds = "U+2028, U+2581 or the like" if pieces else "U+2028 or the like"
        say(f"raw/{label}: {odd} lines hold {kinds}: taken as a space, not as the end of a line")
    return empty, odd


def tok(job):
    """Write tok/ from raw/ by the recipe's tokenizer; the manifest says whether it lower-cases."""
    for part, language, source in job.texts("raw", job.given):
        map_lines(job.pool, job.recipe.tokenize(language, part), source, job.out / "tok" / source.name)
    return {"lowercased": job.recipe.lowercase is not None}


def select(job):
    """Clean the pool of pairs and split it: write train, and perhaps valid, beside `all` in every folder so far."""
    removed = {}
    for pair in job.pairs:
        removed |= _select(job, pair)
    return {"removed": removed}


def _select(job, pair):
    recipe = job.recipe
    # Moses' script deletes every |, which its tokenizer escapes: text that did not go through it would lose words
    of_moses = recipe.tokenizer == "moses" and (recipe.subword == "bpe" or recipe.clean_after == "tok")
    cleaner = MosesCleaner if of_moses else LengthCleaner
    clean = cleaner(recipe.min_length, recipe.max_length, recipe.max_ratio)
    folders = _folders(job)
    sources = [read_lines(job.text(folder, "all", pair, code)) for folder in folders for code in pair]
    counts = {job.label(part, pair): {} for part in job.selected}
    with contextlib.ExitStack() as stack:
        streams = {
            part: [
                stack.enter_context(write_aside(job.text(folder, part, pair, code)))
                for folder in folders
                for code in pair
            ]
            for part in job.selected
        }
        kept, written = 0, dict.fromkeys(job.selected, 0)
        pairs = progress(zip(*sources, strict=True), job.label("select", pair), "pairs")
        for number, lines in enumerate(pairs, 1):
            cleaned, reason = clean(*lines[-2:])
            kept += reason is None
            part = "valid" if is_valid(recipe, number if recipe.valid_first else kept) else "train"
            if reason:
                count = counts[job.label(part if recipe.valid_first else "train", pair)]
                count[reason] = count.get(reason, 0) + 1
                continue
            written[part] += 1
            for stream, line in zip(streams[part], (*lines[:-2], *cleaned), strict=True):
                stream.write(f"{line}\n")
        if not all(written.values()):
            part = next(part for part in written if not written[part])
            raise UserError(
                f"{job.label(part, pair)}: nothing is left of {number} pairs: relax --max-length or --max-ratio"
            )
    return counts


def is_valid(recipe, number):
    """Whether the pair with this number, counted from 1, goes to the validation data."""
    return recipe.valid_every is not None and number % recipe.valid_every == 0


def _folders(job):
    return ("raw", "tok") if job.recipe.clean_after == "tok" else ("raw", "tok", "bpe")


def codes(job):
    """Learn the subwords jointly on all languages of tok/train (Sennrich et al. 2016)."""
    if job.recipe.codes:
        subword.take(job.recipe.subword, job.recipe.codes, job.model)
    else:
        subword.learn(job.recipe.subword, _training_text(job), job.recipe.subword_size, job.model)


def _training_text(job):
    """The tokenized training lines of all pairs; where the cleaning comes later, of all pairs not for validation."""
    part = "train" if "train" in job.segmented else "all"
    for _, _, path in job.texts("tok", (part,)):
        for number, line in enumerate(progress(read_lines(path), f"read {path.name}", "lines"), 1):
            if part == "train" or not (job.recipe.valid_first and is_valid(job.recipe, number)):
                yield line


def bpe(job):
    """Write bpe/ from tok/ with the learnt subwords; with a threshold also the subwords of each language, vocab.XX."""
    for language in sorted({language for pair in job.pairs for language in pair}):
        segmenter = subword.Segmenter(job.recipe.subword, str(job.model))
        texts = [(part, path) for part, code, path in job.texts("tok", job.segmented) if code == language]
        if job.recipe.vocabulary_threshold:
            # counted on what training will read: valid and test must not add to it
            training = [path for part, path in texts if part in ("train", "all")]
            vocabulary = _write_vocabulary(job, segmenter, training, language)
            segmenter = subword.Segmenter(
                segmenter.kind, segmenter.path, str(vocabulary), job.recipe.vocabulary_threshold
            )
        for _, source in texts:
            map_lines(job.pool, segmenter, source, job.out / "bpe" / source.name)


def _write_vocabulary(job, segmenter, texts, language):
    """Count the subwords of a language's training text, as subword-nmt's get-vocab; returns the file."""
    counts = Counter()
    for path in texts:
        aside = job.out / "bpe" / f".{path.name}.counted"
        map_lines(job.pool, segmenter, path, aside)
        for line in read_lines(aside):
            counts.update(line.split())
        aside.unlink()
    vocabulary = _vocabulary(job, language)
    with write_aside(vocabulary) as stream:
        stream.writelines(f"{word} {count}\n" for word, count in sorted(counts.items(), key=lambda e: (-e[1], e[0])))
    return vocabulary


def _vocabulary(job, language):
    return job.out / "bpe" / f"vocab.{language}"


def bin_(job):
    """Write bin/ from bpe/ with fairseq-preprocess."""
    binarize(job)


STEPS = {
    "fetch": fetch, "unpack": unpack, "raw": raw, "tok": tok, "select": select, "codes": codes, "bpe": bpe, "bin": bin_
}  # fmt: skip


def files_of(step, job):
    """The files that a step has made, relative to the output folder."""
    if step == "fetch":
        return [f"download/{name}" for name in job.corpus.inputs.downloads]
    if step == "unpack":
        inputs = job.corpus.inputs
        return [f"orig/{member}" for archive in inputs.archives for member in inputs.members(archive)]
    if step == "codes":
        return [str(job.model.relative_to(job.out))]
    if step == "bin":
        return sorted(f"bin/{path.name}" for path in (job.out / "bin").iterdir())
    parts = {"raw": job.given, "tok": job.given, "select": job.selected, "bpe": job.segmented}[step]
    folders = _folders(job) if step == "select" else (step,)
    texts = [str(path.relative_to(job.out)) for folder in folders for _, _, path in job.texts(folder, parts)]
    if step == "bpe" and job.recipe.vocabulary_threshold:
        languages = sorted({language for pair in job.pairs for language in pair})
        texts += [str(_vocabulary(job, language).relative_to(job.out)) for language in languages]
    return ["README.txt", *texts] if step == "raw" else texts
