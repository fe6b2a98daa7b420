"""C- lines in the output of fairseq-generate and fairseq-interactive."""

_PRINT = 'confidence = hypo.get("confidence"); confidence is None or print(f"C-{%s}\\t{confidence:.4f}"%s)'
_BEFORE_ALIGNMENTS = {
    '                    )\n\n                    if cfg.generation.print_alignment == "hard":': (
        "sample_id",
        ", file=output_file",
    ),
    "                )\n                if cfg.generation.print_alignment:\n": ("id_", ""),
}


def print_sentence_confidence(text):
    """F19: no task can add a line to what a hypothesis prints; --sentence-confidence has one, after the P- line.

    Only where the task gave the hypothesis a "confidence"; the lines are fairseq's else.
    """
    for place, (identifier, file) in _BEFORE_ALIGNMENTS.items():
        if text.count(place) == 1:
            return text.replace(place, place.replace(")\n", f"); {_PRINT % (identifier, file)}\n", 1))
    return None
