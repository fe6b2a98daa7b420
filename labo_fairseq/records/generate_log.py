"""Reads what `fairseq-generate` and `fairseq-interactive` print.

S- source, T- target, H- hypothesis, D- the same detokenized, P- scores per token, A- alignment, C- the confidence that
the task calibrated_translation adds with --sentence-confidence. Lines may come in any order; other kinds (W-, I-, E-)
and log messages in between are passed over, and so are C- lines that hold the constraints of fairseq-interactive. With
--nbest an id has several H-, D-, P-, A- and C- lines: the j-th of one kind belongs to the j-th of the others.

Scores are base-2 logarithms, as fairseq prints them: that of H- is the sum over the tokens, by default divided by
their number, those of P- are one per token and one for the end of the sentence. A confidence is a natural probability.

Where standard error goes to the same file, a message can break a line in two, or stand in the middle of a sentence,
which would be scored as if it were translated. Such a log is refused: where D- is not the text of H-, and where a line
that is neither fairseq's nor a message of a known form stands among the lines of one sentence.
"""

import itertools
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass

from ..errors import UserError
from .text import read_text, split_lines

_LINE = re.compile(r"([STHDPAC])-([0-9]{1,9})\t(.*)", re.DOTALL)
_OURS = re.compile(r"[STHDPAC]-[0-9]+(?:\s|$)")
_BARE = re.compile(r"[ST]-[0-9]{1,9}")  # an empty sentence whose tab an editor has trimmed
_OTHERS = re.compile(r"[A-Z]-[0-9_]+\t")  # W-, I-, E-: fairseq's too
_STAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:,]+ \| [A-Z]+ \| "
_WARNING = r"\S*\.py:[0-9]+: \w*Warning: "
# messages as whole lines: of logging, of Python's warnings (with the line of code below), of tqdm
_MESSAGES = re.compile(rf"{_STAMP}|{_WARNING}|.*\r|.*[0-9]%\||\s*$")
_INSIDE = re.compile(rf"{_STAMP}|{_WARNING}|Traceback \(most recent call last\)")
#: what Moses writes for characters that its tools keep for themselves
ENTITIES = {
    "&apos;": "'", "&quot;": '"', "&lt;": "<", "&gt;": ">", "&#124;": "|", "&#91;": "[", "&#93;": "]", "&amp;": "&",
}  # fmt: skip
_MARKS = re.compile(r"@@(?=\s|$)|▁|\s")
_MOST = 5e-4  # log2 of a probability: rounding may lift it a little above 0
_NEAR = 20  # lines below a broken one in which its rest is looked for
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


def read_generate_log(path: str | os.PathLike) -> list[Sentence]:
    """Sentences of a log file, plain or gzip, sorted by id.

    Raises UserError where ids do not run from 0 to N-1, a sentence comes twice, a number or a line is damaged, the
    file is cut, or an H- line shows subwords and the P- line has not one score more than those.
    """
    return parse_generate_log(read_text(path), str(path))


def parse_generate_log(text: str, name: str) -> list[Sentence]:
    """As `read_generate_log`, of a text that is read already; `name` stands for the file in error messages."""
    lines = split_lines(text)
    by_kind = _collect(text, lines, name)
    if not by_kind["H"]:
        raise UserError(f"{name}: no H- lines: give the output of fairseq-generate (without --quiet)")
    ids = sorted(set().union(*(by_kind[kind] for kind in "STHDP")))
    by_kind["C"] = _confidences(by_kind)
    _check_ids(by_kind, ids, name)
    _check_strangers(by_kind, lines, name)
    sentences = [_sentence(by_kind, i, name) for i in ids]
    _check_scores(sentences, name)
    _check_texts(by_kind, lines, name)
    return sentences


def shows_subwords(sentences: list[Sentence]) -> bool:
    """Whether the H- lines still hold subwords: `@@` of subword-nmt or `▁` of sentencepiece."""
    return any(
        token.endswith("@@") or token.startswith("▁")
        for sentence in sentences
        for hypothesis in sentence.hypotheses
        for token in hypothesis.tokens
    )


def log_lines(sentence: Sentence) -> str:
    """The lines of one sentence as fairseq-generate prints them; `parse_generate_log` gives the same Sentence back."""
    i = sentence.id
    sides = ("S", sentence.source), ("T", sentence.target)
    lines = [f"{kind}-{i}\t{text}" for kind, text in sides if text is not None]
    for hypothesis in sentence.hypotheses:
        lines.append(f"H-{i}\t{hypothesis.score}\t{' '.join(hypothesis.tokens)}")
        if hypothesis.text is not None:
            lines.append(f"D-{i}\t{hypothesis.score}\t{hypothesis.text}")
        if hypothesis.positional_scores is not None:
            lines.append(f"P-{i}\t" + " ".join(f"{score:.4f}" for score in hypothesis.positional_scores))
        if hypothesis.alignment is not None:
            lines.append(f"A-{i}\t{hypothesis.alignment}")
        if hypothesis.confidence is not None:
            lines.append(f"C-{i}\t{hypothesis.confidence}")
    return "\n".join(lines) + "\n"


def _collect(text, lines, name):
    """Line kind -> id -> list of (line number, content)."""
    by_kind = {kind: defaultdict(list) for kind in "STHDPAC"}
    if lines and not text.endswith("\n") and _OURS.match(lines[-1]):
        raise UserError(f"{name}:{len(lines)}: the last line has no line end: the file is cut, generate again")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        match = _LINE.fullmatch(line)
        if match:
            by_kind[match[1]][int(match[2])].append((number, match[3]))
        elif _BARE.fullmatch(line):
            by_kind[line[0]][int(line[2:])].append((number, ""))
        elif _OURS.match(line):
            raise UserError(f"{name}:{number}: no tab after {line.split()[0]}: the line is damaged, generate again")
    return by_kind


def _check_ids(by_kind, ids, name):
    for kind in "ST":
        twice = [i for i, lines in by_kind[kind].items() if len(lines) > 1]
        if twice:
            number = by_kind[kind][min(twice)][1][0]
            raise UserError(f"{name}:{number}: {kind}- lines come twice for {_listed(twice)}: give one log alone")
    if not by_kind["S"] and not by_kind["T"]:
        _check_repeated(by_kind["H"], name)
    absent = ids[-1] + 1 - len(ids)
    if absent:
        present = set(ids)
        first = list(itertools.islice((i for i in range(ids[-1]) if i not in present), _SHOWN))
        raise UserError(f"{name}: no sentence {_listed(first, absent)} (ids run to {ids[-1]}): the log is not complete")
    for kind in "HSTDPAC":
        lacking = [i for i in ids if i not in by_kind[kind]]
        if by_kind[kind] and lacking:
            raise UserError(f"{name}: no {kind}- line for {_listed(lacking)}: the log is not complete")


def _check_repeated(hypotheses, name):
    """Two logs in one, without S- and T- lines to show it: every sentence then has the same hypotheses twice."""
    repeated = [i for i, lines in hypotheses.items() if len({content for _, content in lines}) * 2 <= len(lines)]
    if len(repeated) == len(hypotheses):
        number = hypotheses[min(repeated)][1][0]
        raise UserError(f"{name}:{number}: H- lines come twice for {_listed(repeated)}: give one log alone")


def _confidences(by_kind):
    """The C- lines that are confidences: fairseq-interactive prints constraints, ours comes after the hypothesis."""
    kept = defaultdict(list)
    for i, lines in by_kind["C"].items():
        source, first = (by_kind[kind][i][0][0] if i in by_kind[kind] else None for kind in "SH")
        # S- C- H-: the order of fairseq-interactive; a log that was sorted in between has C- before S-
        constrained = source is not None and first is not None and source < first
        kept[i] += [line for line in lines if not (constrained and source < line[0] < first)]
    kept = {i: lines for i, lines in kept.items() if lines}
    return kept if kept and _are_confidences(kept, by_kind["H"]) else {}


def _are_confidences(lines, hypotheses):
    """Whether C- lines hold numbers rather than words; those before the hypothesis have to be plausible, too."""
    first = lines[min(lines)][0]
    if not _is_number(first[1]):
        return False
    if any(line[0] > hypotheses[i][0][0] for i, group in lines.items() if i in hypotheses for line in group):
        return True
    whole = all(len(group) == len(hypotheses.get(i, [])) for i, group in lines.items())
    texts = [content for group in lines.values() for _, content in group]
    return whole and all(_is_number(text) and "." in text and 0 <= float(text) <= 1 for text in texts)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_strangers(by_kind, lines, name):
    """A line that is no message may not stand among the lines of one sentence: it is a piece of one of them."""
    owners = {number: i for kind in by_kind.values() for i, group in kind.items() for number, _ in group}
    before, strangers = None, []
    for number in range(1, len(lines) + 1):
        if number in owners:
            if strangers and owners[number] == before:
                piece = lines[strangers[0] - 1].strip()
                raise UserError(
                    f"{name}:{strangers[0]}: {piece[:40]!r} stands among the lines of id {before} and is none of them: "
                    "keep messages out of the log (2> errors.log) and generate again"
                )
            before, strangers = owners[number], []
        elif not _is_message(lines, number):
            strangers.append(number)


def _is_message(lines, number):
    """Whether a line that is not of a sentence is whole: of fairseq, of logging, a warning or its line of code."""
    line = lines[number - 1]
    if _OTHERS.match(line) or _MESSAGES.match(line):
        return True
    return number > 1 and line.startswith("  ") and re.match(_WARNING, lines[number - 2]) is not None


def _check_texts(by_kind, lines, name):
    """Raises UserError where a message stands inside of H- or D-, as the other of the two shows, or of S- or T-."""
    pairs = [
        (i, hypothesis, text)
        for i, group in by_kind["H"].items()
        for hypothesis, text in zip(group, by_kind["D"].get(i, []), strict=False)
    ]
    bare = [tuple(_bare(content.partition("\t")[2]) for _, content in pair) for _, *pair in pairs]
    unequal = [k for k, (hypothesis, text) in enumerate(bare) if hypothesis != text]
    usual = 2 * len(unequal) < len(pairs)  # not so where --bpe gpt2 or the like makes other characters of H-
    for k in unequal:
        i, (first, _), (number, content) = pairs[k]
        if (
            usual
            or _INSIDE.search(content)
            or _is_broken(*bare[k], lines, number)
            or _is_broken(*bare[k][::-1], lines, first)
        ):
            raise UserError(
                f"{name}:{number}: D-{i} is not the text of H-{i} in line {first}: keep messages out of the log "
                "(2> errors.log) and generate again"
            )


def _is_broken(whole, text, lines, number):
    """Whether a text without spaces is `whole` with something inserted, or its beginning, the rest being below.

    number: of the line in which it was text.
    """
    before, behind = _shared(whole, text), _shared(whole[::-1], text[::-1])
    if len(text) > len(whole) and before + behind >= len(whole):
        return True
    below = itertools.takewhile(lambda line: not _OURS.match(line), lines[number : number + _NEAR])
    rests = [whole[k:] for k in range(before + 1) if whole[k:]]
    return any(line and line.endswith(rest) for line in map(_bare, below) for rest in rests)


def _shared(first, second):
    """How many characters two texts have in common at their beginnings."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _bare(text):
    """A text without what joining subwords and detokenizing change: spaces, marks of subwords, Moses entities."""
    text = text.replace(" @-@ ", "-")
    for entity, character in ENTITIES.items():
        text = text.replace(entity, character)
    return _MARKS.sub("", text)


def _sentence(by_kind, i, name):
    scored = [_scored(line, "H", i, name) for line in by_kind["H"][i]]
    texts = [_scored(line, "D", i, name) for line in by_kind["D"].get(i, [])]
    positional = [_numbers(line, i, name) for line in by_kind["P"].get(i, [])]
    alignments = [content for _, content in by_kind["A"].get(i, [])]
    confidences = [_probability(line, i, name) for line in by_kind["C"].get(i, [])]
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
    source, target = (by_kind[kind][i][0][1] if i in by_kind[kind] else None for kind in "ST")
    return Sentence(i, source, target, tuple(hypotheses))


def _scored(line, kind, i, name):
    """(score, text, line number) of an H- or D- line."""
    number, content = line
    score, _, text = content.partition("\t")
    return _log_probability(score, f"{name}:{number}: {kind}-{i}"), text, number


def _numbers(line, i, name):
    number, content = line
    return tuple(_log_probability(part, f"{name}:{number}: P-{i}") for part in content.split())


def _probability(line, i, name):
    number, content = line
    value = _number(content, f"{name}:{number}: C-{i}")
    if not 0 <= value <= 1:
        raise UserError(f"{name}:{number}: C-{i}: {value} is no probability: it must lie in [0, 1]")
    return value


def _log_probability(text, where):
    value = _number(text, where)
    if not -math.inf < value <= _MOST:
        raise UserError(f"{where}: {value} is no log-probability: it must be finite and not above 0: generate again")
    return min(value, 0.0)


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
