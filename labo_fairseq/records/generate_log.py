"""Reads what `fairseq-generate` and `fairseq-interactive` print.

S- source, T- target, H- hypothesis, D- the same detokenized, P- scores per token, A- alignment, C- the confidence that
the task calibrated_translation adds with --sentence-confidence. Lines may come in any order; other kinds (W-, I-, E-)
and log messages in between are passed over, and so are C- lines that hold the constraints of fairseq-interactive. With
--nbest an id has several H-, D-, P-, A- and C- lines: the j-th of one kind belongs to the j-th of the others.

Scores are base-2 logarithms, as fairseq prints them: that of H- is the sum over the tokens, by default divided by
their number, those of P- are one per token and one for the end of the sentence. A confidence is a natural probability.
"""

import itertools
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .text import read_text, split_lines

_LINE = re.compile(r"([STHDPAC])-([0-9]{1,9})\t(.*)", re.DOTALL)
_OURS = re.compile(r"[STHDPAC]-[0-9]+(?:\s|$)")
_BARE = re.compile(r"[ST]-[0-9]{1,9}")  # an empty sentence whose tab an editor has trimmed
_SHOWN = 5  # how many ids an error message lists


@dataclass(frozen=True)
class Hypothesis:
    """One translation of one sentence."""

    score: float  #: of the H- line, base 2
    tokens: tuple[str, ...]  #: of the H- line: subwords, unless generation ran with --remove-bpe
    text: str | None  #: the D- line, detokenized where generation ran with --tokenizer; None without D- lines
    positional_scores: tuple[float, ...] | None  #: the P- line, base 2, the end of the sentence last; None without
    alignment: str | None = None  #: the A- line as it is: pairs `source-target`, or rows of weights with `soft`
    confidence: float | None = None  #: the C- line, in [0, 1]


@dataclass(frozen=True)
class Sentence:
    """One sentence of the test set. The best hypothesis is the first."""

    id: int
    source: str | None  #: None where the log has no S- lines
    target: str | None  #: None where the log has no T- lines, as that of fairseq-interactive
    hypotheses: tuple[Hypothesis, ...]


def is_generate_log(text: str) -> bool:
    """Whether a text is output of fairseq-generate or fairseq-interactive rather than plain sentences."""
    return re.search(r"^[STHDP]-[0-9]+\t", text, re.MULTILINE) is not None


def read_generate_log(path: str | Path) -> list[Sentence]:
    """Sentences of a log file, plain or gzip, sorted by id.

    Raises UserError where ids do not run from 0 to N-1, a sentence comes twice, a number or a line is damaged, the
    file is cut, or an H- line shows subwords and the P- line has not one score more than those.
    """
    return parse_generate_log(read_text(path), str(path))


def parse_generate_log(text: str, name: str) -> list[Sentence]:
    """As `read_generate_log`, of a text that is read already; `name` stands for the file in error messages."""
    lines = _collect(text, name)
    if not lines["H"]:
        raise UserError(f"{name}: no H- lines: give the output of fairseq-generate (without --quiet)")
    ids = sorted(set().union(*(lines[kind] for kind in "STHDP")))
    if not _holds_confidences(lines["C"]):
        lines["C"] = {}
    _check_ids(lines, ids, name)
    sentences = [_sentence(lines, i, name) for i in ids]
    _check_scores(sentences, name)
    return sentences


def shows_subwords(sentences: list[Sentence]) -> bool:
    """Whether the H- lines still hold subwords: `@@` of subword-nmt or `▁` of sentencepiece."""
    return any(
        token.endswith("@@") or token.startswith("▁")
        for sentence in sentences
        for hypothesis in sentence.hypotheses
        for token in hypothesis.tokens
    )


def _collect(text, name):
    """Line kind -> id -> list of (line number, content)."""
    found = {kind: defaultdict(list) for kind in "STHDPAC"}
    lines = split_lines(text)
    if lines and not text.endswith("\n") and _OURS.match(lines[-1]):
        raise UserError(f"{name}:{len(lines)}: the last line has no line end: the file is cut, generate again")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        match = _LINE.fullmatch(line)
        if match:
            found[match[1]][int(match[2])].append((number, match[3]))
        elif _BARE.fullmatch(line):
            found[line[0]][int(line[2:])].append((number, ""))
        elif _OURS.match(line):
            raise UserError(f"{name}:{number}: no tab after {line.split()[0]}: the line is damaged, generate again")
    return found


def _check_ids(found, ids, name):
    for kind in "ST":
        twice = [i for i, lines in found[kind].items() if len(lines) > 1]
        if twice:
            number = found[kind][min(twice)][1][0]
            raise UserError(f"{name}:{number}: {kind}- lines come twice for {_listed(twice)}: give one log alone")
    if not found["S"] and not found["T"]:
        _check_repeated(found["H"], name)
    absent = ids[-1] + 1 - len(ids)
    if absent:
        present = set(ids)
        first = list(itertools.islice((i for i in range(ids[-1]) if i not in present), _SHOWN))
        raise UserError(f"{name}: no sentence {_listed(first, absent)} (ids run to {ids[-1]}): the log is not complete")
    for kind in "HSTDPAC":
        lacking = [i for i in ids if i not in found[kind]]
        if found[kind] and lacking:
            raise UserError(f"{name}: no {kind}- line for {_listed(lacking)}: the log is not complete")


def _check_repeated(hypotheses, name):
    """Two logs in one, without S- and T- lines to show it: every sentence then has the same hypotheses twice."""
    repeated = [i for i, lines in hypotheses.items() if len({content for _, content in lines}) * 2 <= len(lines)]
    if len(repeated) == len(hypotheses):
        number = hypotheses[min(repeated)][1][0]
        raise UserError(f"{name}:{number}: H- lines come twice for {_listed(repeated)}: give one log alone")


def _holds_confidences(lines):
    """Whether C- lines are confidences rather than constraints, which are words; the first one tells."""
    if not lines:
        return False
    try:
        float(lines[min(lines)][0][1])
    except ValueError:
        return False
    return True


def _sentence(lines, i, name):
    scored = [_scored(line, "H", i, name) for line in lines["H"][i]]
    texts = [_scored(line, "D", i, name) for line in lines["D"].get(i, [])]
    positional = [_numbers(line, i, name) for line in lines["P"].get(i, [])]
    alignments = [content for _, content in lines["A"].get(i, [])]
    confidences = [_probability(line, i, name) for line in lines["C"].get(i, [])]
    for kind, group in (("D", texts), ("P", positional), ("A", alignments), ("C", confidences)):
        if group and len(group) != len(scored):
            raise UserError(f"{name}: id {i}: {len(scored)} H- lines but {len(group)} {kind}- lines: generate again")
    hypotheses = []
    for j, (score, tokens, number) in enumerate(scored):
        if texts and texts[j][0] != score:
            raise UserError(
                f"{name}:{texts[j][2]}: D-{i} has another score than H-{i} in line {number}: generate again"
            )
        others = (group[j] if group else None for group in (positional, alignments, confidences))
        hypotheses.append(Hypothesis(score, tuple(tokens.split()), texts[j][1] if texts else None, *others))
    # fairseq prints the best first; sorted (stably) again for logs that were sorted as text in between
    hypotheses.sort(key=lambda hypothesis: -hypothesis.score)
    source, target = (lines[kind][i][0][1] if i in lines[kind] else None for kind in "ST")
    return Sentence(i, source, target, tuple(hypotheses))


def _scored(line, kind, i, name):
    """(score, text, line number) of an H- or D- line."""
    number, content = line
    score, _, text = content.partition("\t")
    return _number(score, f"{name}:{number}: {kind}-{i}"), text, number


def _numbers(line, i, name):
    number, content = line
    return tuple(_number(part, f"{name}:{number}: P-{i}") for part in content.split())


def _probability(line, i, name):
    number, content = line
    value = _number(content, f"{name}:{number}: C-{i}")
    if not 0 <= value <= 1:
        raise UserError(f"{name}:{number}: C-{i}: {value} is no probability: it must lie in [0, 1]")
    return value


def _number(text, where):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UserError(f"{where}: {text[:40]!r} is not a number: the line is damaged, generate again")
    return value


def _check_scores(sentences, name):
    """Where any line shows subwords none were removed, so every P- line has a score per token and one for the end."""
    if not shows_subwords(sentences):
        return
    for sentence in sentences:
        for hypothesis in sentence.hypotheses:
            scores, tokens = hypothesis.positional_scores, hypothesis.tokens
            if scores is not None and len(scores) != len(tokens) + 1:
                raise UserError(
                    f"{name}: P-{sentence.id} has {len(scores)} scores for {len(tokens)} tokens, expected one more "
                    "than tokens: the log is damaged, generate again"
                )


def _listed(ids, count=None):
    """The first of `ids` in words; `count` where they are more than those given."""
    count = count or len(ids)
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    return f"id{'s' * (count > 1)} {', '.join(map(str, sorted(ids)[:_SHOWN]))}{more}"
