"""The systems that a command compares: `--system NAME=FILE`, texts or generate logs, one file per training seed."""

import html
from dataclasses import dataclass

from ..errors import UserError
from ..records.generate_log import is_generate_log, parse_generate_log
from ..records.messages import warn
from ..records.text import read_text, split_lines
from . import bleu

_SHOWN = 5  # how many ids a warning lists
_FEWEST_TARGETS = 10  # fewer say nothing about whose references they are


@dataclass(frozen=True)
class System:
    """The translations of one system: plain lines, or the sentences of a generate log."""

    name: str
    file: str
    lines: list | None  #: None for a log
    sentences: list | None  #: of generate_log.Sentence; None for a text file

    def detokenized(self):
        """Lines for detokenized BLEU: the text as it is, or the D- lines (H- lines where a log has none)."""
        if self.sentences is None:
            return bleu.remove_subwords(self.lines)
        return bleu.remove_subwords([_joined(h) if h.text is None else h.text for h in self.best()])

    def tokenized(self):
        """Lines for tokenized BLEU: the text or the H- lines, with subwords joined."""
        if self.sentences is None:
            return bleu.remove_subwords(self.lines)
        return bleu.remove_subwords([_joined(hypothesis) for hypothesis in self.best()])

    def best(self):
        """The top hypothesis of each sentence of a log."""
        return [sentence.hypotheses[0] for sentence in self.sentences]

    def was_detokenized(self):
        """Whether a log's D- lines differ from its H- lines, so that generation ran with --tokenizer (or --bpe)."""
        return any(
            hypothesis.text is not None and hypothesis.text.split() != list(hypothesis.tokens)
            for sentence in self.sentences
            for hypothesis in sentence.hypotheses
        )


def read_system(name, file):
    """A System from a text file or a generate log. Raises UserError on bad input."""
    text = read_text(file)
    if is_generate_log(text):
        return System(name, file, None, parse_generate_log(text, file))
    return System(name, file, split_lines(text), None)


def read_systems(arguments, repeated=False):
    """{name: [System, …]} of `--system NAME=FILE` arguments, in their order.

    The same name again is another training seed where `repeated` allows it, else an error. Raises UserError.
    """
    files = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not (name and equals and file):
            raise UserError(
                f"--system: {argument}: no name or no file: write NAME=FILE, such as baseline=generate-test.txt"
            )
        if not name.isprintable() or name.startswith("#"):
            raise UserError(f"--system: {name!r}: has control characters or begins with '#': choose another name")
        if name in files and not repeated:
            raise UserError(f"--system: {name}: given twice: choose different names")
        if file in files.get(name, []):
            raise UserError(f"--system: {name}={file}: given twice: each training seed has a file of its own")
        files.setdefault(name, []).append(file)
    return {name: [read_system(name, file) for file in of_name] for name, of_name in files.items()}


def texts(system, references, reference_name, tokenized=False, detokenized_as=None):
    """Lines of a system to score, with subwords joined.

    detokenized_as: the language as which a system in tokens is detokenized: that of the user, or that of references
        that had to be.
    Raises UserError where there are not as many as references or all are empty. Warns on standard error where some are
    empty, or where text that should be detokenized looks tokenized.
    """
    lines = system.tokenized() if tokenized else system.detokenized()
    bleu.check_counts(lines, references, system.file, reference_name)
    _warn_of_other_references(system, references, reference_name)
    empty = [i for i, line in enumerate(lines) if not line.strip()]
    if len(empty) == len(lines):
        raise UserError(f"{system.file}: every translation is empty: generate again")
    if empty:
        more = ", …" if len(empty) > _SHOWN else ""
        listed = ", ".join(map(str, empty[:_SHOWN]))
        warn(f"{system.file}: {len(empty)} of {len(lines)} translations are empty (ids {listed}{more})")
    if not tokenized and bleu.looks_tokenized(lines):
        if detokenized_as:
            warn(f"{system.file}: looks tokenized: detokenized as {detokenized_as}")
            return detokenized(lines, detokenized_as)
        cause = ""
        if system.sentences is not None and not system.was_detokenized():
            cause = " (its D- lines equal its H- lines: generation ran without --tokenizer)"
        warn(
            f"{system.file}: looks tokenized{cause}: these scores are not comparable with those of detokenized text; "
            "give --language XX and it is detokenized first, generate with --tokenizer moses, or use --tokenized"
        )
    return lines


def _warn_of_other_references(system, references, reference_name):
    """The T- lines of a log are its references in tokens. Where hardly one has the same letters, these are others."""
    targets = [sentence.target for sentence in system.sentences or ()]
    if len(targets) < _FEWEST_TARGETS or None in targets:
        return
    pairs = zip(bleu.remove_subwords(targets), references, strict=True)
    if sum(_letters(target) == _letters(reference) for target, reference in pairs) < len(targets) / 10:
        warn(
            f"{system.file}: its own references (T- lines) are not the lines of {reference_name}: "
            "is that of another language or test set?"
        )


def warn_of_copied_sources(system, lines, sources):
    """Warn where most lines of a system are the source sentences. sources: None where they are not known."""
    if sources is None:
        return
    copied = sum(_letters(line) == _letters(source) for line, source in zip(lines, sources, strict=True))
    if copied > len(lines) / 2:
        warn(f"{system.file}: {copied} of {len(lines)} lines are the source sentences: is it the source text?")


def _letters(text):
    return [character for character in html.unescape(text).casefold() if character.isalnum()]


def read_lines(file, what="the text"):
    """Lines of a plain text file. Raises UserError where it cannot be read or is a generate log."""
    text = read_text(file)
    if is_generate_log(text):
        raise UserError(f"{file}: is a generate log: give {what}, one sentence per line")
    return split_lines(text)


def own_targets(system):
    """The tokenized T- lines of a system's log. Raises UserError where there are none."""
    if system.sentences is None:
        raise UserError(f"{system.file}: is no generate log: give its tokenized references with --reference")
    targets = [sentence.target for sentence in system.sentences]
    if None in targets:
        raise UserError(f"{system.file}: has no T- lines: give the tokenized references with --reference")
    if system.was_detokenized():
        # fairseq decodes T- with the same --tokenizer as D-, so these are not the tokens that H- is to match
        raise UserError(
            f"{system.file}: its T- lines are detokenized (--tokenizer): give tokenized ones with --reference"
        )
    return bleu.remove_subwords(targets)


def detokenized(lines, language):
    """Lines of Moses tokens as plain text, by sacremoses."""
    from sacremoses import MosesDetokenizer  # only here: most texts need none

    detokenizer = MosesDetokenizer(lang=language)
    return [detokenizer.detokenize(line.split()) for line in lines]


def _joined(hypothesis):
    return " ".join(hypothesis.tokens)
