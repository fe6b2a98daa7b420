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
from pathlib import Path

from tqdm import tqdm

from .analysis.bleu import tokenized_bleu
from .analysis.generate_log import read_generate_log
from .errors import UserError
from .files import sha256, write_aside

_HYPOTHESES = 640  # of a batch: sentences times beam size

_GENERATE = "import sys; sys.argv[0] = 'fairseq-generate'; from fairseq_cli.generate import cli_main; cli_main()"


def run(args, out):
    """Make the missing points, write and print temperatures.tsv and beams.tsv, draw both."""
    sweep = Sweep(args, out)
    temperatures = sweep.temperatures() if args.sweep_temperatures else []
    beams = sweep.beams() if args.sweep_beams else []
    tables = {"temperatures": temperatures, "beams": beams}
    for name, rows in tables.items():
        if rows:
            with write_aside(out / f"{name}.tsv") as stream:
                stream.write(_table(rows))
    if temperatures:
        _draw_temperatures(temperatures, out / "temperatures.png")
    if beams:
        _draw_beams(beams, out / "beams.png")
    print(json.dumps(tables, indent=1) if args.json else "\n".join(_table(rows) for rows in tables.values() if rows))


class Sweep:
    """The points of one subset, ensemble and calibration, in a folder of their own."""

    def __init__(self, args, out):
        from .calibration import file

        self.args = args
        self.file = out / "calibration.json"
        self.calibration = file.load(self.file)
        self.paths = args.path.split(os.pathsep)
        hashes = [sha256(path) for path in self.paths]
        if hashes != [member.sha256 for member in self.calibration.members]:
            raise UserError(f"{self.file}: fitted to other checkpoints than --path: give another --out")
        corpus = self.calibration.corpus
        data = [corpus["data"], self.calibration.dictionary["sha256"], args.subset]
        self.folder = out / "sweep" / hashlib.sha256(json.dumps([hashes, data]).encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)

    def temperatures(self):
        """Rows T, beam, BLEU, ece, nll, tokens, signatures, sorted by T."""
        wanted = sorted(set(self.args.sweep_temperatures))
        if any(not t > 0 for t in wanted):
            raise UserError(f"--sweep-temperatures: {min(wanted)} is not above 0: temperatures are")
        measures, beam = self._measures(wanted), self.args.sweep_beam
        rows = []
        for t in tqdm(wanted, desc="temperatures", unit="point"):
            bleu, _ = self._score(beam, f"T{t:g}", ["--temperature", str(t)])
            rows.append({"T": t, "beam": beam, "BLEU": bleu.value, **measures[t], "BLEU_signature": bleu.signature})
        return rows

    def beams(self):
        """Rows beam, calibrated (no or yes), BLEU, length ratio, signature."""
        calibrated = "calibrated-" + sha256(self.file)[:8]
        ways = [("no", "T1", ["--temperature", "1.0"]), ("yes", calibrated, self._calibrated_flags())]
        points = [(beam, way) for beam in sorted(set(self.args.sweep_beams)) for way in ways]
        rows = []
        for beam, (answer, name, flags) in tqdm(points, desc="beams", unit="point"):
            bleu, ratio = self._score(beam, name, flags)
            rows.append(
                {"beam": beam, "calibrated": answer, "BLEU": bleu.value, "length_ratio": ratio}
                | {"BLEU_signature": bleu.signature}
            )
        return rows

    def _calibrated_flags(self):
        task = ["--task", "calibrated_translation", "--calibration", str(self.file)]
        return ["--user-dir", str(Path(__file__).parent), *task]

    def _measures(self, temperatures):
        """{T: ece, nll, tokens, signature} of the teacher-forced tokens; missing ones in one pass."""
        files = {t: self.folder / f"measures.T{t:g}.json" for t in temperatures}
        missing = [t for t in temperatures if not files[t].exists()]
        for t, row in zip(missing, self._measured(missing) if missing else [], strict=True):
            with write_aside(files[t]) as stream:
                json.dump(row, stream)
        return {t: json.loads(path.read_text(encoding="utf-8")) for t, path in files.items()}

    def _measured(self, temperatures):
        import torch

        from . import register
        from .calibration.collect import collect, load_models
        from .calibration.measures import signature, subword_unit
        from .functional.calibration import BinSums
        from .functional.calibrators import Temperature

        register()
        device = "cuda" if torch.cuda.is_available() and not self.args.cpu else "cpu"
        models, task = load_models(self.paths, self.args.data, device)
        unit = subword_unit(task.target_dictionary.symbols)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            tokens = collect(models, task, self.args.subset, folder, self.args.max_tokens)
            found = tokens.statistics([[Temperature(t)] * len(models) for t in temperatures])
        for t, statistics in zip(temperatures, found, strict=True):
            yield {
                "ece": float(BinSums.of(statistics.confidence, statistics.correct).ece()),
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
        args, corpus = self.args, self.calibration.corpus
        command = [sys.executable, "-c", _GENERATE, args.data, "--path", args.path, "--gen-subset", args.subset]
        command += ["--beam", str(beam), "--batch-size", str(max(1, _HYPOTHESES // beam)), "--no-progress-bar"]
        command += [f"--post-process={self._post_process()}", *flags]
        if corpus["source_lang"]:
            command += ["--source-lang", corpus["source_lang"], "--target-lang", corpus["target_lang"]]
        command += ["--cpu"] if args.cpu else []
        command += ["--user-dir", args.user_dir] if args.user_dir and "--user-dir" not in flags else []
        with write_aside(log) as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"fairseq-generate {' '.join(flags)} --beam {beam}: failed: {last}")

    def _post_process(self):
        unit = self.calibration.signature.partition("unit:")[2].partition("|")[0]
        return "sentencepiece" if unit == "sentencepiece" else "subword_nmt"


def _table(rows):
    lines = ["\t".join(rows[0])]
    lines += ["\t".join(f"{x:.4f}" if isinstance(x, float) else str(x) for x in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _draw_temperatures(rows, path):
    from .calibration.plot import figure

    with figure(path, 1, 3, figsize=(11, 3.6)) as drawn:
        if drawn is None:
            return
        for axis, name in zip(drawn[1], ("BLEU", "ece", "nll"), strict=True):
            axis.plot([row["T"] for row in rows], [row[name] for row in rows], marker="o", color="#08519c")
            axis.axvline(1, color="grey", linestyle="--", linewidth=1)
            axis.set(xlabel="T", title=name.upper() + (" (nats)" if name == "nll" else ""))


def _draw_beams(rows, path):
    from .calibration.plot import figure

    with figure(path, 1, 2, figsize=(9, 3.8)) as drawn:
        if drawn is None:
            return
        for axis, name in zip(drawn[1], ("BLEU", "length_ratio"), strict=True):
            for calibrated, style in (("no", "o--"), ("yes", "s-")):
                points = [(row["beam"], row[name]) for row in rows if row["calibrated"] == calibrated]
                axis.plot(*zip(*points, strict=True), style, label=f"calibrated: {calibrated}")
            sizes = sorted({row["beam"] for row in rows})
            axis.set(xscale="log", xlabel="beam size", title=name.replace("_", " "))
            axis.set_xticks(sizes, labels=map(str, sizes))
            axis.minorticks_off()
            axis.legend()
