"""Which tokens of a translation are right, by the alignment of translation edit rate (TER; Snover et al. 2006).

sacreBLEU's TER finds the shifts and the edits, in process; this module keeps track of where each token came from. Its
functions below lie in sacrebleu.metrics.lib_ter and are not documented, so that a test compares with its public score.
"""

from sacrebleu.metrics import lib_ter

CORRECT, SUBSTITUTED, INSERTED = "C", "S", "I"
_DELETION, _INSERTION, _MATCH = "d", "i", " "


class _Placed(str):
    """A token that remembers its place in the hypothesis while it is shifted."""

    place: int


def token_labels(hypothesis, reference):
    """(labels, after_gap) of the tokens of a hypothesis, two lists of its length.

    hypothesis, reference: lists of tokens
    labels: "C" the same token stands in the reference (perhaps after a shift), "S" another does, "I" none does
    after_gap: whether a reference token is missing just before it
    """
    words = [_Placed(token) for token in hypothesis]
    for place, word in enumerate(words):
        word.place = place
    if not reference:
        return [INSERTED] * len(words), [False] * len(words)
    distance = lib_ter.BeamEditDistance(list(reference))
    words = _shifted(words, list(reference), distance)
    # sacreBLEU's trace rewrites the hypothesis into the reference; turned around, an insertion is a surplus token
    trace = lib_ter._flip_trace(distance(words)[1])
    labels, after_gap = [INSERTED] * len(words), [False] * len(words)
    surviving, gap = iter(words), False
    for operation in trace:
        if operation == _DELETION:
            gap = True
            continue
        place = next(surviving).place
        labels[place] = {_MATCH: CORRECT, _INSERTION: INSERTED}.get(operation, SUBSTITUTED)
        after_gap[place], gap = gap, False
    return labels, after_gap


def _shifted(words, reference, distance):
    """The hypothesis after the shifts that TER counts."""
    checked = 0
    while True:
        gain, candidate, checked = lib_ter._shift(words, reference, distance, checked)
        if gain <= 0 or checked >= lib_ter._MAX_SHIFT_CANDIDATES:
            return words
        words = candidate
