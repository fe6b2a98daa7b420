"""One cell, method × seed × direction: its folder, its status, and the argument lists of its steps.

A multilingual model is one cell of all its directions, with a run folder for each inside the cell's.
All paths in the commands are relative to the experiment's folder, in which they run, so that the folder can be moved.
Beside what a run folder holds (analysis/run_folder.py) a cell has status.json, commands.txt (the steps, to copy and
paste), commands.json (the same as lists), versions.json, terminal.log and one log for each further step.
"""

import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import PACKAGE, write_aside
from .spec import arguments, languages, slug

# flags that may change between two runs of one cell: they say where things lie, not what is computed
PLACES = ("--user-dir",)
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

    @property
    def name(self):
        """Path of its folder below the experiment's folder."""
        point = ",".join(f"{flag}={value}" for flag, value in self.grid.items())
        folder = slug(self.method.name) + (f".{slug(point)}" if point else "")
        return f"{label(self.directions)}/{folder}/seed{self.seed}"

    @property
    def parts(self):
        """A Part for each direction."""
        return [Part(self, direction) for direction in self.directions]

    @property
    def data(self):
        """Folder of the prepared corpus, relative to the experiment's folder or absolute."""
        prepared = self.experiment.corpus.get("prepared")
        return str(Path(prepared).resolve()) if prepared else f"data/{label(self.directions)}"

    @property
    def checkpoint(self):
        """The checkpoint that is decoded."""
        kind = "average" if self.experiment.decode.average else "best"
        return f"{self.name}/checkpoints/checkpoint_{kind}.pt"

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
        found = {**best, **self.experiment.train, **self.method.flags, **self.grid}
        if "teacher-path" in found:
            named = {"{direction}": label(self.directions), "{seed}": str(self.seed)}
            for name, value in named.items():
                found["teacher-path"] = str(found["teacher-path"]).replace(name, value)
        return {flag: value for flag, value in found.items() if flag != "task"}

    @property
    def teachers(self):
        """Folders of the checkpoints that teach it, as names of cells where they are cells of this experiment."""
        paths = str(self.flags().get("teacher-path") or "").split(os.pathsep)
        return {"/".join(Path(path).parts[:-2]) for path in paths if path} - {self.name}

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
        return ["labo", "average", *number, str(self.experiment.decode.average), "--output", self.checkpoint]

    def settings(self):
        """[(calibrator, length penalty)] to tune on validation data, for every method alike."""
        decode = self.experiment.decode
        return [(kind, lenpen) for kind in decode.calibrate for lenpen in decode.lenpen]

    def decode_record(self):
        """The settings of decoding as JSON reads them."""
        return json.loads(json.dumps(asdict(self.experiment.decode)))


@dataclass
class Part:
    """One direction of a cell: its calibration, translations and scores, in a run folder of their own.

    That is the cell's folder where the model has one direction, a folder inside it otherwise.
    """

    cell: Cell
    direction: tuple

    @property
    def name(self):
        """Path of its folder below the experiment's folder."""
        return f"{self.cell.name}/{'-'.join(self.direction)}" if self.cell.experiment.multilingual else self.cell.name

    @property
    def result(self):
        """Path of the file that shows that it was decoded, or its images classified."""
        return f"{self.name}/{'metrics.json' if self.cell.experiment.images else 'generate-test.txt'}"

    def scores(self, status):
        """The part of the cell's status about this direction, to read and to complete."""
        if not self.cell.experiment.multilingual:
            return status
        return status.setdefault("directions", {}).setdefault("-".join(self.direction), {})

    def text(self, kind, subset, language):
        """Path of a text of the prepared corpus, say data/de-en/bpe/test.de."""
        infix = f".{'-'.join(self.direction)}" if self.cell.experiment.multilingual else ""
        return f"{self.cell.data}/{kind}/{subset}{infix}.{language}"

    def calibrate(self, kind, cpu):
        """labo calibrate."""
        cell = self.cell
        command = ["labo", "calibrate", f"{cell.data}/bin", "--path", cell.checkpoint, "--calibrator", kind]
        command += pair(self.direction) if cell.experiment.multilingual else []
        objective = cell.experiment.decode.objective
        return [*command, "--objective", objective, "--out", f"{self.name}/calibration/{kind}"] + ["--cpu"] * cpu

    def calibrate_images(self, cpu):
        """labo calibrate, of an image classifier."""
        cell = self.cell
        command = ["labo", "calibrate", cell.data, "--path", cell.checkpoint, "--test-subset", "test"]
        return [*command, "--out", f"{self.name}/calibration/temperature"] + ["--cpu"] * cpu

    def classify(self, cpu):
        """labo classify-report, without a page."""
        return ["labo", "classify-report", self.name, "--no-page", "--json"] + ["--cpu"] * cpu

    def sweep(self, cpu):
        """labo calibrate --sweep."""
        cell, beam = self.cell, self.cell.experiment.decode.beam
        command = ["labo", "calibrate", f"{cell.data}/bin", "--path", cell.checkpoint, "--out", f"{self.name}/sweep"]
        return [*command, "--sweep", "--sweep-beam", str(beam)] + ["--cpu"] * cpu

    def generate(self, subset, kind, lenpen, cpu):
        """fairseq-generate with one of the settings."""
        cell, decode = self.cell, self.cell.experiment.decode
        task = ["--task", cell.task]
        if kind != "none":
            file = f"{self.name}/calibration/{kind}/calibration.json"
            task = ["--task", f"calibrated_{cell.task}", "--calibration", file]
        names = [*pair(self.direction), *cell.language_pairs()]
        command = ["fairseq-generate", f"{cell.data}/bin", "--user-dir", str(PACKAGE), *task, *names]
        # what the model was trained on is the task's to know again
        command += arguments({flag: value for flag, value in cell.flags().items() if flag in LANGUAGE_FLAGS})
        command += ["--path", cell.checkpoint, "--gen-subset", subset, "--beam", str(decode.beam)]
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
    """Keep what a cell is in its folder. Raises Foreign where another one began the folder."""
    check_owner(folder, cell)
    for name, content in (("command.json", cell.train(cpu)), ("decode.json", cell.decode_record())):
        if not Path(folder, name).exists():
            write_json(Path(folder, name), content)


def check_owner(folder, cell):
    """Raises Foreign where another training, or the same one with another decoding, began the folder."""
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


def read_json(path):
    """The content of a JSON file; None where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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
