"""Length penalty, EOS bias and temperature of beam search, tuned to BLEU or chrF on validation data.

Beam search is run once for each temperature and EOS bias. All length penalties come from that one run: fairseq's search
uses the length penalty only to rank the hypotheses that have ended, so that ranking these anew is exact, not an
approximation (tests/decoding/test_tuning.py decodes anew to compare). The search goes along one setting at a time.
"""

import dataclasses
import hashlib
import json
import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from ..calibration.file import Calibration, Decoding, load
from ..errors import UserError
from ..fairseq_models.batches import batches
from ..fairseq_models.loading import chosen_device, load_models
from ..files import write_aside
from ..measures import significance
from ..measures.calibration import subword_unit
from ..measures.sacre import SentenceStatistics
from ..progress import progress
from . import choose
from .members import CalibratedEnsemble, CalibratedMember, NonFiniteLogits
from .tuned import adjusted_all

TEMPERATURES = (0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.4)
EOS_BIASES = (-2.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)
LENGTH_PENALTIES = tuple(round(0.1 * i, 1) for i in range(26))
METRICS = {
    # tokenized as the data are, so that no detokenizer has to be guessed
    "bleu": ("BLEU", lambda references: BLEU(tokenize="none", force=True, references=[references])),
    "chrf": ("chrF2", lambda references: CHRF(references=[references])),
}
RANGES = {"temperatures": (0.01, 100.0), "eos_biases": (-100.0, 100.0), "lenpens": (-10.0, 10.0)}
_LEVEL = 0.05  # p-value from which on a gain is called chance
_PLAIN = (1.0, 0.0)  # temperature and EOS bias
_ROUNDS = 2  # each line of temperatures and of biases is searched at most as often


@dataclass(frozen=True)
class Search:
    """What stays fixed: fairseq's flags of the same names."""

    beam: int = 5
    max_len_a: float = 0.0
    max_len_b: int = 200


@dataclass(frozen=True)
class Grid:
    """The values to try; each holds the one of plain decoding (1, 0 and 1), which is added where it is missing."""

    temperatures: Sequence[float] = TEMPERATURES
    eos_biases: Sequence[float] = EOS_BIASES
    lenpens: Sequence[float] = LENGTH_PENALTIES


@dataclass(frozen=True)
class TuningSettings:
    """The flags of `labo calibrate --tune-decoding`."""

    data: str  #: folder of fairseq's binaries
    paths: list  #: of checkpoints; several are an ensemble
    metric: str = "bleu"  #: of METRICS
    subset: str = "valid"
    search: Search = Search()
    grid: Grid = Grid()
    max_tokens: int = 4000  #: in a batch
    seed: int = 1  #: of the halves
    cpu: bool = False


@dataclass(frozen=True)
class Candidates:
    """The finished hypotheses of beam search, of N sentences in the order of their ids."""

    scores: list  #: per sentence the sums of log-probabilities in nats
    lengths: list  #: per sentence the tokens of each, with the end of the sentence
    texts: list  #: per sentence the texts, subwords joined

    def best(self, lenpen: float) -> list[int]:
        """The index of the hypothesis of each sentence that fairseq ranks first under a length penalty."""
        pairs = zip(self.scores, self.lengths, strict=True)
        # in float32, as fairseq: near-ties then fall as there
        return [
            int(np.argmax(np.asarray(s, np.float32) / np.float32(np.asarray(n, np.float64) ** lenpen)))
            for s, n in pairs
        ]


@dataclass(frozen=True)
class Tried:
    """One setting and how it scored."""

    temperature: float
    eos_bias: float
    lenpen: float
    score: float
    brevity_penalty: float  #: of BLEU, from the lengths in words
    length_ratio: float  #: words of the translations over words of the references


@dataclass(frozen=True)
class Tuned:
    """What tuning found."""

    decoding: Decoding
    tried: list[Tried]  #: all of them, plain decoding first
    metric: str  #: heading, such as BLEU
    signature: str


class Scorer:
    """Scores of choices among candidates, from statistics that are counted once for each text.

    metric: of METRICS; references: N texts, tokenized as the candidates are
    """

    def __init__(self, metric: str, references: list[str], seed: int = 1):
        self.heading, make = METRICS[metric]
        self.references = references
        self.statistics = SentenceStatistics(make(references))
        self.halves = np.random.default_rng(seed).permutation(len(references)) < len(references) // 2
        self._words = np.array([len(text.split()) for text in references])

    def counts(self, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """(statistics (ranks, N, …), words (ranks, N)) of all hypotheses; missing ones stand in by the last one."""
        ranks = range(max(map(len, candidates.texts)))
        columns = [[group[min(rank, len(group) - 1)] for group in candidates.texts] for rank in ranks]
        words = [[len(text.split()) for text in column] for column in columns]
        return np.stack([self.statistics.count(column) for column in columns]), np.array(words)

    def tried(self, temperature: float, eos_bias: float, lenpen: float, counts: np.ndarray, words: int) -> Tried:
        """The row of a setting."""
        ratio = words / max(1, int(self._words.sum()))
        penalty = min(1.0, math.exp(1 - 1 / ratio)) if ratio else 0.0
        return Tried(temperature, eos_bias, lenpen, self.statistics.value(counts.sum(0)), penalty, ratio)


def tune_decoding(settings: TuningSettings, file: str | Path, folder: str | Path) -> Tuned:
    """The Tuned of checkpoints under the calibration in `file`; the runs of the search are kept in `folder`.

    Raises UserError on bad input, and where the calibration was fitted to other checkpoints.
    """
    calibration = load(file)
    if "unit:image|" in calibration.signature:
        raise UserError("--tune-decoding: is for translation: leave it out for images")
    languages = {name: calibration.corpus.get(name) for name in ("source_lang", "target_lang")}
    languages = {name: value for name, value in languages.items() if value}
    models, task = load_models(settings.paths, settings.data, chosen_device(settings.cpu), languages)
    decode = Decoder(models, task, calibration, file, settings, folder)
    scorer = Scorer(settings.metric, decode.references, settings.seed)
    corpus = {"data": calibration.corpus["data"], "split": settings.subset}
    return tune(decode, scorer, settings.grid, settings.search, corpus)


def tune(
    decode: Callable[[float, float], Candidates], scorer: Scorer, grid: Grid, search: Search, corpus: dict | None = None
) -> Tuned:
    """The setting of the highest score, found along one setting at a time: temperatures, then EOS biases, then again.

    decode: (temperature, EOS bias) to the Candidates; corpus: for the record. Each run of the search scores all length
    penalties. Of equal scores the one nearest to plain decoding is taken. The gain is measured on sentences that the
    choice was not made on: each half of them under the setting of the other half's highest score (among those that
    were tried).
    """
    runs = _Runs(decode, scorer, sorted({1.0, *grid.lenpens}))
    _climb(runs, [sorted({1.0, *grid.temperatures}), sorted({0.0, *grid.eos_biases})])
    chosen = _first(row for row, _ in runs.rows.values())
    plain, counts = runs.rows[(*_PLAIN, 1.0)]
    measures = {
        **(corpus or {}),
        "sentences": len(scorer.references),
        "metric": scorer.heading,
        "signature": scorer.statistics.signature,
        "plain": dataclasses.asdict(plain),
        "tuned": dataclasses.asdict(chosen),
        "cross_fitted": _cross_fitted(scorer, runs.rows, counts),
    }
    decoding = Decoding(chosen.lenpen, chosen.temperature, chosen.eos_bias, dataclasses.asdict(search), measures)
    return Tuned(decoding, [row for row, _ in runs.rows.values()], scorer.heading, scorer.statistics.signature)


def problems(found: Tuned) -> list[str]:
    """What speaks against the settings, a line each: an unsure gain, or a value at an end of its grid."""
    measures, lines = found.decoding.measures, []
    held = measures["cross_fitted"]
    if measures["tuned"] != measures["plain"] and (held["difference"] <= 0 or held["p_bootstrap"] >= _LEVEL):
        lines.append(
            f"{held['difference']:+.2f} {found.metric} (p {held['p_bootstrap']:.2f}) on sentences that the settings "
            "were not chosen on, which may be chance: they may do harm elsewhere (--tuned-decoding ignore)"
        )
    for flag, name in (("temperatures", "temperature"), ("eos-biases", "eos_bias"), ("lenpens", "lenpen")):
        values = sorted({getattr(row, name) for row in found.tried})
        value = getattr(found.decoding, name)
        if len(values) > 2 and value in (values[0], values[-1]):
            lines.append(f"the best {name} is {value:g}, at the end of what was tried: try more with --tune-{flag}")
    return lines


class _Runs:
    """The runs of the search, each once, and the scores of all length penalties under it."""

    def __init__(self, decode, scorer, lenpens):
        self._decode, self._scorer, self._lenpens = decode, scorer, lenpens
        self.rows = {}  #: (temperature, EOS bias, length penalty): (Tried, statistics of each sentence)

    def known(self, point):
        """Whether there was a run with this (temperature, EOS bias)."""
        return (*point, 1.0) in self.rows

    def best(self, point):
        """The Tried of the best length penalty."""
        if not self.known(point):
            candidates = self._decode(*point)
            counts, words = self._scorer.counts(candidates)
            for lenpen in self._lenpens:
                chosen = candidates.best(lenpen), np.arange(len(candidates.texts))
                row = self._scorer.tried(*point, lenpen, counts[chosen], int(words[chosen].sum()))
                self.rows[(*point, lenpen)] = row, counts[chosen]
        return _first(self.rows[(*point, lenpen)][0] for lenpen in self._lenpens)


def _climb(runs, axes):
    """Go from plain decoding to the best point of one axis after the other, until that changes nothing."""
    point = _PLAIN
    with progress(desc="tuning: beam searches", unit="run", total=sum(map(len, axes)) - 1) as bar:
        runs.best(point)
        bar.update()
        for _ in range(_ROUNDS):
            before = point
            for axis, values in enumerate(axes):
                line = [tuple(value if i == axis else point[i] for i in (0, 1)) for value in values]
                missing = [each for each in line if not runs.known(each)]
                bar.total = max(int(bar.total or 0), int(bar.n) + len(missing))
                for each in missing:
                    runs.best(each)
                    bar.update()
                found = _first(map(runs.best, line))
                point = (found.temperature, found.eos_bias)
            if point == before:
                return


def _first(rows):
    """The Tried of the highest score, the nearest to plain decoding among equal ones."""
    return max(
        rows,
        key=lambda row: (
            round(row.score, 9),
            -abs(math.log(row.temperature)) - abs(row.eos_bias) - abs(row.lenpen - 1),
        ),
    )


def _cross_fitted(scorer, rows, plain):
    """The gain over plain decoding on sentences that the setting was not chosen on, with paired bootstrap."""
    counts = plain.copy()
    for half in (scorer.halves, ~scorer.halves):
        # the choice is made on the other half
        chosen = max(rows.values(), key=lambda row: round(scorer.statistics.value(row[1][~half].sum(0)), 9))
        counts[half] = chosen[1][half]
    _, test = significance.paired(scorer.statistics, [plain, counts], ("bs",))
    return {
        "score": scorer.statistics.value(counts.sum(0)),
        "difference": test.difference,
        "difference_interval": test.difference_interval,
        "p_bootstrap": test.p_bootstrap,
    }


class Decoder:
    """Beam search of calibrated checkpoints over a subset, each run kept in a file, so that tuning may be restarted.

    models, task: of load_models; calibration: fitted to these, read from `file`; folder: of the files
    """

    def __init__(
        self,
        models: list,
        task: Any,
        calibration: Calibration,
        file: str | Path,
        settings: TuningSettings,
        folder: str | Path,
    ):
        self.models, self.task, self.settings = models, task, settings
        self.calibrators = choose.calibrators(calibration, file, settings.paths, task.target_dictionary)
        unit = subword_unit(task.target_dictionary.symbols)
        self.post_process = {"bpe": "subword_nmt", "sentencepiece": "sentencepiece"}.get(unit)
        self._batches = list(batches(models, task, settings.subset, settings.max_tokens))
        if any(sample.get("target") is None for sample in self._batches):
            raise UserError(f"{settings.subset}: has no references: name a subset with both languages")
        self._ids = np.concatenate([sample["id"].numpy() for sample in self._batches])
        self._order = np.argsort(self._ids)
        self.folder = Path(folder) / self._fingerprint(file)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def references(self) -> list[str]:
        """The references in the order of the ids, as the T- lines of fairseq-generate."""
        dictionary = self.task.target_dictionary
        texts = [
            dictionary.string(row[row.ne(dictionary.pad())], self.post_process, escape_unk=True)
            for sample in self._batches
            for row in sample["target"]
        ]
        return [texts[i] for i in self._order]

    def __call__(self, temperature: float, eos_bias: float) -> Candidates:
        """The Candidates under a temperature and an EOS bias, from the file where there is one."""
        path = self.folder / f"T{temperature:g}.eos{eos_bias:g}.json"
        if path.exists():
            return Candidates(**json.loads(path.read_text(encoding="utf-8")))
        found = self._search(temperature, eos_bias)
        with write_aside(path) as stream:
            json.dump(dataclasses.asdict(found), stream, ensure_ascii=False)
        return found

    def _search(self, temperature, eos_bias):
        import torch
        from fairseq import utils

        dictionary = self.task.target_dictionary
        setting = Decoding(temperature=temperature, eos_bias=eos_bias)
        calibrators = adjusted_all(self.calibrators, setting, dictionary.eos())
        members = [
            CalibratedMember(model, path, calibrator)
            for model, path, calibrator in zip(self.models, self.settings.paths, calibrators, strict=True)
        ]
        # a length penalty of 0 leaves the sums of log-probabilities as they are
        flags = Namespace(**dataclasses.asdict(self.settings.search), nbest=self.settings.search.beam, lenpen=0.0)
        generator = self.task.build_generator(members, flags)
        generator.model = CalibratedEnsemble(members).eval()
        groups = []
        for sample in progress(self._batches, f"T {temperature:g}, EOS {eos_bias:+g}", "batch"):
            if next(self.models[0].parameters()).is_cuda:
                sample = utils.move_to_cuda(sample)
            try:
                with torch.no_grad():
                    groups += self.task.inference_step(generator, members, sample)
            except NonFiniteLogits as error:
                raise UserError(f"{error}: NaN or infinite logits: the checkpoint is broken: use another one") from None
        groups = [groups[i] for i in self._order]
        text = self._text
        return Candidates(
            [[float(hypothesis["score"]) for hypothesis in group] for group in groups],
            [[len(hypothesis["tokens"]) for hypothesis in group] for group in groups],
            [[text(hypothesis["tokens"]) for hypothesis in group] for group in groups],
        )

    def _text(self, tokens):
        return self.task.target_dictionary.string(tokens.int().cpu(), self.post_process)

    def _fingerprint(self, file):
        """Of all that the candidates depend on but for the temperature and the EOS bias."""
        content = [
            json.loads(Path(file).read_text(encoding="utf-8"))["members"],
            dataclasses.asdict(self.settings.search),
            self.settings.max_tokens,
            [sample["net_input"]["src_tokens"].tolist() for sample in self._batches],
            self.references,
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
