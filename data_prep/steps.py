"""The steps that corpora share: raw pairs, tokens, BPE codes, BPE text, fairseq binaries.

Each step reads the files of an earlier one below the output folder and writes its own; the layout is fixed:
raw/ and tok/ hold {train,valid,test}.LANGUAGE, bpe/ the same and `codes`, bin/ what fairseq-preprocess writes.
A step takes a Job and returns facts for the manifest, or None.
"""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from ..errors import UserError
from ..files import write_aside
from .binarize import binarize
from .text import is_empty, map_lines, progress, read_lines

SPLITS = ("train", "valid", "test")


@dataclass
class Job:
    """One run: where to, in which direction, from which corpus (its pairs, tokenizer and README), and how."""

    out: Path
    languages: tuple  # source, target
    corpus: object
    bpe_operations: int
    workers: int


def raw(job):
    """Write raw/ and README.txt; only training pairs are removed (an empty side), valid and test stay as they are."""
    counts = {split: _write_raw(job, split) for split in SPLITS}
    with write_aside(job.out / "README.txt") as stream:
        stream.write(job.corpus.README)
    return {"removed": {"train": counts.pop("train")}, "kept_though_empty": counts}


def _write_raw(job, split):
    counts = {"source empty": 0, "target empty": 0, "both empty": 0}
    kept = 0
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(write_aside(job.out / "raw" / f"{split}.{code}")) for code in job.languages]
        for pair in progress(job.corpus.pairs(split), f"raw/{split}", "pairs"):
            reason = _emptiness(pair)
            if reason:
                counts[reason] += 1
            if reason and split == "train":
                continue
            kept += 1
            for stream, line in zip(streams, pair, strict=True):
                stream.write(f"{line}\n")
        if not kept:
            raise UserError(f"{split}: every pair has an empty side: nothing is left")
    return counts


def _emptiness(pair):
    names = {(True, False): "source empty", (False, True): "target empty", (True, True): "both empty"}
    return names.get(tuple(map(is_empty, pair)))


def tok(job):
    """Write tok/ from raw/ with the corpus's tokenizer; the manifest says whether it lower-cases."""
    for language in job.languages:
        tokenize = job.corpus.tokenizer(language)
        for split in SPLITS:
            map_lines(tokenize, job.out / "raw" / f"{split}.{language}", job.out / "tok" / f"{split}.{language}")
    return {"lowercased": job.corpus.LOWERCASED}


def moses(language, lowercase=False, normalize=False):
    """A function line -> tokens joined by spaces: lower-case, normalize punctuation, Moses tokenizer, in this order.

    The order, the escapes (&apos; and so on) and no splits at dashes are those of the Multi30k authors' script, which
    pipes lowercase.perl, normalize-punctuation.perl and tokenizer.perl. Their Perl scripts see the line's `\\n`, which
    moves a full stop behind a quotation mark at the line's end; perl_parity maps a lone ’ as they do.
    """
    tokenizer = MosesTokenizer(language)
    normalizer = MosesPunctNormalizer(language, perl_parity=True)

    def tokenize(line):
        line = line.lower() if lowercase else line
        line = normalizer.normalize(line + "\n") if normalize else line
        return tokenizer.tokenize(line, return_str=True)

    return tokenize


def codes(job):
    """Learn joint BPE (Sennrich et al. 2016, by subword-nmt) on both sides of tok/train; write bpe/codes."""
    lines = [line for code in job.languages for line in read_lines(job.out / "tok" / f"train.{code}")]
    learnt = io.StringIO()
    # subword-nmt draws its own progress bar, also where standard error is no terminal
    quiet = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    with quiet, contextlib.suppress(ValueError):  # ValueError: no word has two characters, so there is no pair
        learn_bpe(lines, learnt, job.bpe_operations)
    if learnt.getvalue().count("\n") < 2:
        raise UserError(f"{job.out / 'tok'}/train.*: no two characters meet twice: too little text to learn BPE from")
    with write_aside(job.out / "bpe" / "codes") as stream:
        stream.write(learnt.getvalue())


def bpe(job):
    """Write bpe/ from tok/ with bpe/codes."""
    segmenter = BPE(io.StringIO((job.out / "bpe" / "codes").read_text(encoding="utf-8")))
    for split in SPLITS:
        for language in job.languages:
            name = f"{split}.{language}"
            map_lines(segmenter.process_line, job.out / "tok" / name, job.out / "bpe" / name)


def bin_(job):
    """Write bin/ from bpe/ with fairseq-preprocess and a joined dictionary."""
    binarize(job.out, job.languages, SPLITS, job.workers)


STEPS = {"raw": raw, "tok": tok, "codes": codes, "bpe": bpe, "bin": bin_}


def files_of(step, job):
    """The files that a step has made, relative to the output folder."""
    if step == "codes":
        return ["bpe/codes"]
    if step == "bin":
        return sorted(f"bin/{path.name}" for path in (job.out / "bin").iterdir())
    texts = [f"{step}/{split}.{language}" for split in SPLITS for language in job.languages]
    return ["README.txt", *texts] if step == "raw" else texts
