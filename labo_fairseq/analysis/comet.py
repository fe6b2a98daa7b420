"""COMET (Rei et al. 2020): a network's judgement of each translation beside its source and reference.

The package unbabel-comet is optional and imported only when a score is asked for. A corpus score is the mean of the
segment scores, so that sacreBLEU's significance tests apply to it as to every other metric.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from ..measures.sacre import MeanOfSegments, SentenceStatistics
from ..records.messages import note
from .bleu import Score, check_counts
from .references import References

MODEL = "Unbabel/wmt22-comet-da"
_SCALE = 100  # as BLEU and chrF; COMET's own numbers run from about 0 to 1


class Model:
    """A COMET model that is loaded once. Raises UserError where the package or the model is not there.

    name: a file of a checkpoint, or a name of the Hugging Face hub, which is downloaded where it is not in the cache
    """

    def __init__(self, name: str = MODEL, batch_size: int = 8, gpus: int = 0):
        comet = _package()
        self.name = os.path.basename(name).removesuffix(".ckpt") if os.path.isfile(name) else name
        self._options = {"batch_size": batch_size, "gpus": gpus, "progress_bar": False}
        try:
            path = name if os.path.isfile(name) else comet.download_model(name)
            self._model = comet.load_from_checkpoint(path)
        except Exception as error:  # whatever the hub, torch or pytorch-lightning raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"--comet-model: {name}: cannot be loaded ({reason:.200}): give the checkpoint file of a COMET "
                "model, or try again with a connection"
            ) from error

    def scores(self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """COMET's own segment scores, (N,), of N triples."""
        triples = zip(sources, hypotheses, references, strict=True)
        data = [{"src": source, "mt": mt, "ref": reference} for source, mt, reference in triples]
        found: Any = self._model.predict(data, **self._options)
        scores = np.asarray(found.scores if hasattr(found, "scores") else found[0], dtype=np.float64)
        if scores.shape != (len(data),) or not np.isfinite(scores).all():
            raise UserError(f"--comet-model: {self.name}: gives no number for each sentence: give a model for segments")
        return scores


class Comet(SentenceStatistics):
    """COMET with its references, used as bleu.Metric; the statistics of a sentence are its score and 1.

    sources: N texts; references: of N sentences, the first of several is taken
    """

    heading = "COMET"

    def __init__(self, model: Model, sources: Sequence[str], references: References, lowercase: bool = False):
        check_counts(sources, references.first, "source", references.name)
        if references.more:
            note("COMET: takes one reference: the first")
        self._model, self._lowercase = model, lowercase
        self._sources, self._references = map(self._cased, (sources, references.first))
        case = "lc" if lowercase else "mixed"
        super().__init__(
            MeanOfSegments("COMET", f"model:{model.name}|nrefs:1|case:{case}|scale:{_SCALE}|version:{_version()}")
        )

    def count(self, hypotheses: Sequence[str]) -> np.ndarray:
        """(score · 100, 1) of each sentence, (N, 2). Raises UserError where there are not N hypotheses."""
        check_counts(hypotheses, self._references)
        scores = self._model.scores(self._sources, self._cased(hypotheses), self._references)
        return np.column_stack([_SCALE * scores, np.ones(len(scores))])

    def score(self, counts: np.ndarray) -> Score:
        """The Score of the sentences whose counts these are."""
        return Score(self.heading, self.value(counts.sum(axis=0)), self.signature)

    def _cased(self, lines):
        return [line.strip().lower() if self._lowercase else line.strip() for line in lines]


# not beside the tested versions: it asks for numpy below 2
_INSTALL = "install the package unbabel-comet, and this one, in an environment of their own"


def _package():
    try:
        import comet
    except ImportError:
        raise UserError(f"comet: not installed: {_INSTALL}") from None
    if not hasattr(comet, "load_from_checkpoint"):  # another package of that name
        raise UserError(f"comet: is not Unbabel's: remove it; {_INSTALL}")
    return comet


def _version():
    from importlib import metadata

    try:
        return metadata.version("unbabel-comet")
    except metadata.PackageNotFoundError:
        return "unknown"
