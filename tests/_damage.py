"""Bytes that are nearly a valid file, for fuzz tests of readers, and a count of what became of them."""

import collections

from hypothesis import strategies as st

from labo_fairseq.errors import UserError

OUTCOMES = collections.defaultdict(collections.Counter)  # reader: {read, refused: number of inputs}

_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "repeat", "cut"]), st.integers(0, 1 << 20), st.binary(max_size=9)
    ),
    max_size=6,
)


def damaged(*files):
    """Strategy: one of the files (bytes) with up to six places damaged, or any bytes at all."""
    return st.one_of(st.builds(_edited, st.sampled_from(files), _EDITS), st.binary(max_size=300))


def _edited(data, edits):
    for kind, place, piece in edits:
        at = place % (len(data) + 1)
        if kind == "flip":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + 1 + len(piece) * 7 :]
        elif kind == "repeat":
            data = data[:at] + data[max(0, at - 60) :]
        else:
            data = data[:at]
    return data


def read_or_refused(reader, function):
    """Call the function; any exception but a UserError of one line fails. Returns read or refused, and counts it."""
    try:
        function()
    except UserError as error:
        assert "\n" not in str(error)
        OUTCOMES[reader]["refused"] += 1
        return "refused"
    OUTCOMES[reader]["read"] += 1
    return "read"
