"""One cell, method × seed × direction: its folder, its status, and the argument lists of its steps.

A multilingual model is one cell of all its directions, with a run folder for each inside the cell's.
All paths in the commands are relative to the experiment's folder, in which they run, so that the folder can be moved.
Beside what a run folder holds (records/run_folder.py) a cell has status.json, commands.txt (the steps, to copy and
paste), commands.json (the same as lists), versions.json, terminal.log and one log for each further step.

A cell may have several checkpoints decoded (`decode: {checkpoints: [average, best-bleu]}`): the first one in the cell's
own folder, each other one in a run folder inside it.
"""

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import PACKAGE, write_aside
from . import precision
from .spec import arguments, languages, slug

# flags that may change between two runs of one cell: they say where things lie, not what is computed
PLACES = ("--user-dir",)
# settings of decoding that a cell may be completed by
ADDED = ("checkpoints", "curve", "ece", "metrics", "paired")
# flags of the multilingual tasks that decoding must be given again
LANGUAGE_FLAGS = (
    "encoder-langtok", "decoder-langtok", "langs", "lang-tok-style", "lang-tok-replacing-bos-eos", "fixed-dictionary",
    "source-dict", "target-dict", "langtoks", "langtoks-specs",
)  # fmt: skip


@dataclass
class Cell:
    """A cell of the table, or one candidate of a grid: one training, of one direction or of several."""

    experiment: object
    directions: tuple
    method: object
    seed: int
    grid: dict = field(default_factory=dict)  #: the values of this candidate
    precision: str | None = None  #: "bf16" or "float32", once `precision.settle` has chosen; None without a choice

    @property
    def name(self):
        """Path of its folder below the experiment's folder."""
        return f"{label(self.directions)}/{self.method.folder(self.grid)}/seed{self.seed}"

    @property
    def parts(self):
        """A Part for each direction, of the checkpoint that stands for the cell."""
        return [Part(self, direction, self.experiment.decode.main) for direction in self.directions]

    @property
    def all_parts(self):
        """A Part for each direction and checkpoint."""
        kinds = self.experiment.decode.checkpoints
        return [Part(self, direction, kind) for direction in self.directions for kind in kinds]

    @property
    def data(self):
        """Folder of the prepared corpus, relative to the experiment's folder or absolute."""
        prepared = self.experiment.corpus.get("prepared")
        return str(Path(prepared).resolve()) if prepared else f"data/{label(self.directions)}"

    @property
    def task(self):
        """fairseq's task."""
        return self.experiment.task(self.method)

    def flags(self):
        """Flags of the training, but for the task."""
        if self.experiment.images:
            best = {"best-checkpoint-metric": "accuracy", "maximize-best-checkpoint-metric": True}
        else:
            plain = self.method.flags["criterion"] == "cross_entropy"
            best = {"best-checkpoint-metric": "loss" if plain else "nll_loss"}
        flags = {**best, **self.experiment.train, **self.method.flags, **self.grid}
        if self.precision == "bf16":
            flags["bf16"] = True
        if "teacher-path" in flags:
            named = {"{direction}": label(self.directions), "{seed}": str(self.seed)}
            for name, value in named.items():
                flags["teacher-path"] = str(flags["teacher-path"]).replace(name, value)
        return {flag: value for flag, value in flags.items() if flag != "task"}

    @property
    def teachers(self):
        """Folders of the checkpoints that teach it, as names of cells where they are cells of this experiment."""
        return {Path(path).parent.parent.as_posix() for path in self.teacher_paths} - {self.name}

    @property
    def teacher_paths(self):
        """Checkpoints that teach it, as `teacher-path` names them."""
        return [path for path in str(self.flags().get("teacher-path") or "").split(os.pathsep) if path]

    def language_pairs(self):
        """The flag that names all directions of a multilingual model; none for others."""
        pairs = ",".join("-".join(direction) for direction in self.directions)
        return ["--lang-pairs", pairs] if self.experiment.multilingual else []

    def train(self, cpu):
        """fairseq-train."""
        if self.experiment.images:
            data, names = self.data, ["--image-dataset", *self.directions[0]]
        else:
            data, names = f"{self.data}/bin", self.language_pairs() or pair(self.directions[0])
        command = ["fairseq-train", data, "--user-dir", str(PACKAGE), "--task", self.task, *names]
        command += arguments(self.flags())
        command += ["--seed", str(self.seed), "--save-dir", f"{self.name}/checkpoints"]
        command += ["--log-format", "json", "--log-file", f"{self.name}/train.log", "--distributed-world-size", "1"]
        return command + ["--cpu"] * cpu

    def average(self):
        """labo average, of the last epochs (or updates, where no checkpoints of epochs are kept)."""
        kind = "update" if self.experiment.train.get("no-epoch-checkpoints") else "epoch"
        number = ["--inputs", f"{self.name}/checkpoints", f"--num-{kind}-checkpoints"]
        output = f"{self.name}/checkpoints/checkpoint_average.pt"
        return ["labo", "average", *number, str(self.experiment.decode.average), "--output", output]

    def settings(self):
        """[(calibrator, length penalty)] to tune on validation data, for every method alike."""
        decode = self.experiment.decode
        return [(kind, lenpen) for kind in decode.calibrate for lenpen in decode.lenpen]

    def decode_record(self):
        """The settings of decoding as JSON reads them, but for those that may be added later.

        What ADDED asks for has files of its own, so that a cell that was decoded without it is completed.
        """
        decode = self.experiment.decode
        record = {key: value for key, value in asdict(decode).items() if key not in ADDED}
        if decode.main != ("average" if decode.average else "best"):
            record["checkpoint"] = decode.main
        return json.loads(json.dumps(record))


@dataclass
class Part:
    """One direction of a cell, and one of its checkpoints: their calibration, translations and scores.

    They lie in a run folder: the cell's own where the model has one direction, a folder inside it otherwise; of further
    checkpoints a folder inside of that.
    """

    cell: Cell
    direction: tuple
    kind: str = "best"  #: of schema.CHECKPOINTS

    @property
    def is_main(self):
        """Whether its checkpoint stands for the cell."""
        return self.kind == self.cell.experiment.decode.main

    @property
    def name(self):
        """Path of its folder below the experiment's folder."""
        parts = [self.cell.name]
        parts += ["-".join(self.direction)] if self.cell.experiment.multilingual else []
        return "/".join(parts if self.is_main else [*parts, self.kind])

    @property
    def checkpoint(self):
        """The checkpoint that is decoded."""
        name = f"checkpoint_{self.kind.replace('-', '_')}"
        if self.kind == "best-bleu" and self.cell.experiment.multilingual:
            name += f".{'-'.join(self.direction)}"  # another one may be best for each direction
        return f"{self.cell.name}/checkpoints/{name}.pt"

    @property
    def result(self):
        """Path of the file that shows that it was decoded, or its images classified."""
        return f"{self.name}/{'metrics.json' if self.cell.experiment.images else 'generate-test.txt'}"

    def scores(self, status):
        """The part of the cell's status about this direction and checkpoint, to read and to complete."""
        scores = status
        if self.cell.experiment.multilingual:
            scores = status.setdefault("directions", {}).setdefault("-".join(self.direction), {})
        return scores if self.is_main else scores.setdefault("checkpoints", {}).setdefault(self.kind, {})

    def is_complete(self, out):
        """Whether all its results are in the folder `out` of the experiment."""
        decode = self.cell.experiment.decode
        wanted = [self.result] + [f"{self.name}/ece/calibration.json"] * decode.ece
        scored = read_json(Path(out, self.name, "curve.json")) if self.measures_curve else {"asked": self.curve}
        complete = all(Path(out, path).exists() for path in wanted)
        return complete and isinstance(scored, dict) and scored.get("asked") == self.curve

    @property
    def measures_curve(self):
        """Whether kept checkpoints are scored on validation data in this part's folder: once for each direction."""
        return self.is_main and any(self.curve.values())

    @property
    def curve(self):
        """Which kept checkpoints are scored: those after so many updates, and all where the best is wanted."""
        decode = self.cell.experiment.decode
        return {"updates": list(decode.curve), "all": "best-bleu" in decode.checkpoints}

    def link(self, name):
        """ln, of the checkpoint with the highest BLEU on validation data."""
        return ["ln", "-sfn", name, self.checkpoint]

    def measure(self, cpu):
        """labo calibrate, for the ECE and NLL of validation and test data, before and after one temperature."""
        cell = self.cell
        command = ["labo", "calibrate", f"{cell.data}/bin", "--path", self.checkpoint]
        command += pair(self.direction) if cell.experiment.multilingual else []
        return [*command, "--test-subset", "test", "--out", f"{self.name}/ece"] + ["--cpu"] * cpu

    def text(self, kind, subset, language):
        """Path of a text of the prepared corpus, say data/de-en/bpe/test.de."""
        infix = f".{'-'.join(self.direction)}" if self.cell.experiment.multilingual else ""
        return f"{self.cell.data}/{kind}/{subset}{infix}.{language}"

    def calibrate(self, kind, cpu):
        """labo calibrate."""
        cell = self.cell
        command = ["labo", "calibrate", f"{cell.data}/bin", "--path", self.checkpoint, "--calibrator", kind]
        command += pair(self.direction) if cell.experiment.multilingual else []
        objective = cell.experiment.decode.objective
        return [*command, "--objective", objective, "--out", f"{self.name}/calibration/{kind}"] + ["--cpu"] * cpu

    def calibrate_images(self, cpu):
        """labo calibrate, of an image classifier."""
        cell = self.cell
        command = ["labo", "calibrate", cell.data, "--path", self.checkpoint, "--test-subset", "test"]
        return [*command, "--out", f"{self.name}/calibration/temperature"] + ["--cpu"] * cpu

    def classify(self, cpu):
        """labo classify-report, without a page."""
        return ["labo", "classify-report", self.name, "--no-page", "--json"] + ["--cpu"] * cpu

    def sweep(self, cpu):
        """labo calibrate --sweep."""
        cell, beam = self.cell, self.cell.experiment.decode.beam
        command = ["labo", "calibrate", f"{cell.data}/bin", "--path", self.checkpoint, "--out", f"{self.name}/sweep"]
        return [*command, "--sweep", "--sweep-beam", str(beam)] + ["--cpu"] * cpu

    def generate(self, subset, kind, lenpen, cpu, checkpoint=None):
        """fairseq-generate with one of the settings, of this part's checkpoint or of another one."""
        cell, decode = self.cell, self.cell.experiment.decode
        task = ["--task", cell.task]
        if kind != "none":
            file = f"{self.name}/calibration/{kind}/calibration.json"
            task = ["--task", f"calibrated_{cell.task}", "--calibration", file]
        names = [*pair(self.direction), *cell.language_pairs()]
        command = ["fairseq-generate", f"{cell.data}/bin", "--user-dir", str(PACKAGE), *task, *names]
        # what the model was trained on is the task's to know again
        command += arguments({flag: value for flag, value in cell.flags().items() if flag in LANGUAGE_FLAGS})
        command += ["--path", checkpoint or self.checkpoint, "--gen-subset", subset, "--beam", str(decode.beam)]
        command += ["--lenpen", str(lenpen), "--max-tokens", str(decode.max_tokens), *decode.flags]
        return command + ["--cpu"] * cpu

    def splits(self, subset, size, lowercase):
        """labo splits of the chosen translations of a subset."""
        source, target = self.direction
        command = ["labo", "splits", "--json", "--dict", f"{self.cell.data}/bin/dict.{source}.txt"]
        command += ["--source", self.text("bpe", subset, source), "--reference", self.text("raw", subset, target)]
        command += ["--language", target]
        command += ["--system", f"{slug(self.cell.method.name)}={self.name}/generate-{subset}.txt"]
        return command + ([] if size == "equal" else ["--size", str(size)]) + ["--lowercase"] * lowercase


def pair(direction):
    """Flags that name the languages."""
    return ["--source-lang", direction[0], "--target-lang", direction[1]]


def label(directions):
    """Name of the folder of directions that one model learns, as `labo prepare` names it: de-en, de_fr-en."""
    return "-".join("_".join(side) for side in languages(directions))


def prepare(experiment, directions, raw_dir=None):
    """labo prepare, of the directions of one training; None where the corpus is prepared; images are fetched."""
    if experiment.images:
        command = ["python", "-m", "labo_fairseq.experiment.images", *directions[0], f"data/{label(directions)}"]
        return command + (["--from", str(Path(raw_dir).resolve())] if raw_dir else [])
    if "prepared" in experiment.corpus:
        return None
    source, target = (",".join(side) for side in languages(directions))
    command = ["labo", "prepare", experiment.corpus["name"], "--source", source, "--target", target]
    command += ["--out", f"data/{label(directions)}", *(["--raw-dir", str(Path(raw_dir).resolve())] if raw_dir else [])]
    return command + arguments(experiment.corpus.get("prepare", {}))


def first_cells(experiment):
    """All cells that can start at once: those without a grid, and the candidates of the grids."""
    return [
        Cell(experiment, directions, method, seed, point)
        for directions in experiment.trainings
        for seed in experiment.seeds
        for method in experiment.methods
        if not method.grid or seed == experiment.seeds[0]
        for point in method.candidates()
    ]


def later_cells(experiment, directions, method, point):
    """The other seeds of a method with a grid, once its point is chosen."""
    return [Cell(experiment, directions, method, seed, point) for seed in experiment.seeds[1:]]


def shown(command, output=None):
    """A command as a line for a shell."""
    return shlex.join(command) + (f" > {shlex.quote(output)}" if output else "")


class Foreign(UserError):
    """A folder that another experiment began."""


def claim(folder, cell, cpu):
    """Keep what a cell is in its folder; returns None or a line about its precision (precision.settle).

    Raises Foreign where another one began the folder.
    """
    note = check_owner(folder, cell, cpu)
    contents = {"command.json": cell.train(cpu), "decode.json": cell.decode_record()}
    if cell.precision:
        contents["precision.json"] = precision.record(cell, cpu)
    for name, content in contents.items():
        if not Path(folder, name).exists():
            write_json(Path(folder, name), content)
    return note


def check_owner(folder, cell, cpu=True):
    """Raises Foreign where another training, or the same one with another decoding, began the folder.

    Gives the cell the precision that it began with; returns what precision.settle returns.
    """
    note = precision.settle(cell, read_json(Path(folder, "precision.json")), cpu)
    path, command = Path(folder, "command.json"), cell.train(cpu=True)
    if path.exists() and _settings(read_json(path)) != _settings(command):
        raise Foreign(f"{path}: belongs to another experiment: move the folder away or choose another --out")
    if not path.exists() and Path(folder, "checkpoints").exists():
        raise Foreign(f"{folder}/checkpoints: of an unknown experiment: move it away or choose another --out")
    path = Path(folder, "decode.json")
    if path.exists() and read_json(path) != cell.decode_record():
        raise Foreign(
            f"{path}: this cell was decoded with other settings: choose another --out, or remove this file and the "
            "cell's status.json, checkpoint_average.pt, calibration, valid, generate-*, sweep and splits-*"
        )
    return note


def read_json(path):
    """The content of a JSON file; None where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_status(folder):
    """The content of a cell's status.json; None where it is missing or damaged."""
    status = read_json(Path(folder, "status.json"))
    return status if isinstance(status, dict) and isinstance(status.get("state"), str) else None


def write_json(path, content):
    """Write a JSON file; it appears whole or not at all."""
    with write_aside(path) as stream:
        json.dump(content, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def _settings(command):
    """What a command computes: without the flags that only say where and on what device."""
    if not isinstance(command, list):
        return None
    places = {i + 1 for i, argument in enumerate(command) if argument in PLACES}
    return [argument for i, argument in enumerate(command) if i not in places and argument != "--cpu"]
