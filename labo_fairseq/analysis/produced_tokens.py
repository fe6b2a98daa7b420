"""The tokens that beam search produced, and whether each is right."""

import numpy as np

from ..errors import UserError
from ..measures.calibration import subword_unit
from ..records.generate_log import read_generate_log
from . import bleu
from .word_labels import CORRECT, token_labels

# fairseq writes unknown words of references in a way that BLEU cannot match; to the model they are one type
UNKNOWN, ESCAPED_UNKNOWN = "<unk>", "<<unk>>"


def produced_tokens(log, gap_is_wrong=False):
    """(confidence, correct, sentence, unit) of the tokens of the best hypotheses in a generate log, arrays (N,).

    A produced <unk> is right where the reference has an unknown word, as in teacher-forced ECE.
    Raises UserError where the log lacks P- or T- lines or does not hold the tokens that were scored.
    """
    confidence, correct, sentence = [], [], []
    symbols = set()
    for one in read_generate_log(log):
        best = one.hypotheses[0]
        if best.positional_scores is None or one.target is None:
            raise UserError(
                f"{log}: no {'P' if best.positional_scores is None else 'T'}- lines: generate from binaries"
            )
        if len(best.positional_scores) != len(best.tokens) + 1:
            raise UserError(
                f"{log}: id {one.id}: {len(best.positional_scores)} scores for {len(best.tokens)} tokens, expected one "
                "more than tokens: generate without --remove-bpe, --post-process and --tokenizer"
            )
        labels, after_gap = token_labels(best.tokens, one.target.replace(ESCAPED_UNKNOWN, UNKNOWN).split())
        confidence += [min(1.0, 2.0**score) for score in best.positional_scores[:-1]]
        correct += [
            label == CORRECT and not (gap and gap_is_wrong) for label, gap in zip(labels, after_gap, strict=True)
        ]
        sentence += [one.id] * len(labels)
        symbols.update(best.tokens)
    if not confidence:
        raise UserError(f"{log}: every translation is empty: there is no token to measure")

    return np.array(confidence), np.array(correct), np.array(sentence), subword_unit(symbols)


def sentence_chrf(sentences):
    """Sentence chrF2, (N,), 0 to 100, of each best hypothesis against the T- line, with subwords joined.

    sentences: of generate_log.Sentence
    """
    best = [sentence.hypotheses[0] for sentence in sentences]
    texts = bleu.remove_subwords([" ".join(h.tokens) if h.text is None else h.text for h in best])
    targets = bleu.remove_subwords([sentence.target for sentence in sentences])
    return np.array(bleu.Metric("chrf2", targets).sentence_scores(texts))
