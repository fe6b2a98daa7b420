"""The tokens that beam search produced, and whether each is right."""

import io
import re

import numpy as np

from ..errors import UserError
from ..measures.calibration import subword_unit
from ..records.generate_log import read_generate_log, shows_subwords
from ..records.messages import warn
from ..records.text import read_text, split_lines
from . import bleu
from .word_labels import CORRECT, token_labels

# fairseq writes unknown words of references in a way that BLEU cannot match; to the model they are one type
UNKNOWN, ESCAPED_UNKNOWN = "<unk>", "<<unk>>"


def produced_tokens(log, gap_is_wrong=False, reference=None, codes=None):
    """(confidence, correct, sentence, unit) of the tokens of the best hypotheses in a generate log, arrays (N,).

    reference: lines of the reference in subwords, in place of the log's T- lines
    codes: file of subword-nmt's merges, for a log whose H- lines hold words: they are split again, and a sentence that
        then has not one token for each score, since the model split a word otherwise, is left out with a warning

    A produced <unk> is right where the reference has an unknown word, as in teacher-forced ECE.
    Raises UserError where the log lacks P- or T- lines or does not hold the tokens that were scored.
    """
    sentences = read_generate_log(log)
    if reference is not None:
        bleu.check_counts(reference, sentences, "--reference", log)
    split = _splitter(codes) if codes and not shows_subwords(sentences) else None
    confidence, correct, sentence = [], [], []
    symbols, left_out = set(), 0
    for one in sentences:
        best, target = one.hypotheses[0], one.target if reference is None else reference[one.id]
        if best.positional_scores is None or target is None:
            raise UserError(
                f"{log}: no {'P' if best.positional_scores is None else 'T'}- lines: generate from binaries"
            )
        tokens = split(best.tokens) if split else best.tokens
        if len(best.positional_scores) != len(tokens) + 1:
            if split:
                left_out += 1
                continue
            raise UserError(_of_words(log, one.id, len(best.positional_scores), len(tokens)))
        target = target.replace(ESCAPED_UNKNOWN, UNKNOWN).split()
        labels, after_gap = token_labels(tokens, split(target) if split and reference is None else target)
        confidence += [min(1.0, 2.0**score) for score in best.positional_scores[:-1]]
        correct += [
            label == CORRECT and not (gap and gap_is_wrong) for label, gap in zip(labels, after_gap, strict=True)
        ]
        sentence += [one.id] * len(labels)
        symbols.update(tokens)
    if left_out:
        warn(f"{log}: {left_out} of {len(sentences)} sentences are left out: the model split their words otherwise")
    if not confidence:
        raise UserError(f"{log}: every translation is empty: there is no token to measure")
    if reference is None:
        _check_targets(log, sentences, symbols)
    return np.array(confidence), np.array(correct), np.array(sentence), subword_unit(symbols)


def _splitter(codes):
    """A function from a list of words to their subwords, by subword-nmt's merges."""
    from subword_nmt.apply_bpe import BPE  # only here: most logs show their subwords

    text = read_text(codes)
    for number, line in enumerate(split_lines(text), 1):
        if len(line.split()) != 2:  # subword-nmt would end the program
            raise UserError(f"{codes}:{number}: {line[:40]!r}: is no merge of two subwords: give bpe/codes")
    merges = BPE(io.StringIO(text), glossaries=[re.escape(UNKNOWN)])
    return lambda words: merges.segment_tokens(list(words))


def _of_words(log, number, scores, tokens):
    return (
        f"{log}: id {number}: {scores} scores for {tokens} tokens, expected one more than tokens: its H- lines hold "
        "words, the scores belong to subwords: give --bpe-codes bpe/codes --reference bpe/test.XX, or generate without "
        "--remove-bpe and --post-process"
    )


def _check_targets(log, sentences, symbols):
    """T- lines that --tokenizer has detokenized hold other tokens than the H- lines: nothing would match."""
    detokenized = any(
        one.hypotheses[0].text is not None and one.hypotheses[0].text.split() != list(one.hypotheses[0].tokens)
        for one in sentences
    )
    words = subword_unit(symbols) != "word" and not any(
        mark in token for one in sentences for token in one.target.split() for mark in ("@@", "▁")
    )
    if detokenized and words:
        raise UserError(
            f"{log}: its T- lines hold words, detokenized by generation's --tokenizer or --bpe: give the reference in "
            "subwords with --reference bpe/test.XX"
        )


def sentence_chrf(sentences):
    """Sentence chrF2, (N,), 0 to 100, of each best hypothesis against the T- line, with subwords joined.

    sentences: of generate_log.Sentence
    """
    best = [sentence.hypotheses[0] for sentence in sentences]
    texts = bleu.remove_subwords([" ".join(h.tokens) if h.text is None else h.text for h in best])
    targets = bleu.remove_subwords([sentence.target for sentence in sentences])
    return np.array(bleu.Metric("chrf2", targets).sentence_scores(texts))
