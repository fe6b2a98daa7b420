"""The sweeps of `labo calibrate --sweep`: BLEU, ECE and NLL against T (Müller et al. 2019, Figure 4), and BLEU and
length ratio against the beam size, with and without calibration.

Every point is a file in OUT/sweep, named after what it was made with, so that a sweep that was stopped goes on where it
was. BLEU is fairseq-generate's output under sacreBLEU, tokenized as the data are (`-tok none`, fairseq's BLEU4).
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from ..analysis.bleu import tokenized_bleu
from ..calibration import file
from ..errors import UserError
from ..fairseq_models.loading import chosen_device, load_models
from ..fairseq_models.tokens import collect
from ..files import PACKAGE, sha256, write_aside
from ..functional.calibrators import Temperature
from ..measures.calibration import bin_sums, ece, signature, subword_unit
from ..progress import progress
from ..records.generate_log import read_generate_log

_HYPOTHESES = 640  # of a batch: sentences times beam size

_GENERATE = "import sys; sys.argv[0] = 'fairseq-generate'; from fairseq_cli.generate import cli_main; cli_main()"


@dataclass(frozen=True)
class SweepSettings:
    """What is swept, and how it is run."""

    data: str  #: folder of fairseq's binaries
    paths: list  #: of checkpoints; several are an ensemble
    subset: str = "valid"
    max_tokens: int = 4000  #: in a batch, of the pass that measures
    cpu: bool = False
    user_dir: str | None = None


class Sweep:
    """The points of one subset, ensemble and calibration, in a folder of their own."""

    def __init__(self, settings, out):
        self.settings = settings
        self.file = out / "calibration.json"
        self.calibration = file.load(self.file)
        if "unit:image|" in self.calibration.signature:
            raise UserError("--sweep: is for translation: leave it out for images")
        self.paths = settings.paths
        hashes = [sha256(path) for path in self.paths]
        if hashes != [member.sha256 for member in self.calibration.members]:
            raise UserError(f"{self.file}: fitted to other checkpoints than --path: give another --out")
        corpus = self.calibration.corpus
        data = [corpus["data"], self.calibration.dictionary["sha256"], settings.subset]
        self.folder = out / "sweep" / hashlib.sha256(json.dumps([hashes, data]).encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)

    def temperatures(self, temperatures, beam=5):
        """Rows T, beam, BLEU, ece, nll, tokens, signatures, sorted by T."""
        wanted = sorted(set(temperatures))
        if any(not t > 0 for t in wanted):
            raise UserError(f"--sweep-temperatures: {min(wanted)}: must be above 0")
        measures = self._measures(wanted)
        rows = []
        for t in progress(wanted, "temperatures", "point"):
            bleu, _ = self._score(beam, f"T{t:g}", ["--temperature", str(t)])
            rows.append({"T": t, "beam": beam, "BLEU": bleu.value, **measures[t], "BLEU_signature": bleu.signature})
        return rows

    def beams(self, beams):
        """Rows beam, calibrated (no or yes), BLEU, length ratio, signature."""
        calibrated = "calibrated-" + sha256(self.file)[:8]
        ways = [("no", "T1", ["--temperature", "1.0"]), ("yes", calibrated, self._calibrated_flags())]
        points = [(beam, way) for beam in sorted(set(beams)) for way in ways]
        rows = []
        for beam, (answer, name, flags) in progress(points, "beams", "point"):
            bleu, ratio = self._score(beam, name, flags)
            rows.append(
                {"beam": beam, "calibrated": answer, "BLEU": bleu.value, "length_ratio": ratio}
                | {"BLEU_signature": bleu.signature}
            )
        return rows

    def _calibrated_flags(self):
        task = ["--task", "calibrated_translation", "--calibration", str(self.file)]
        return ["--user-dir", str(PACKAGE), *task]

    def _measures(self, temperatures):
        """{T: ece, nll, tokens, signature} of the teacher-forced tokens; missing ones in one pass."""
        files = {t: self.folder / f"measures.T{t:g}.json" for t in temperatures}
        missing = [t for t in temperatures if not files[t].exists()]
        for t, row in zip(missing, self._measured(missing) if missing else [], strict=True):
            with write_aside(files[t]) as stream:
                json.dump(row, stream)
        return {t: json.loads(path.read_text(encoding="utf-8")) for t, path in files.items()}

    def _measured(self, temperatures):
        from .. import register

        register()
        settings = self.settings
        models, task = load_models(self.paths, settings.data, chosen_device(settings.cpu))
        unit = subword_unit(task.target_dictionary.symbols)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            tokens = collect(models, task, settings.subset, folder, settings.max_tokens)
            statistics_of = tokens.statistics([[Temperature(t)] * len(models) for t in temperatures])
        for t, statistics in zip(temperatures, statistics_of, strict=True):
            yield {
                "ece": float(ece(bin_sums(statistics.confidence, statistics.correct))),
                "nll": float(statistics.nll.double().mean()),
                "tokens": len(tokens),
                "signature": signature(f"{t:g}", unit, len(tokens)),
            }

    def _score(self, beam, name, flags):
        """(BLEU, length of the translations over that of the references) of a point, generated where it is missing."""
        log = self.folder / f"beam{beam}.{name}.txt"
        if not log.exists():
            self._generate(log, beam, flags)
        sentences = read_generate_log(str(log))
        hypotheses = [" ".join(sentence.hypotheses[0].tokens) for sentence in sentences]
        references = [sentence.target for sentence in sentences]
        words = [sum(len(line.split()) for line in lines) for lines in (hypotheses, references)]
        return tokenized_bleu(hypotheses, references), words[0] / words[1]

    def _generate(self, log, beam, flags):
        settings, corpus = self.settings, self.calibration.corpus
        command = [sys.executable, "-c", _GENERATE, settings.data, "--path", os.pathsep.join(settings.paths)]
        command += ["--gen-subset", settings.subset]
        command += ["--beam", str(beam), "--batch-size", str(max(1, _HYPOTHESES // beam)), "--no-progress-bar"]
        command += [f"--post-process={self._post_process()}", *flags]
        if corpus["source_lang"]:
            command += ["--source-lang", corpus["source_lang"], "--target-lang", corpus["target_lang"]]
        command += ["--cpu"] if settings.cpu else []
        command += ["--user-dir", settings.user_dir] if settings.user_dir and "--user-dir" not in flags else []
        with write_aside(log) as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"fairseq-generate {' '.join(flags)} --beam {beam}: failed: {last}")

    def _post_process(self):
        unit = self.calibration.signature.partition("unit:")[2].partition("|")[0]
        return "sentencepiece" if unit == "sentencepiece" else "subword_nmt"
