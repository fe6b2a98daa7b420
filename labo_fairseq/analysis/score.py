"""BLEU and chrF2 of translations, computed by sacreBLEU, with its signatures.

  labo score --reference raw/test.en --system smoothing=ls/generate-test.txt --system labo=labo/generate-test.txt
  labo score --tokenized --system labo=labo/generate-test.txt

A system is a text file, one sentence per line, or the output of fairseq-generate (told by its content, plain or gzip).
Of such a log the D- lines are scored: they are detokenized if generation ran with --tokenizer moses. With --tokenized
the tokenized BLEU is given instead (fairseq's BLEU4), of the H- lines with subwords joined, against a tokenized
--reference or, without one, the log's own T- lines. It compares systems of one tokenization only.

Prints a TSV table, then the signatures as lines that begin with "#".
"""

import json
import sys
from dataclasses import dataclass

from ..errors import UserError
from . import bleu
from .generate_log import is_generate_log, parse_generate_log
from .text import read_text, split_lines


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
            return self.lines
        best = [sentence.hypotheses[0] for sentence in self.sentences]
        return bleu.remove_subwords([_joined(h) if h.text is None else h.text for h in best])

    def tokenized(self):
        """Lines for tokenized BLEU: the text or the H- lines, with subwords joined."""
        if self.sentences is None:
            return bleu.remove_subwords(self.lines)
        return bleu.remove_subwords([_joined(sentence.hypotheses[0]) for sentence in self.sentences])

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


def score_system(system, references, reference_name, lowercase=False):
    """BLEU and chrF2 of a system's detokenized text: a list of bleu.Score. Raises UserError where counts differ.

    Warns on standard error where the text looks tokenized.
    """
    lines = system.detokenized()
    bleu.check_counts(lines, references, system.file, reference_name)
    if bleu.looks_tokenized(lines):
        cause = ""
        if system.sentences is not None and not system.was_detokenized():
            cause = " (its D- lines equal its H- lines: generation ran without --tokenizer)"
        _warn(
            f"{system.file}: looks tokenized{cause}: these scores are not comparable with those of detokenized text; "
            "generate with --tokenizer moses, or use --tokenized"
        )
    return [bleu.corpus_bleu(lines, references, lowercase), bleu.chrf(lines, references, lowercase)]


def score_tokenized(system, references=None, reference_name=None, lowercase=False):
    """Tokenized BLEU of a system: a list of one bleu.Score. Without references, against its own T- lines.

    Raises UserError where counts differ, or where there are no tokenized references.
    """
    lines = system.tokenized()
    if references is None:
        references, reference_name = _own_targets(system), f"the T- lines of {system.file}"
    references = bleu.remove_subwords(references)
    bleu.check_counts(lines, references, system.file, reference_name)
    return [bleu.tokenized_bleu(lines, references, lowercase)]


def add_arguments(parser):
    """Declare the arguments of `labo score`."""
    parser.add_argument("--reference", metavar="FILE", help="reference text; optional with --tokenized and logs")
    parser.add_argument(
        "--system", metavar="NAME=FILE", action="append", required=True, help="translations to score; can be repeated"
    )
    parser.add_argument("--tokenized", action="store_true", help="tokenized BLEU alone")
    parser.add_argument("--lowercase", action="store_true", help="lower-case both sides first")
    parser.add_argument("--width", type=int, default=2, metavar="N", help="decimals of the table, as sacrebleu -w")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded scores instead of the table")


def run(args):
    """Score the systems; returns 0. Raises UserError on bad input."""
    if args.width < 0:
        raise UserError(f"--width: {args.width}: must be 0 or more")
    named = _named_files(args.system)
    references = None
    if args.reference is not None:
        references = _references(args.reference)
    elif not args.tokenized:
        raise UserError("--reference: missing: give the detokenized reference text")
    score = score_tokenized if args.tokenized else score_system
    systems = [read_system(name, file) for name, file in named]
    rows = [(system, score(system, references, args.reference, lowercase=args.lowercase)) for system in systems]
    print(_as_json(rows, args.reference) if args.json else _as_table(rows, args.width))
    return 0


def _named_files(arguments):
    named = []
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not (name and equals and file):
            raise UserError(f"--system: {argument}: must read NAME=FILE")
        if not name.isprintable() or name.startswith("#"):
            raise UserError(
                f"--system: {name!r}: a name must be printable and not begin with '#', for the table's sake"
            )
        if name in dict(named):
            raise UserError(f"--system: {name}: given twice: choose different names")
        named.append((name, file))
    return named


def _references(file):
    text = read_text(file)
    if is_generate_log(text):
        raise UserError(f"{file}: is a generate log: give the reference text, one sentence per line")
    return split_lines(text)


def _own_targets(system):
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
    return targets


def _joined(hypothesis):
    return " ".join(hypothesis.tokens)


def _as_table(rows, width):
    scores = rows[0][1]
    lines = ["\t".join(["system", *(score.metric for score in scores)])]
    for system, values in rows:
        lines.append("\t".join([system.name, *(f"{score.value:.{width}f}" for score in values)]))
    lines += [f"# {score.metric}: {score.signature}" for score in scores]
    return "\n".join(lines)


def _as_json(rows, reference):
    systems = [
        {
            "system": system.name,
            "file": system.file,
            "scores": [vars(score) for score in scores],
        }
        for system, scores in rows
    ]
    return json.dumps({"reference": reference, "systems": systems}, indent=2, ensure_ascii=False)


def _warn(message):
    print(f"warning: {message}", file=sys.stderr)
