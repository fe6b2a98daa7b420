"""Which tokens of a translation are right, by the alignment of translation edit rate (TER; Snover et al. 2006).

sacreBLEU's TER finds the shifts and the edits, in process; this module keeps track of where each token came from.
"""

from ..measures.sacre import EditDistance

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
    distance = EditDistance(list(reference))
    words = distance.shifted(words)
    labels, after_gap = [INSERTED] * len(words), [False] * len(words)
    surviving, gap = iter(words), False
    for operation in distance.operations(words):
        if operation == _DELETION:
            gap = True
            continue
        place = next(surviving).place
        labels[place] = {_MATCH: CORRECT, _INSERTION: INSERTED}.get(operation, SUBSTITUTED)
        after_gap[place], gap = gap, False
    return labels, after_gap
