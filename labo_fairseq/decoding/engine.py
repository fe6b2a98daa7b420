"""Decoding with CTranslate2: no fairseq and no torch."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import UserError


@dataclass(frozen=True)
class Search:
    """The settings of the beam search, with fairseq's meanings: at most `max_len_a`·(source tokens) + `max_len_b`
    tokens, the sum of log-probabilities divided by (tokens, EOS included)^`lenpen`."""

    beam: int = 5
    nbest: int = 1
    lenpen: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200

    def __post_init__(self):
        for name, least in (("beam", 1), ("nbest", 1), ("max_len_a", 0), ("max_len_b", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name.replace('_', '-')}: {getattr(self, name)}: must be at least {least}")
        if self.nbest > self.beam:
            raise UserError(f"--nbest: {self.nbest}: must be at most --beam ({self.beam})")


@dataclass(frozen=True)
class Hypothesis:
    """One translation: subwords, and the log-probability of each, in nats, with that of EOS last."""

    tokens: list
    log_probs: np.ndarray

    def score(self, lenpen=1.0):
        """fairseq's score, in nats."""
        return float(self.log_probs.sum()) / len(self.log_probs) ** lenpen


class Engine:
    """A model that `labo export` wrote. threads: of the processor, each with batches of its own; 0: one per core."""

    def __init__(self, folder, threads=0, device="cpu"):
        if importlib.util.find_spec("ctranslate2") is None:
            raise UserError("ctranslate2: not installed: pip install ctranslate2")
        if not os.path.isfile(os.path.join(folder, "model.bin")):
            raise UserError(f"{folder}: no CTranslate2 model: make one with `labo export`")
        import ctranslate2

        self._threads = threads or len(os.sched_getaffinity(0))
        try:
            self._translator = ctranslate2.Translator(
                str(folder), device=device, inter_threads=self._threads if device == "cpu" else 1, intra_threads=1
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{folder}: CTranslate2 cannot load it: {error}") from error

    def translate(self, sources, search, batch_size=64):
        """Yield (index, hypotheses, best first) for each of the sources, lists of subwords, in the order of batches.

        Sources of like length share a batch. Raises UserError where the model's probabilities are NaN.
        """
        order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        with ThreadPoolExecutor(self._threads) as pool:  # CTranslate2 lets go of the interpreter's lock
            beams = pool.map(lambda batch: self._batch([sources[index] for index in batch], search), batches)
            for batch, found in zip(batches, beams, strict=True):
                for index, hypotheses in zip(batch, found, strict=True):
                    if any(np.isnan(hypothesis.log_probs).any() for hypothesis in hypotheses):
                        raise UserError(f"NaN probabilities in sentence {index}: the exported checkpoint is broken")
                    yield index, hypotheses

    def _batch(self, sources, search):
        """The hypotheses of each source; the first source is the longest one."""
        longest = len(sources[0]) + 1  # fairseq counts EOS
        results = self._translator.translate_batch(
            sources,
            beam_size=search.beam,
            num_hypotheses=search.nbest,
            length_penalty=search.lenpen,
            max_decoding_length=max(1, int(search.max_len_a * longest + search.max_len_b)),
            max_input_length=0,
        )
        # beam search returns only the mean log-probability, and that after it has excluded EOS from the first step:
        # a teacher-forced pass gives the model's own, token by token
        beams = [result.hypotheses for result in results]
        pairs = [(source, tokens) for source, beam in zip(sources, beams, strict=True) for tokens in beam]
        scored = iter(self._translator.score_batch(*map(list, zip(*pairs, strict=True)), max_input_length=0))
        beams = [[Hypothesis(tokens, np.array(next(scored).log_probs)) for tokens in beam] for beam in beams]
        return [sorted(beam, key=lambda hypothesis: -hypothesis.score(search.lenpen)) for beam in beams]
